/** The command line among other programs: what it reads, what it says beside its result, what it makes of a slip. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { load } from '../../src/open/node.ts';
import { answer, bin, complaint, quamba, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const TOY = ['--model', 'text', '--recipe', 'fp32'];

beforeAll(() => {
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
});

/** A run that is given this on standard input. */
const piped = (input: Uint8Array, ...args: string[]) =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], { cwd: here });
    const seen = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].on('data', chunk => {
        seen[stream] += chunk;
      });
    child.on('error', reject).on('close', code => resolve({ code, ...seen }));
    child.stdin.end(input);
  });

describe('a prompt', () => {
  const how = ['generate', ...TOY, '--max-tokens', '4', '--json'];

  it('comes from an option, a file or standard input, and is the same', async () => {
    writeFileSync(join(here, 'prompt.txt'), 'two\nlines\n');
    const { tokensPerSecond: _, ...given } = await answer<Record<string, unknown>>(
      here,
      ...how.slice(0, -1),
      '--prompt',
      'two\nlines',
    );
    expect(given.model).toBe('text');
    const { tokensPerSecond: __, ...ofFile } = JSON.parse(
      (await quamba(here, ...how, '--prompt-file', 'prompt.txt')).stdout,
    );
    const { tokensPerSecond: ___, ...ofPipe } = JSON.parse(
      (await piped(Buffer.from('two\nlines\n'), ...how, '--prompt', '-')).stdout,
    );
    expect(ofFile).toEqual(given);
    expect(ofPipe).toEqual(given);
  });

  it('that cannot be read, or is no text, is wrong usage', async () => {
    expect(await complaint(2, here, ...how, '--prompt-file', 'none.txt')).toBe(
      'none.txt: no such file or folder',
    );
    const { code, stderr } = await piped(Uint8Array.of(0xff), ...how, '--prompt', '-');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'quamba: standard input: expected UTF-8 text; got bytes that are not\n',
    });
    expect(await complaint(2, here, ...how, '--prompt-file', 'prompt.txt', '--tokens', '1')).toMatch(
      /give either --prompt TEXT or --tokens IDS/,
    );
  });
});

it('progress is on stderr with --json too, and says nothing of what is left before it can know', async () => {
  const args = ['--model', 'text', '--recipe', 'naive-static', '--samples', '2', '--window', '8'];
  const { code, stdout, stderr } = await quamba(here, 'quantize', ...args, '--out', 'q', '--json');
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ out: 'q' });
  expect(stderr).toMatch(/^calibrating 1\/2, \d+ s\n/);
});

describe('what calibration saw', () => {
  const scheme = { bits: 8, per: 'tensor' };
  const range = { percentile: 0.999, ema: 0.01 };
  const own = {
    weights: scheme,
    acts: { basis: 'none', range: 'absmax', when: 'static', bits: 8 },
    at: { scanIn: { range }, scanOut: { basis: 'hadamard' } },
  };
  const line = 'generate --model text --recipe own.json --prompt ab --max-tokens 3 --json';
  const hashOf = (stdout: string): string => JSON.parse(stdout).logitsHash;
  const kept = () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    const folder = join(here, '.cache', 'quamba', version);
    return existsSync(folder) ? readdirSync(folder).map(file => join(folder, file)) : [];
  };

  it('is kept for a recipe of one’s own, with the same bits, and said; a damaged file is measured anew', async () => {
    writeFileSync(join(here, 'own.json'), JSON.stringify(own));
    const before = kept();
    const first = await quamba(here, ...line.split(' '));
    expect(first.code, first.stderr).toBe(0);
    expect(first.stderr).toMatch(/^The recipe has static scales, .* quamba quantize --out DIR saves /);
    expect(first.stderr).toMatch(/^calibrating 128\/128, /m);
    const file = kept().find(path => !before.includes(path))!;

    const second = await quamba(here, ...line.split(' '));
    expect({ ...second, stdout: hashOf(second.stdout) }).toEqual({
      code: 0,
      stdout: hashOf(first.stdout),
      stderr: '',
    });

    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, 100));
    const third = await quamba(here, ...line.split(' '));
    expect(hashOf(third.stdout)).toBe(hashOf(first.stdout));
    expect(readFileSync(file)).toEqual(whole);
  });

  it('of another recipe is not taken for it', async () => {
    const other = { ...own, at: { scanIn: { range: { ...range, percentile: 0.5 } } } };
    const before = kept().length;
    writeFileSync(join(here, 'own.json'), JSON.stringify(other));
    expect((await quamba(here, ...line.split(' '))).stderr).toMatch(/^calibrating 128\/128, /m);
    expect(kept()).toHaveLength(before + 1);
  });
});

