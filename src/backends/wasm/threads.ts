/**
 * The threads beside the first: workers, each with an instance of the kernels over one shared memory, in which they find
 * their work (assembly/pool.ts). Node's workers and a page's are the same to everybody else.
 */

import { JOB, JOINED, MAY_SLEEP, QUIT, TIMEOUT } from './sync.ts';
import { type Kernels, moduleOf, type Variant } from './variants.ts';

export interface Pool {
  /** Resolves when all threads have joined; rejects when one cannot. */
  readonly ready: Promise<void>;
  /** How many have joined, the first thread included. */
  size(): number;
  /** @throws Error where a thread has died, or is lost. */
  check(): void;
  /** A thread is lost: the others are out of step with the first, so all of them end. */
  abandon(): void;
  /** Ends all threads. */
  close(): void;
}

/** A worker of Node or of a page. */
interface Thread {
  listen(on: { readonly message: () => void; readonly error: (why: string) => void }): void;
  /** Does not keep the program running. */
  release(): void;
  end(): void;
}

/** What each thread is given. */
interface Assignment {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly offset: number;
  readonly quit: number;
}

/** As text, so that it starts in the same way in Node, in a bundle and in a page. All its work is in the kernels. */
const WORKER = `
const node = typeof require === 'function' ? require('node:worker_threads') : undefined;
const work = ({ module, memory, offset, quit }) => {
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    exports.setOffset(offset);
    exports.join();
    (node ? node.parentPort : self).postMessage('joined');
    exports.work();
  } catch (error) {
    Atomics.store(new Int32Array(memory.buffer), quit / 4, 1); // the threads that wait for this one stop waiting
    throw error;
  }
};
if (node) work(node.workerData);
else onmessage = event => work(event.data);
`;

/** Why threads cannot be had here, or undefined where they can. */
export function noThreads(): string | undefined {
  if (typeof SharedArrayBuffer === 'undefined')
    return 'no SharedArrayBuffer here (a page must be cross-origin isolated)';
  return nodeWorkers() || typeof Worker !== 'undefined' ? undefined : 'no workers here';
}

/** Starts threads until there are `threads` with the first one, which is the caller's. */
export function startPool(kernels: Kernels, variant: Variant, threads: number, timeout: number): Pool {
  const words = new Int32Array(kernels.memory.buffer);
  words[TIMEOUT / 4] = timeout;
  words[MAY_SLEEP / 4] = typeof document === 'undefined' ? 1 : 0;
  const assignment: Assignment = {
    module: moduleOf(variant.name, true),
    memory: kernels.memory,
    offset: variant.tiles.bias ? 0 : variant.tiles.offset,
    quit: QUIT,
  };
  let died: string | undefined;
  let isClosed = false;
  const workers = Array.from({ length: threads - 1 }, () => start(assignment));
  const joined = workers.map(
    worker =>
      new Promise<void>((resolve, reject) =>
        worker.listen({
          message: () => {
            worker.release();
            resolve();
          },
          error: why => {
            if (isClosed) return;
            died ??= why;
            reject(new Error(`backend wasm: a thread could not start: ${why}`));
          },
        }),
      ),
  );
  const close = () => {
    isClosed = true;
    Atomics.store(words, QUIT / 4, 1);
    Atomics.add(words, JOB / 4, 1);
    Atomics.notify(words, JOB / 4);
    for (const worker of workers) worker.end();
  };
  const ready = Promise.all(joined).then(() => {});
  ready.catch(() => {}); // `check` reports it, even where nobody awaits `ready`
  return {
    ready,
    size: () => Atomics.load(words, JOINED / 4) + 1,
    check() {
      if (died !== undefined) throw new Error(`backend wasm: a thread died: ${died}`);
    },
    abandon() {
      died ??= 'it did not come back';
      close();
    },
    close,
  };
}

/** What is needed of Node's module of workers, spelt out so that a page's types need not know Node. */
interface NodeWorkers {
  readonly Worker: new (source: string, options: { eval: true; workerData: unknown }) => NodeWorker;
}
interface NodeWorker {
  once(event: 'message', on: () => void): void;
  once(event: 'error', on: (reason: unknown) => void): void;
  once(event: 'exit', on: (code: number) => void): void;
  unref(): void;
  terminate(): unknown;
}

/** Node's workers, without an import that a bundle for a page would stumble over. */
function nodeWorkers(): NodeWorkers | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } };
  return process?.getBuiltinModule?.('node:worker_threads') as NodeWorkers | undefined;
}

function start(assignment: Assignment): Thread {
  const node = nodeWorkers();
  if (node) {
    const worker = new node.Worker(WORKER, { eval: true, workerData: assignment });
    return {
      listen({ message, error }) {
        worker.once('message', message);
        worker.once('error', reason => error(reason instanceof Error ? reason.message : String(reason)));
        worker.once('exit', exitCode => error(`it ended with code ${exitCode}`));
      },
      release: () => worker.unref(),
      end: () => void worker.terminate(),
    };
  }
  const url = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  const worker = new Worker(url);
  worker.postMessage(assignment);
  return {
    listen({ message, error }) {
      worker.onmessage = () => {
        URL.revokeObjectURL(url);
        message();
      };
      worker.onerror = event => error(event.message ?? 'its script did not load');
    },
    release() {},
    end: () => worker.terminate(),
  };
}
