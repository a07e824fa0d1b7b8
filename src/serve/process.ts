/**
 * The process of a model. It is its own, so that whatever happens to it (no memory, a signal, a fault of the engine) the server
 * goes on, tells those who waited, and starts it again.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { type Client, client, EngineLost } from './client.ts';
import type { About, EngineOptions, Report } from './protocol.ts';

export interface Engine extends Pick<Client, 'write' | 'tokenize' | 'stats'> {
  /** Of the process that runs, or ran last. */
  readonly about: About;
  /** Whether it can write now. */
  readonly isReady: boolean;
  /** How often it was started again. */
  readonly restarts: number;
  /** Ends the process. */
  close(): void;
}

/** Seconds until a process that ended is started again: at once, and then later and later while none stays. */
const WAITS = [0, 1, 2, 5, 10, 30];
/** A process that stays for so many seconds is taken to be well. */
const WELL = 60;

/**
 * Starts the process, and resolves when its model is loaded.
 *
 * @param script the file that it runs, which calls `runEngine` with the options that come as its argument, as JSON
 * @throws Error in the words of the model that cannot be loaded
 */
export async function startEngine(
  script: URL,
  options: EngineOptions,
  onRestart: (why: string) => void = () => {},
): Promise<Engine> {
  let isClosed = false;
  let isReady = false;
  let restarts = 0;
  let fails = 0;
  let child: ChildProcess;
  let about: About;
  let timer: NodeJS.Timeout | undefined;
  const asked = client(order => {
    if (!isReady) throw new EngineLost('the model is being loaded again');
    child.send(order);
  });
  const start = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const began = Date.now();
      child = fork(script, [JSON.stringify(options)], { serialization: 'advanced' });
      child.on('message', (report: Report) => {
        if ('unready' in report) {
          reject(new Error(report.unready));
          child.kill('SIGKILL');
        } else if ('ready' in report) {
          about = report.ready;
          isReady = true;
          resolve();
        } else asked.take(report);
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        const why = `the process of the model ended (${signal ?? `exit code ${code}`})`;
        reject(new Error(why));
        isReady = false;
        asked.lose(why);
        if (isClosed) return;
        if (Date.now() - began > WELL * 1000) fails = 0;
        timer = setTimeout(again, WAITS[Math.min(fails++, WAITS.length - 1)] * 1000, why);
      });
    });
  const again = (why: string): void => {
    restarts++;
    onRestart(why);
    start().catch(() => {}); // its end starts the next
  };
  try {
    await start();
  } catch (error) {
    isClosed = true;
    clearTimeout(timer);
    throw error;
  }
  return {
    write: asked.write,
    tokenize: asked.tokenize,
    get stats() {
      return asked.stats;
    },
    get about() {
      return about;
    },
    get isReady() {
      return isReady;
    },
    get restarts() {
      return restarts;
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      child.kill('SIGKILL'); // nothing of it is to be kept
    },
  };
}
