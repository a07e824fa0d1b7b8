/** What commands write: checked before any work, one process at a time, and never anything that others wrote. */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { reference } from '../../src/backends/reference.ts';
import { emit } from '../../src/cli/conform-files.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { lockOutput } from '../../src/formats/lock.ts';
import { answer, bin, complaint, printed, quamba, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const inHere = (...path: string[]) => join(here, ...path);
const words = (line: string) => line.split(' ');

beforeAll(() => {
  mkdirSync(inHere('tmp'));
  process.env.TMPDIR = inHere('tmp'); // of the commands, too
  writeFolder(inHere('text'), toyFiles({ text: true }));
  writeFileSync(inHere('prose.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
  writeFileSync(inHere('file'), 'mine');
});

describe('what cannot be written is known before any work', () => {
  // the model, the backend and the results are not there either: whoever looks for them first complains of them
  it.each([
    'export --model missing --out none/x',
    'eval --model missing --out none/x',
    'eval --model missing --html none/x',
    'ablate --model missing --html none/x',
    'report missing.json --html none/x',
    'conform --backend ./missing.mjs --html none/x',
    'conform --backend ./missing.mjs --junit none/x',
    'conform --backend ./missing.mjs --md none/x',
  ])('%s', async line => {
    expect(await complaint(1, here, ...words(line))).toBe('none/x: no such file or folder');
    expect(existsSync(inHere('none'))).toBe(false);
  });

  it.each([
    'eval --model missing --svg file/x',
    'ablate --model missing --svg file/x',
    'report missing.json --svg file/x',
    'conform --backend ./missing.mjs --dump file/x',
    'conform --backend ./missing.mjs --emit file/x',
    'quantize --model missing --out file/x',
    'bench --shape mamba-130m --write-checkpoint file/x',
  ])('%s', async line => {
    expect(await complaint(1, here, ...words(line))).toBe('file: expected a folder; got a file');
  });

  it.each([
    ['export --model missing --out text', 1, /^text: expected a file; got a folder$/],
    ['export --model missing --out new/', 1, /^new\/: expected a file; got a folder$/],
    ['quantize --model missing --out file', 1, /^file: expected a folder; got a file$/],
    ['eval --out ', 2, /expected a path; got an empty one/],
  ] as const)('%s', async (line, code, sentence) => {
    expect(await complaint(code, here, ...words(line))).toMatch(sentence);
  });

  it.skipIf(process.platform !== 'linux')('a folder in which none can be made is an error', async () => {
    const sentence = await complaint(1, here, 'quantize', '--model', 'text', '--out', '/proc/x/y');
    expect(sentence).toBe('/proc/x: no such file or folder');
  });

  it('leaves nothing where the command fails later', async () => {
    await complaint(1, here, 'quantize', '--model', 'missing', '--out', 'new/one');
    await complaint(1, here, 'export', '--model', 'missing', '--out', 'one.gguf');
    expect(readdirSync(here).filter(name => /new|one/.test(name))).toEqual([]);
  });
});

describe('an option that changes nothing is wrong usage', () => {
  it.each([
    ['generate --tokens 1 --temperature 0 --top-k 3', '--top-k', 'with --temperature 0'],
    ['generate --tokens 1 --temperature 0 --top-p 0.9', '--top-p', 'with --temperature 0'],
    ['generate --tokens 1 --temperature 0 --min-p 0.1', '--min-p', 'with --temperature 0'],
    ['inspect --layer 0', '--layer', 'without --plan or --diff'],
    ['inspect --tensors --layer 0', '--layer', 'without --plan or --diff'],
    ['inspect --verify --plan', '--plan', 'with --verify'],
    ['inspect --verify --recipe fp32', '--recipe', 'with --verify'],
    [
      'quantize --model text --out x --recipe dynamic --samples 3',
      '--samples',
      'where nothing is calibrated, as for recipe dynamic',
    ],
    ['eval --task piqa --data x.jsonl --window 64', '--window', 'without a text'],
    [
      'ablate --only layers --samples 3',
      '--samples',
      'without --only techniques or ladder or outliers or sites',
    ],
    [
      'ablate --only layers --sample 3',
      '--sample',
      'without --only techniques or ladder or outliers or sites',
    ],
    [
      'ablate --only layers --calibration prose.txt',
      '--calibration',
      'without --only techniques or ladder or outliers or sites',
    ],
    ['ablate --only outliers sites --seeds 2', '--seeds', 'without --only techniques'],
    [
      'ablate --only techniques --percentile 0.9',
      '--percentile',
      'without --only ladder or outliers or sites',
    ],
    ['ablate --only techniques --recipe quamba', '--recipe', 'without --only layers'],
    ['bench --model text --seed 2', '--seed', 'without --shape'],
    ['bench --model text --type f16', '--type', 'without --write-checkpoint'],
    ['bench --model text --decode graph', '--decode', 'without --backend cuda'],
    ['bench --shape mamba-130m --write-checkpoint x --rounds 2', '--rounds', 'with --write-checkpoint'],
    ['conform --list-broken --quick', '--quick', 'with --list-broken'],
    ['conform --list --html x.html', '--html', 'with --list'],
    ['conform --list --emit x', '--emit', 'with --list'],
    ['conform --emit x --junit y.xml', '--junit', 'with --emit'],
    ['conform --case op/add/golden/plain --quick', '--quick', 'with --case'],
    ['conform --backend wasm --timeout 3', '--timeout', 'without --backend exec:COMMAND'],
  ])('%s', async (line, option, why) => {
    const [command] = words(line);
    expect(await complaint(2, here, ...words(line))).toBe(`${command}: ${option} changes nothing ${why}`);
  });
});

describe('an --out folder that is there', () => {
  const dynamic = ['quantize', '--model', 'text', '--recipe', 'dynamic', '--out'];
  it('is not written into without --force, and then only the files of the checkpoint are', async () => {
    mkdirSync(inHere('there'));
    await answer(here, ...dynamic, 'there'); // it was empty
    writeFileSync(inHere('there', 'mine.txt'), 'mine');
    writeFileSync(inHere('there', 'generation_config.json'), '{"eos_token_id":1}'); // of another model
    const before = readFileSync(inHere('there', 'model.safetensors'));
    const args = ['quantize', '--model', 'text', '--recipe', 'fp32', '--out', 'there'];
    expect(await complaint(2, here, ...args)).toBe(
      'quantize: --out there is there already; --force writes into it',
    );
    expect(readFileSync(inHere('there', 'model.safetensors'))).toEqual(before);
    await answer(here, ...args, '--force');
    expect(readFileSync(inHere('there', 'model.safetensors'))).not.toEqual(before);
    expect(readFileSync(inHere('there', 'mine.txt'), 'utf8')).toBe('mine');
    expect(readdirSync(inHere('there'))).not.toContain('generation_config.json');
  });
});

describe.skipIf(process.platform === 'win32')(
  'the model itself is not written over, by no name of it',
  () => {
    const model = () => readFileSync(inHere('text', 'model.safetensors'));
    it('a link to its folder, a link in the path, a link to its file', async () => {
      symlinkSync('text', inHere('same'));
      symlinkSync('.', inHere('dot'));
      symlinkSync(join('text', 'model.safetensors'), inHere('weights.gguf'));
      mkdirSync(inHere('other'));
      symlinkSync(join('..', 'text', 'model.safetensors'), inHere('other', 'model.safetensors'));
      const before = model();
      for (const out of ['same', 'dot/text', 'dot/same', 'other']) {
        const line = `quantize --model text --recipe dynamic --force --out ${out}`;
        expect(await complaint(2, here, ...words(line))).toMatch(/is the folder of the model itself$/);
      }
      for (const out of ['same/model.safetensors', 'dot/text/new.json', 'weights.gguf'])
        expect(await complaint(2, here, ...words(`export --model text --out ${out}`))).toBe(
          `export: --out ${out} is a file of the model itself`,
        );
      expect(model()).toEqual(before);
    });
  },
);

describe('what comes into a folder while a command fills it stays', () => {
  const cases = conformance(reference)
    .filter(({ vectors }) => vectors)
    .slice(0, 2);
  it('where emit ends well, and where it fails', async () => {
    const mine = () => {
      mkdirSync(inHere('vectors'), { recursive: true });
      writeFileSync(inHere('vectors', 'mine.txt'), 'mine');
    };
    await emit(inHere('vectors'), cases, {}, mine);
    const files = cases.map(({ address }) => `${address}.safetensors`);
    const all = ['index.json', 'mine.txt', ...files].map(name => inHere('vectors', name));
    expect(all.filter(path => !existsSync(path))).toEqual([]);
    rmSync(inHere('vectors'), { recursive: true });
    const failing = () => {
      mine();
      throw new Error('half-way');
    };
    await expect(emit(inHere('vectors'), cases, {}, failing)).rejects.toThrow('half-way');
    expect(readdirSync(inHere('vectors'))).toEqual(['mine.txt']);
  });
});

describe('two processes, one path', () => {
  const TINY = '--text prose.txt --window 16 --limit 32 --rounds 0 --recipe dynamic';
  it.each([
    'quantize --model text --recipe dynamic --out shared',
    'export --model text --out shared',
    `eval --model text ${TINY} --out shared`,
    'conform --emit shared --filter op/add',
  ])('the second is told: %s', async line => {
    const release = lockOutput(inHere('shared'));
    const sentence = await complaint(1, here, ...words(line));
    expect(sentence).toMatch(
      new RegExp(`^shared: is being written by another quamba \\(process ${process.pid}\\); wait for it`),
    );
    expect(existsSync(inHere('shared'))).toBe(false);
    release();
  });

  it('a lock ends with what it was for', async () => {
    const line = words(`eval --model text ${TINY} --out again.json --json`);
    const first = await printed(here, ...line);
    expect(await printed(here, ...line)).toBe(first);
    lockOutput(inHere('again.json'))();
  });
});

describe.skipIf(process.platform === 'win32')('a signal', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s removes what export has begun', async signal => {
    mkdirSync(inHere(signal));
    const out = join(signal, 'm.gguf');
    const child = spawn(process.execPath, [bin, 'export', '--out', out], { cwd: here, stdio: 'ignore' });
    const ended = new Promise(resolve => child.on('close', (_, by) => resolve(by)));
    while (readdirSync(inHere(signal)).length === 0) await new Promise(resolve => setTimeout(resolve, 1));
    child.kill(signal);
    expect(await ended).toBe(signal);
    expect(readdirSync(inHere(signal))).toEqual([]);
  });
});