it('inspect counts the parameters of the model, whatever a recipe packs or adds', async () => {
  const count = async (recipe: string) =>
    (await answer<{ parameters: number }>(here, 'inspect', '--model', 'text', '--recipe', recipe)).parameters;
  const float = await count('fp32');
  expect(await count('w4a16-rtn')).toBe(float);
  expect(await count('dynamic-rotated-rows')).toBe(float);
});

describe('a slip is told what it may have meant', () => {
  it.each<[string, string]>([
    [
      'generate --tokens 1 --recipe qaumba',
      "recipe 'qaumba' is not known (did you mean quamba?); expected fp32",
    ],
    [
      'generate --tokens 1 --recipe slip.json',
      'no field "wieghts" (did you mean weights?); expected weights',
    ],
    ['generate --tokens 1 --recipe site.json', 'at: no field "scanin" (did you mean scanIn?); expected'],
  ])('%s', async (line, sentence) => {
    writeFileSync(join(here, 'slip.json'), '{ "wieghts": { "bits": 8, "per": "tensor" } }');
    writeFileSync(join(here, 'site.json'), '{ "at": { "scanin": {} } }');
    expect(await complaint(2, here, ...line.split(' '))).toContain(sentence);
  });

  it.each([
    ['genrate', '(Did you mean generate?)'],
    ['generate --promt a', '(Did you mean --prompt?)'],
  ])('%s', async (line, hint) => {
    const { code, stderr } = await quamba(here, ...line.split(' '));
    expect(code).toBe(2);
    expect(stderr).toContain(hint);
  });
});

describe('load', () => {
  const folder = join(here, 'text');
  it('takes a file: URL, and refuses what is no folder in a sentence', async () => {
    const model = await load(pathToFileURL(folder), { recipe: 'fp32' });
    expect([...model.encode('ab')]).toEqual([97, 98]);
    expect(model.decode([97, 98])).toBe('ab');
    model.dispose();
    await expect(load(new URL('https://me:secret@example.org/x?token=secret'))).rejects.toThrow(
      'load: expected the path of a folder, or a file: URL; got https://example.org/x',
    );
    await expect(load(7 as never)).rejects.toThrow(
      'load: expected the path of a folder, or a file: URL; got 7',
    );
  });

  it('refuses options that it does not know, and wrong threads', async () => {
    await expect(load(folder, { recpe: 'fp32' } as object)).rejects.toThrow(
      'load: no field "recpe" (did you mean recipe?); expected recipe, threads',
    );
    for (const threads of [0, 1.5, '2', Number.NaN])
      await expect(load(folder, { recipe: 'fp32', threads } as object)).rejects.toThrow(
        'load: threads expected a whole number >= 1; got ',
      );
  });

  it('starts no more threads than the machine has', async () => {
    const model = await load(folder, { recipe: 'fp32', threads: 4 + availableParallelism() });
    expect(model.executable.about?.threads).toBe(availableParallelism());
    model.dispose();
    const many = ['--max-tokens', '1', '--prompt', 'a', '--threads', `${4 + availableParallelism()}`];
    const { code, stderr } = await quamba(here, 'generate', ...TOY, ...many);
    expect(code).toBe(0);
    expect(stderr).toContain(`--threads ${many.at(-1)}: this machine runs ${availableParallelism()} at once`);
  });

  it('gives sessions that write', async () => {
    const model = await load(folder, { recipe: 'fp32' });
    const session = model.session().fork();
    const how = { temperature: 0, maxTokens: 3 };
    const written = async (pieces: ReturnType<typeof model.generate>) => {
      const tokens = [];
      for await (const { token } of pieces) tokens.push(token);
      return tokens;
    };
    const whole = await written(model.generate('ab', { ...how, maxTokens: 6 }));
    const parts = [await written(session.generate('ab', how)), await written(session.generate('', how))];
    expect(parts.flat()).toEqual(whole);
    model.dispose();
  });
});
