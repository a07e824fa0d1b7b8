/**
 * The CUDA sources on a CPU (cuda/emulate): the bits of every kernel and of whole plans without a GPU. Needs g++, and koffi for all
 * but the examples.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { load } from '../../../src/open/node.ts';
import { COUNT, examples, PROMPT } from './examples.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const works = (attempt: () => unknown): boolean => {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
};
/** The script below runs the plan of the package too. `node scripts/hashes.mjs --backend cuda` compares all, in some minutes. */
const RECIPES = ['dynamic-rotated'];

const compiler = works(() => execFileSync('g++', ['--version'], { stdio: 'ignore' }));
const koffi = works(() => createRequire(import.meta.url).resolve('koffi'));

describe.skipIf(!compiler)(`on a CPU${compiler ? '' : ': skipped, g++ is not on the PATH'}`, () => {
  let folder: string;
  let library: string;
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, args, {
      cwd: root,
      env: { ...process.env, QUAMBA_CUDA_LIB: library },
      maxBuffer: 1 << 26,
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'quamba-emulated-'));
    library = join(folder, 'libquamba_cuda_emulated.so');
    await run('scripts/build-cuda-emulated.mjs', '--out', library);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(examples)('%s gives what it gives elsewhere', async (name, example) => {
    const { code, stdout, stderr } = await example(library, folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    if (name === 'op.py') return expect(stdout).toContain('quantize: [0, 2, 2, 127]');
    const model = await load();
    const writing = model.generate(PROMPT, { maxTokens: COUNT, temperature: 0 });
    let next = await writing.next();
    while (!next.done) next = await writing.next();
    expect(stdout.trim()).toBe(next.value.tokens.join(' '));
    model.dispose();
  });

  it.skipIf(!koffi)('has the bits of golden/hashes.json', async () => {
    const { stdout } = await run('scripts/hashes.mjs', '--backend', 'cuda', '--recipe', RECIPES.join());
    expect(stdout).toBe(`${RECIPES.length} passed, 0 failed\n`);
  });

  it.skipIf(!koffi)(
    `the script for a GPU finds the reference's bits${koffi ? '' : ': skipped, koffi is not installed'}`,
    async () => {
      const { stdout } = await run('scripts/test-cuda.mjs', '--brief');
      expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^[1-9]\d+ passed, 0 failed$/);
    },
  );
});