describe.skipIf(process.platform === 'win32')('what is no file is written into', () => {
  const junit = ['conform', '--backend', 'reference', '--filter', 'op/add/golden', '--junit'];
  it('a FIFO', async () => {
    execFileSync('mkfifo', [inHere('fifo')]);
    const read = new Promise<string>(resolve =>
      execFile('cat', [inHere('fifo')], { maxBuffer: 1 << 26 }, (_, stdout) => resolve(stdout)),
    );
    await quamba(here, ...junit, 'fifo');
    expect(await read).toMatch(/^<\?xml.*<\/testsuites>\n$/s);
  });

  it('standard output, and what is printed stays: a pipe and a file', async () => {
    symlinkSync('/dev/fd/1', inHere('stdout')); // as /dev/stdout is one
    const piped = (await quamba(here, ...junit, 'stdout')).stdout;
    const log = openSync(inHere('log'), 'w');
    execFileSync(process.execPath, [bin, ...junit, 'stdout'], {
      cwd: here,
      stdio: ['ignore', log, 'ignore'],
    });
    for (const text of [piped, readFileSync(inHere('log'), 'utf8')]) {
      expect(text).toMatch(/PASSED/);
      expect(text).toMatch(/<\?xml.*<\/testsuites>/s);
    }
  });
});

