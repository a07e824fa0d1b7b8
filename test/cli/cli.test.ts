/** What all commands have in common: help, exit codes, one sentence for each error, a reader that goes away. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { safetensors } from '../formats/file.ts';
import { bin, complaint, printed, quamba, workFolder } from './run.ts';
import { safetensorsOf, toyFiles, toyTensors, writeFolder } from './toy.ts';

const COMMANDS = [
  'generate',
  'chat',
  'quantize',
  'inspect',
  'eval',
  'ablate',
  'report',
  'export',
  'bench',
  'doctor',
];
const here = workFolder();
const toy = ['--model', 'toy', '--recipe', 'fp32'];

beforeAll(() => {
  writeFolder(join(here, 'toy'), toyFiles());
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
  writeFolder(join(here, 'empty'), {});
  writeFolder(join(here, 'broken'), { ...toyFiles(), 'config.json': Buffer.from('{') });
  const nan = toyTensors();
  nan['backbone.norm_f.weight'].data[5] = Number.NaN;
  writeFolder(join(here, 'nan'), { ...toyFiles(), 'model.safetensors': safetensorsOf(nan) });
  writeFolder(join(here, 'hollow'), { ...toyFiles(), 'model.safetensors': safetensors({}) });
  const { 'config.json': _, ...others } = toyFiles();
  writeFolder(join(here, 'piped'), others);
  execFileSync('mkfifo', [join(here, 'piped/config.json')]);
  const part = gzipSync(new Uint8Array(1 << 24)); // parts of a gzip file make one text
  writeFileSync(join(here, 'bomb.txt.gz'), Buffer.concat(Array(17).fill(part)));
  writeFileSync(join(here, 'no.txt.gz'), 'plain');
  writeFileSync(join(here, 'short.txt'), 'too short');
  writeFileSync(join(here, 'latin1.txt'), Uint8Array.of(0x63, 0xe9));
  writeFileSync(join(here, 'not-json.json'), '{');
  writeFileSync(join(here, 'unknown-field.json'), '{ "weights": { "bits": 8, "per": "tensor" }, "frob": 1 }');
  writeFileSync(join(here, 'two-bits.json'), '{ "weights": { "bits": 2, "per": "tensor" } }');
});

describe('help', () => {
  it.each(COMMANDS)('of %s ends with examples of that command', async command => {
    const help = await printed(here, command, '--help');
    const [, examples] = help.split('\nExamples:\n');
    expect(examples.trimEnd().split('\n').length).toBeGreaterThan(1);
    for (const line of examples.trimEnd().split('\n')) expect(line).toMatch(`  quamba ${command}`);
  });

  it('lists the commands and says how to begin', async () => {
    const help = await printed(here, '--help');
    for (const command of COMMANDS) expect(help).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(help).toMatch(/Start with:\n {2}quamba generate --prompt/);
  });

  it('--version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await printed(here, '--version')).toBe(`${version}\n`);
  });
});

describe('wrong usage ends with 2 and says what was expected', () => {
  it.each<[RegExp, string]>([
    [/unknown command 'frob'/, 'frob'],
    [/unknown option '--frob'/, 'generate --frob'],
    [/too many arguments/, 'generate frob'],
    [/give either --prompt TEXT or --tokens IDS/, 'generate'],
    [/give either --prompt TEXT or --tokens IDS/, 'generate --prompt a --tokens 1'],
    [/--max-tokens.* expected a whole number >= 0; got 'x'/, 'generate --prompt a --max-tokens x'],
    [/--max-tokens.* expected a whole number >= 0; got '1.5'/, 'generate --prompt a --max-tokens 1.5'],
    [/--max-tokens.* expected a whole number >= 0; got '-1'/, 'generate --prompt a --max-tokens -1'],
    [/--temperature.* expected a number >= 0; got 'hot'/, 'generate --prompt a --temperature hot'],
    [/--top-k.* expected a whole number >= 1; got '0'/, 'generate --prompt a --top-k 0'],
    [/--top-p.* expected a number in \(0, 1\]; got '0'/, 'generate --prompt a --top-p 0'],
    [/--min-p.* expected a number in \[0, 1\]; got '2'/, 'generate --prompt a --min-p 2'],
    [/--repetition-penalty.* expected a number > 0; got '0'/, 'generate --prompt a --repetition-penalty 0'],
    [/--seed.* expected a whole number; got '1.5'/, 'generate --prompt a --seed 1.5'],
    [/--tokens.* expected token ids separated by commas; got 'x'/, 'generate --tokens 1,x'],
    [/--tokens.* expected token ids separated by commas; got ''/, 'generate --tokens 1,'],
    [/--backend.* 'frob' is invalid.*reference/, 'generate --prompt a --backend frob'],
    [/recipe 'nope' is not known; expected fp32, .*quamba/, 'generate --model toy --tokens 1 --recipe nope'],
    [/none\.json: no such file or folder/, 'generate --model toy --tokens 1 --recipe none.json'],
    [/unknown-field\.json: no field "frob"/, 'generate --model toy --tokens 1 --recipe unknown-field.json'],
    [
      /two-bits\.json\.weights\.bits expected 8 or 4; got 2/,
      'generate --model toy --tokens 1 --recipe two-bits.json',
    ],
    [/not-json\.json/, 'generate --model toy --tokens 1 --recipe not-json.json'],
    [/required option '--out <dir>'/, 'quantize --model toy'],
    [/--out toy is the folder of the model itself/, 'quantize --model toy --out toy'],
    [/--samples.* expected a whole number >= 1; got '0'/, 'quantize --out q --samples 0'],
    [/--percentile.* expected a number in \(0, 1\]; got '2'/, 'quantize --out q --percentile 2'],
    [/--layer expected 0 … 1; got 2/, 'inspect --model toy --recipe fp32 --plan --layer 2'],
    [/recipe 'nope' is not known/, 'inspect --model toy --recipe fp32 --diff nope'],
    [/recipe 'nope' is not known/, 'eval --model text --recipe fp32,nope'],
    [/--limit.* expected a whole number >= 1; got '0'/, 'eval --limit 0'],
    [/--window.* expected a whole number >= 2; got '1'/, 'eval --window 1'],
    [/--limit 100 is less than one window of 2048 tokens/, 'eval --limit 100'],
    [/recipe fp32 is named twice/, 'eval --recipe fp32,fp32'],
    [/--task needs --data/, 'eval --task piqa'],
    [/--data needs --task/, 'eval --data piqa.jsonl'],
    [/--task 'boolq' is not known; expected all or lambada/, 'eval --task boolq --data x'],
    [/--task piqa is named twice/, 'eval --task piqa,piqa --data x'],
    [/--shard needs --out/, 'eval --shard 0/2'],
    [/--shard expected I\/N with I from 0 to N − 1, such as 0\/4; got '2\/2'/, 'eval --shard 2/2 --out x'],
    [/missing required argument 'files'/, 'eval merge'],
  ])('%s ← %s', async (sentence, line) => {
    expect(await complaint(2, here, ...line.split(' '))).toMatch(sentence);
  });
});

describe('what fails ends with 1 and names the file', () => {
  it.each<[RegExp, string]>([
    [/^nowhere: no such file or folder$/, 'generate --model nowhere --tokens 1'],
    [/^short\.txt: expected a folder; got a file$/, 'generate --model short.txt --tokens 1'],
    [/^empty: expected model\.safetensors/, 'generate --model empty --tokens 1'],
    [/^broken\/config\.json: expected JSON/, 'generate --model broken --tokens 1'],
    [
      /^nan\/model\.safetensors: tensor "backbone\.norm_f\.weight": .*NaN/,
      'generate --model nan --recipe fp32 --tokens 1',
    ],
    [
      /^hollow\/model\.safetensors: tensor \S+ is missing; there is no tensor$/,
      'generate --model hollow --tokens 1',
    ],
    [/^toy: has no tokenizer\.json/, `generate ${toy.join(' ')} --prompt a`],
    [/^token 99 is out of range 0 … 31 at position 1$/, `generate ${toy.join(' ')} --tokens 1,99`],
    [/^none\.txt: no such file or folder/, 'eval --model text --recipe fp32 --text none.txt'],
    [/^piped\/config\.json: expected a file; got a pipe$/, 'generate --model piped --tokens 1'],
    [
      /^bomb\.txt\.gz: expected a text of at most 268435456 bytes; it unzips to more$/,
      'eval --model text --recipe fp32 --text bomb.txt.gz',
    ],
    [
      /^no\.txt\.gz: expected a gzip file \(Z_DATA_ERROR\)$/,
      'eval --model text --recipe fp32 --text no.txt.gz',
    ],
    [/^latin1\.txt: expected UTF-8/, 'eval --model text --recipe fp32 --text latin1.txt'],
    [/expected at least 16 tokens .* got 9$/, 'eval --model text --recipe fp32 --text short.txt --window 16'],
    [/^nowhere: no such file or folder$/, 'inspect --model nowhere'],
    [/^nowhere: no such file or folder$/, 'inspect --model nowhere --verify'],
    [/^nowhere: no such file or folder$/, 'quantize --model nowhere --out q'],
  ])('%s ← %s', async (sentence, line) => {
    expect(await complaint(1, here, ...line.split(' '))).toMatch(sentence);
  });
});

it('pipes that the user names are read', () => {
  const run = `'${process.execPath}' '${bin}'`;
  const text = '--text /dev/stdin --window 8 --limit 64 --rounds 0 --json';
  const lines = `head -c 500 '${bin}' | ${run} eval --model text --recipe fp32 ${text} | ${run} report /dev/stdin --html r.html`;
  execFileSync('sh', ['-c', lines], { cwd: here });
  expect(readFileSync(join(here, 'r.html'), 'utf8')).toContain('fp32');
});

it('a reader that closes the pipe early is no failure', async () => {
  const ended = await new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    const args = [
      'generate',
      '--model',
      'text',
      '--recipe',
      'fp32',
      '--prompt',
      'a',
      '--max-tokens',
      '1000000',
    ];
    const child = spawn(process.execPath, [bin, ...args], { cwd: here });
    let stderr = '';
    child.stderr.on('data', chunk => {
      stderr += chunk;
    });
    child.stdout.once('data', () => child.stdout.destroy()); // as head does
    child.on('error', reject).on('close', code => resolve({ code, stderr }));
  });
  expect(ended).toEqual({ code: 0, stderr: '' });
});

it('an error with --json leaves stdout empty too', async () => {
  const { code, stdout, stderr } = await quamba(
    here,
    'generate',
    '--model',
    'nowhere',
    '--tokens',
    '1',
    '--json',
  );
  expect({ code, stdout, stderr }).toEqual({
    code: 1,
    stdout: '',
    stderr: 'quamba: nowhere: no such file or folder\n',
  });
});
