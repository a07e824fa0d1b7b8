/**
 * The threads beside the first: workers, each with an instance of the kernels over one shared memory, in which they find
 * their work (assembly/pool.ts). Node's workers and a page's are the same to everybody else.
 */
import { once } from '../../once.ts';
import { JOB, JOINED, MAY_SLEEP, QUIT, TIMEOUT } from './sync.ts';
import { type Kernels, moduleOf, type Variant } from './variants.ts';

/** As text, so that it starts in the same way in Node, in a bundle and in a page. All its work is in the kernels. */
const WORKER = `
const node = typeof require === 'function' ? require('node:worker_threads') : undefined;
const say = () => (node ? node.parentPort : self).postMessage('joined');
const work = assignment => {
  if (!assignment) return say(); // it was only asked whether it starts
  const { module, memory, offset } = assignment;
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    exports.setOffset(offset);
    exports.join();
    say();
    exports.work();
  } catch (error) {
    Atomics.store(new Int32Array(memory.buffer), ${QUIT / 4}, 1); // the threads that wait for this one stop waiting
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

/** Why no thread starts here, or undefined where one does: tried once. */
export const noThreadStarts = once(async (): Promise<string | undefined> => {
  const why = noThreads();
  if (why !== undefined) return why;
  try {
    const thread = start(null);
    await new Promise<void>((resolve, reject) => thread.listen(resolve, said => reject(new Error(said))));
    thread.end();
  } catch (error) {
    return `a thread could not start: ${(error as Error).message}`;
  }
});

/** How many threads this machine runs at once. */
export const processors = (): number =>
  globalThis.process?.getBuiltinModule?.('node:os').availableParallelism() ?? navigator.hardwareConcurrency;

/** Starts threads until there are `threads` with the first one, which is the caller's. */
export function startPool(kernels: Kernels, variant: Variant, threads: number, timeout: number) {
  const words = new Int32Array(kernels.memory.buffer);
  words[TIMEOUT / 4] = timeout;
  words[MAY_SLEEP / 4] = typeof document === 'undefined' ? 1 : 0;
  const assignment = {
    module: moduleOf(variant.name, true),
    memory: kernels.memory,
    offset: variant.tiles.bias ? 0 : variant.tiles.offset,
  };
  let died: string | undefined;
  let isClosed = false;
  const workers = Array.from({ length: threads - 1 }, () => start(assignment));
  const joined = workers.map(
    worker =>
      new Promise<void>((resolve, reject) =>
        worker.listen(resolve, why => {
          if (isClosed) return;
          died ??= why;
          reject(new Error(`backend wasm: a thread could not start: ${why}`));
        }),
      ),
  );
  const ready = Promise.all(joined).then(() => {});
  ready.catch(() => {}); // `check` reports it, even where nobody awaits `ready`
  const close = () => {
    isClosed = true;
    Atomics.store(words, QUIT / 4, 1);
    Atomics.add(words, JOB / 4, 1);
    Atomics.notify(words, JOB / 4);
    for (const worker of workers) worker.end();
  };
  return {
    /** Resolves when all threads have joined; rejects when one cannot. */
    ready,
    /** How many have joined, the first thread included. */
    size: () => Atomics.load(words, JOINED / 4) + 1,
    /** @throws Error where a thread has died, or is lost. */
    check() {
      if (died !== undefined) throw new Error(`backend wasm: a thread died: ${died}`);
    },
    /** A thread is lost: the others are out of step with the first, so all of them end. */
    abandon() {
      died ??= 'it did not come back';
      close();
    },
    /** Ends all threads. */
    close,
  };
}

/** Node's workers, without an import that a bundle for a page would stumble over. */
const nodeWorkers = () => globalThis.process?.getBuiltinModule?.('node:worker_threads');

/** A worker of Node or of a page. One that has joined does not keep the program running. */
interface Thread {
  listen(onJoined: () => void, onDeath: (why: string) => void): void;
  end(): void;
}

function start(assignment: object | null): Thread {
  const node = nodeWorkers();
  if (node) {
    const worker = new node.Worker(WORKER, { eval: true, workerData: assignment });
    return {
      listen(onJoined, onDeath) {
        worker.once('message', () => {
          worker.unref();
          onJoined();
        });
        worker.once('error', reason => onDeath(reason instanceof Error ? reason.message : String(reason)));
        worker.once('exit', exitCode => onDeath(`it ended with code ${exitCode}`));
      },
      end: () => void worker.terminate(),
    };
  }
  const url = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  const worker = new Worker(url);
  worker.postMessage(assignment);
  return {
    listen(onJoined, onDeath) {
      worker.onmessage = () => {
        URL.revokeObjectURL(url);
        onJoined();
      };
      // an event without a message is that of a script that did not load
      worker.onerror = event =>
        onDeath(event.message ?? 'a Content-Security-Policy must allow it (worker-src blob:)');
    },
    end: () => worker.terminate(),
  };
}
