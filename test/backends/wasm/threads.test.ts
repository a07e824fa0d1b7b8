/**
 * Threads: the same bits for any number of them, no hang when one dies, nothing left running.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type PrepareOptions, prepare } from '../../../src/backends/backend.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { TAKEN } from '../../../src/backends/wasm/instruction-formats.ts';
import { AT, JOB } from '../../../src/backends/wasm/sync.ts';
import type { Executable } from '../../../src/executable.ts';
import { load } from '../../../src/open/node.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import type { Recipe } from '../../../src/quant/scheme.ts';
import { interpret } from '../../../src/run.ts';
import type { Tensor } from '../../../src/tensor.ts';
import { quamba, workFolder } from '../../cli/run.ts';
import { planOfToy, toy, toys } from '../../toy.ts';
import { cut, difference, long, run, variants } from '../feeds.ts';

const running: Executable[] = [];
afterEach(() => {
  for (const executable of running.splice(0)) executable.dispose!();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const options = (threads: number, timeout?: number): PrepareOptions => ({ threads, timeout }) as object;

async function started(...args: Parameters<typeof prepare>): Promise<Executable> {
  const executable = prepare(...args);
  running.push(executable);
  await executable.ready;
  return executable;
}

describe.each(variants)('%s: any number of threads has the bits of the reference', (_, backend) => {
  for (const of of toys)
    it.each(Object.entries(recipes) as [string, Recipe][])(`${of.name} %s`, async (__, recipe) => {
      const plan = planOfToy(of, recipe);
      const text = long(of.config.vocabSize).subarray(0, 150); // longer than a chunk
      const expected = run(interpret(plan), [text]);
      for (const threads of of === toy ? [2, 3, 4] : [3]) {
        const executable = await started(backend, plan, { threads });
        expect(executable.about?.threads).toBe(threads);
        const actual = run(executable, cut(text, [1, 130, 19]));
        expect(difference(actual.logits, expected.logits), `${threads} threads: logits`).toBe('');
        for (const ref in expected.state)
          expect(difference(actual.state[ref].data, expected.state[ref].data), `${threads}: ${ref}`).toBe('');
      }
    });
});

it('before all have come, those that are there do the work', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const executable = prepare(wasm, plan, { threads: 3 });
  running.push(executable);
  const { data } = executable.open().feed(toy.text); // no thread had time to come
  expect(difference(data, interpret(plan).open().feed(toy.text).data)).toBe('');
});

it('an observed text, larger than the memory was made for', async () => {
  const { program } = toy;
  const text = long(toy.config.vocabSize);
  const seen = (executable: Executable) => {
    const sites: Tensor[] = [];
    executable.open().feed(text, { observe: (__, ___, x) => sites.push(x) });
    return sites;
  };
  const expected = seen(interpret(program));
  for (const [i, { data }] of seen(await started(wasm, program, { threads: 3 })).entries())
    expect(difference(data, expected[i].data)).toBe('');
});

it('a NaN is where the reference says, whoever meets it', async () => {
  const plan = planOfToy(toy, recipes.quamba);
  const nan = (ref: string) => {
    const t = plan.weights.read(ref);
    return ref === 'backbone.norm_f.weight' || !ref.endsWith('.D')
      ? t
      : { ...t, data: t.data.map(() => Number.NaN) };
  };
  const broken = { ...plan, weights: { ...plan.weights, read: nan } };
  const message = (executable: Executable): string => {
    try {
      executable.open().feed(toy.text);
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
    return 'no error';
  };
  const expected = message(interpret(broken));
  expect(expected).toContain('quantize C2');
  for (const threads of [1, 2, 3]) {
    const executable = await started(wasm, broken, { threads });
    expect(message(executable)).toBe(expected);
    expect(message(executable)).toBe(expected); // all are still in step
  }
});

describe('a thread that dies', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const text = toy.text;
  /** An executable, its workers, and the memory that they share. */
  async function withWorkers(timeout: number) {
    const workers: Worker[] = [];
    let memory: WebAssembly.Memory | undefined;
    class Seen extends Worker {
      constructor(source: string, settings: { workerData: { memory: WebAssembly.Memory } }) {
        super(source, settings);
        workers.push(this);
        memory = settings.workerData.memory;
      }
    }
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue({ Worker: Seen } as never);
    const executable = await started(wasm, plan, options(3, timeout));
    expect(workers.length).toBe(2);
    return { executable, workers, memory: memory! };
  }
  const feed = (executable: Executable) => executable.open().feed(text);
  const expected = interpret(plan).open().feed(text);

  it('is an error of the next feed', async () => {
    const { executable, workers } = await withWorkers(30);
    feed(executable);
    await workers[1].terminate();
    expect(() => feed(executable)).toThrow('backend wasm: a thread died: it ended with code 1');
  });

  it('while tokens are fed leaves the bits as they are', async () => {
    const { executable, workers } = await withWorkers(1);
    const gone = workers[0].terminate();
    try {
      for (let i = 0; i < 50; i++) expect(difference(feed(executable).data, expected.data)).toBe('');
    } catch (error) {
      expect((error as Error).message).toContain('a thread died'); // it had taken a part of the work
    }
    await gone;
    expect(() => feed(executable)).toThrow('backend wasm: a thread died');
  });

  it('with a part of the work in its hands is an error, not a hang', async () => {
    const { executable, memory } = await withWorkers(1);
    feed(executable);
    const words = new Int32Array(memory.buffer);
    const [at, job] = [words[AT / 4], words[JOB / 4]];
    // a part of the next job's first instruction is taken, by nobody
    new BigInt64Array(memory.buffer)[(at + TAKEN) / 8] = (BigInt(job + 1) << 32n) | 1n;
    expect(() => feed(executable)).toThrow('backend wasm: a thread died: it did not come back');
    expect(() => feed(executable)).toThrow('backend wasm: a thread died'); // and stays one
  });

  it('at its start is an error of ready', async () => {
    class Broken extends Worker {
      constructor(source: string, { workerData, ...rest }: { workerData: object }) {
        super(source, { ...rest, workerData: { ...workerData, module: undefined } });
      }
    }
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue({ Worker: Broken } as never);
    const executable = prepare(wasm, plan, { threads: 2 });
    running.push(executable);
    await expect(executable.ready).rejects.toThrow('backend wasm: a thread could not start');
    expect(() => feed(executable)).toThrow('backend wasm: a thread died');
  });
});

