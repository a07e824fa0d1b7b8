/** What a place does not give is said, and the bits are the same. */
import { availableParallelism } from 'node:os';
import { afterEach, expect, it, vi } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import { load } from '../../src/open/node.ts';
import { toyFiles } from '../cli/toy.ts';

const toy = folderOf('toy', toyFiles());
const ALL = 1 + availableParallelism();

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.resetModules();
});

/** The logits of a model, how many threads it has, and its notes, in modules that have asked for nothing yet. */
async function opened(options: object) {
  vi.resetModules();
  const { openModel } = await import('../../src/open/model.ts');
  const { executable, notes, backend, session, dispose } = await openModel(toy, options);
  const logits = session().feed([1, 2, 3]).data;
  dispose();
  return { logits, notes, backend, threads: executable.about?.threads };
}

it('fewer processors than the threads that were asked for', async () => {
  const told: string[] = [];
  const { notes, threads } = await opened({ threads: ALL, onWarning: (said: string) => told.push(said) });
  expect(threads).toBe(ALL - 1);
  expect(notes).toEqual([`has ${ALL - 1} of ${ALL} threads: this machine runs ${ALL - 1} at once`]);
  expect(told).toEqual(notes.map(note => `the model ${note}`));
  expect((await opened({ threads: 1 })).notes).toEqual([]);
});

it('a process that may start no threads', async () => {
  const { logits } = await opened({});
  class Worker {
    constructor() {
      throw new Error('Access to this API has been restricted');
    }
  }
  vi.spyOn(process, 'getBuiltinModule').mockReturnValue({ Worker, availableParallelism } as never);
  const { notes, threads, ...ran } = await opened({ threads: ALL });
  expect(ran).toEqual({ logits, backend: 'wasm' });
  expect(threads).toBe(1);
  expect(notes).toEqual([
    `has 1 of ${ALL} threads: a thread could not start: Access to this API has been restricted`,
  ]);
});

it.each([
  ['no WebAssembly', undefined, 'there is no WebAssembly here'],
  [
    'a WebAssembly that may not compile',
    { validate: () => true },
    "WebAssembly may not be compiled here; a Content-Security-Policy must allow it (script-src 'wasm-unsafe-eval')",
  ],
  ['one without SIMD', { validate: () => false }, 'this engine has no WebAssembly of the kind simd'],
])('%s', async (_, WebAssembly, why) => {
  const { logits } = await opened({});
  vi.stubGlobal('WebAssembly', WebAssembly);
  const { notes, backend, ...ran } = await opened({ threads: 2 });
  expect(ran).toEqual({ logits, threads: undefined });
  expect(backend).toBe('reference');
  expect(notes).toEqual([
    `runs on the reference, which is slow: ${why}`,
    'has 1 of 2 threads: backend reference has no others',
  ]);
});

it('a misspelt option is an error before the folder is opened', async () => {
  await expect(load('nowhere', { recpe: 'quamba' } as object)).rejects.toThrow('did you mean recipe?');
  await expect(opened({ recpe: 'quamba' })).rejects.toThrow('did you mean recipe?');
});
