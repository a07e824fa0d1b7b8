/** What becomes of stdout and stderr changes neither what a command does nor its verdict. */
import { spawn } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { bin, envOf, quamba, workFolder } from './run.ts';
import { toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
beforeAll(() => {
  writeFolder(join(here, 'text'), toyFiles({ text: true }));
});

const TOY = '--model text --recipe fp32';
const GENERATE = `generate ${TOY} --prompt a --max-tokens 4`;
const CASE = 'conform --backend wasm --filter op/add/*';

/** Runs with streams whose reader has left, or that lead to a full device. */
const run = (line: string, closed: readonly ('stdout' | 'stderr')[], full?: 'stdout' | 'stderr') =>
  new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    const target = (stream: string) => (stream === full ? openSync('/dev/full', 'w') : 'pipe');
    const child = spawn(process.execPath, [bin, ...line.split(' ')], {
      cwd: here,
      env: envOf(here),
      stdio: ['ignore', target('stdout'), target('stderr')],
    });
    for (const stream of closed) child[stream]!.destroy();
    const seen = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.on('data', chunk => {
        seen[stream] += chunk;
      });
    child.on('error', reject).on('close', code => resolve({ code, ...seen }));
  });

describe.skipIf(!existsSync('/dev/full'))('a full stdout', () => {
  it.each([
    GENERATE,
    `${GENERATE} --json`,
    '--help',
    'generate --help',
    '--version',
    `inspect ${TOY}`,
    CASE,
    'conform --list-broken',
    `eval ${TOY} --limit 64 --window 32 --rounds 0 --json`,
  ])('is one sentence and 1 ← %s', async line => {
    const { code, stderr } = await run(line, [], 'stdout');
    const sentences = stderr.split('\n').filter(said => /^\s+at |Error|quamba:/.test(said));
    expect({ code, sentences }).toEqual({
      code: 1,
      sentences: ['quamba: stdout: no space left on the disk'],
    });
  });

  it('leaves wrong usage wrong usage', async () => {
    expect((await run('generate', [], 'stdout')).code).toBe(2);
  });
});

describe('a stderr that takes nothing', () => {
  it.each(['closed', 'full'])('%s: work goes on, with the same result and exit code', async how => {
    const lines = [GENERATE, CASE, 'generate', `generate ${TOY} --tokens 999`];
    for (const line of lines) {
      const whole = await quamba(here, ...line.split(' '));
      const { code, stdout } = how === 'closed' ? await run(line, ['stderr']) : await run(line, [], 'stderr');
      expect({ line, code, stdout: timeless(stdout) }).toEqual({
        line,
        code: whole.code,
        stdout: timeless(whole.stdout),
      });
    }
    const out = `out-${how}`;
    const line = `quantize --model text --recipe naive-static --samples 2 --window 8 --out ${out}`;
    expect((await (how === 'closed' ? run(line, ['stderr']) : run(line, [], 'stderr'))).code).toBe(0);
    expect(existsSync(join(here, out, 'model.safetensors'))).toBe(true);
  });
});

const timeless = (text: string) => text.replace(/[\d.]+ s\b/g, '');

it('a closed stdout does not turn a verdict into another', async () => {
  const line = 'conform --backend broken:quantize-truncates --filter op/quantize/*';
  const verdict = await quamba(here, ...line.split(' '));
  expect(verdict.code, verdict.stdout + verdict.stderr).toBe(1);
  expect((await run(line, ['stdout'])).code).toBe(1);
  expect((await run(CASE, ['stdout'])).code).toBe(0);
});

it.skipIf(process.platform === 'win32')('a folder as stdin is wrong usage, and no empty prompt', async () => {
  const said = await new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...`generate ${TOY} --prompt -`.split(' ')], {
      cwd: here,
      env: envOf(here),
      stdio: [openSync(here, 'r'), 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr!.on('data', chunk => {
      stderr += chunk;
    });
    child.on('error', reject).on('close', code => resolve({ code, stderr }));
  });
  expect(said).toEqual({ code: 2, stderr: 'quamba: standard input: expected a text; got a folder\n' });
});