it('without SharedArrayBuffer one thread works', async () => {
  vi.stubGlobal('SharedArrayBuffer', undefined);
  const plan = planOfToy(toy, recipes.quamba);
  const executable = await started(wasm, plan, { threads: 4 });
  expect(executable.about?.threads).toBe(1);
  const { data } = executable.open().feed(toy.text);
  expect(difference(data, interpret(plan).open().feed(toy.text).data)).toBe('');
});

describe('nothing is left running', () => {
  it('a disposed model has ended its workers', async () => {
    const before = process.getActiveResourcesInfo().length;
    const model = await load(undefined, { threads: 3 });
    model.dispose();
    await expect.poll(() => process.getActiveResourcesInfo().length).toBeLessThanOrEqual(before);
    expect(() => model.session().feed([1])).toThrow('disposed');
  });

  it.each([1, 2])('a disposed executable of %i threads does not hold its memory', async threads => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const made: WeakRef<WebAssembly.Memory>[] = [];
    const { Memory } = WebAssembly;
    class Seen extends Memory {
      constructor(of: WebAssembly.MemoryDescriptor) {
        super(of);
        made.push(new WeakRef(this));
      }
    }
    vi.stubGlobal('WebAssembly', Object.create(WebAssembly, { Memory: { value: Seen } }));
    const executable = prepare(wasm, planOfToy(toy, recipes.quamba), { threads });
    await executable.ready;
    executable.open().feed(toy.text);
    executable.dispose!();
    expect(made.length).toBeGreaterThan(0);
    await expect
      .poll(
        () => {
          collect();
          return made.filter(memory => memory.deref()).length;
        },
        { timeout: 4000 },
      )
      .toBe(0);
    expect(() => executable.open()).toThrow('disposed');
  });

  it('a program that disposes of nothing ends, and its logits are those of one thread', async () => {
    const folder = workFolder();
    const args = ['generate', '--prompt', 'The old man', '--max-tokens', '5', '--json', '--threads'];
    const [one, three] = await Promise.all(['1', '3'].map(n => quamba(folder, ...args, n)));
    expect(JSON.parse(three.stdout).logitsHash).toBe(JSON.parse(one.stdout).logitsHash);
    expect(three.code).toBe(0);
  });
});