describe.skipIf(process.platform === 'win32')('export into standard output', () => {
  it('a pipe and a file get the bytes of the model, and nothing else', async () => {
    const { bytes } = await answer<{ bytes: number }>(here, ...words('export --model text --out plain.gguf'));
    const plain = readFileSync(inHere('plain.gguf'));
    expect(bytes).toBe(plain.length);
    symlinkSync('/dev/fd/1', inHere('out'));
    const args = [bin, ...words('export --model text --json --out out')];
    for (const name of ['piped', 'file']) {
      const log = openSync(inHere(name), 'w');
      const told =
        name === 'file'
          ? spawnSync(process.execPath, args, { cwd: here, stdio: ['ignore', log, 'pipe'] })
          : spawnSync(process.execPath, args, { cwd: here, stdio: ['ignore', 'pipe', 'pipe'] });
      if (name === 'piped') writeFileSync(inHere(name), told.stdout!);
      expect(readFileSync(inHere(name)).equals(plain), name).toBe(true);
      const said = told.stderr!.toString().trimEnd().split('\n').at(-1)!; // the other lines are progress
      expect(JSON.parse(said)).toMatchObject({ out: 'out', bytes });
      closeSync(log);
    }
  });
});

// last: no command above has left its lock
describe('locks', () => {
  const left = () => readdirSync(inHere('tmp'));
  it('none is left by a command that fails at once, or that a signal or exit() ends', async () => {
    expect(left()).toEqual([]);
    mkdirSync(inHere('empty'));
    await complaint(1, here, ...words('export --model empty --out one.gguf'));
    await complaint(1, here, ...words('quantize --model empty --out one'));
    await complaint(
      1,
      here,
      ...words('eval --model text --text prose.txt --window 16 --limit 32 --out file'),
    );
    expect(left()).toEqual([]);
    const lock = JSON.stringify(new URL('../../dist/formats/lock.js', import.meta.url));
    const program = `import { lockOutput } from ${lock}; lockOutput('x'); process.exit()`;
    execFileSync(process.execPath, ['--input-type=module', '-e', program]);
    expect(left()).toEqual([]);
  });

  /** What is said to the second while the lock has other words. */
  const told = (change: (words: string[]) => string[]) => {
    const release = lockOutput(inHere('x'));
    const lock = inHere('tmp', left()[0]);
    writeFileSync(lock, change(readFileSync(lock, 'utf8').split(' ')).join(' '));
    try {
      lockOutput(inHere('x'))();
      return 'taken over';
    } catch (error) {
      return (error as Error).message;
    } finally {
      release();
      rmSync(lock, { force: true });
    }
  };

  it.skipIf(process.platform !== 'linux')('a process that got the id of the holder does not hold it', () => {
    const parent = String(process.ppid);
    const line = readFileSync(`/proc/${parent}/stat`, 'utf8');
    const start = line.slice(line.lastIndexOf(')') + 2).split(' ')[19];
    expect(told(([, host, , id]) => [parent, host, start, id])).toContain(`(process ${parent});`);
    expect(told(([, host, , id]) => [parent, host, '1', id])).toBe('taken over');
  });

  it('of another machine it is told which', () => {
    expect(told(([, , start, id]) => ['1', 'far/pid', start, id])).toContain(
      '(process 1 of another machine or container, far/pid)',
    );
  });

  it.skipIf(process.platform === 'win32')('a folder by two names has one lock, a device none', () => {
    mkdirSync(inHere('one'), { recursive: true });
    symlinkSync('one', inHere('two'));
    const release = lockOutput(inHere('one', 'new'));
    expect(() => lockOutput(inHere('two', 'new/'))).toThrow('is being written by another');
    release();
    const [first, second] = [lockOutput('/dev/null'), lockOutput('/dev/null')];
    expect(left()).toEqual([]);
    first();
    second();
  });

  it('without a temporary folder all is written without locks', () => {
    process.env.TMPDIR = inHere('nowhere');
    process.env.TEMP = inHere('nowhere');
    const release = lockOutput(inHere('y'));
    lockOutput(inHere('y'))();
    release();
    process.env.TMPDIR = inHere('tmp');
    process.env.TEMP = inHere('tmp');
  });
});
