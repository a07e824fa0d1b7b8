// The threads: the first one, which is the caller's, and those that joined it. The first one publishes a job, that is, the
// instructions from AT to END on ROWS rows; then all of them execute it together.
import {
  AT, END, FAILED, FAILED_INDEX, JOB, JOINED, LOST, OWN, OWN_BYTES, QUIT, ROWS, SLEEPERS, THREADS,
} from '../src/backends/wasm/sync';
import { execute } from './execute';
import { begin, SPINS } from './share';

let thread = 0, job: u32 = 0;

/** The first thread's call: runs a job with so many threads. Returns what `execute` does. */
export function run(at: usize, end: usize, rows: i32, threads: i32, own: usize, ownBytes: usize): usize {
  store<usize>(FAILED, 0);
  store<i32>(FAILED_INDEX, i32.MAX_VALUE);
  if (ASC_FEATURE_THREADS && threads > 1) {
    store<usize>(AT, at);
    store<usize>(END, end);
    store<i32>(ROWS, rows);
    store<i32>(THREADS, threads);
    store<usize>(OWN, own);
    store<usize>(OWN_BYTES, ownBytes);
    job = atomic.add<u32>(JOB, 1) + 1;
    if (atomic.load<i32>(SLEEPERS)) atomic.notify(JOB, -1);
  }
  begin(0, threads, job, own);
  return execute(at, end, rows);
}

/** Another thread joins, and gets its number. From now on jobs count on it. */
export function join(): i32 {
  if (ASC_FEATURE_THREADS) {
    job = atomic.load<u32>(JOB);
    thread = atomic.add<i32>(JOINED, 1) + 1;
  }
  return thread;
}

/** Takes part in job after job, until all threads are to end or one of them is lost. */
export function work(): void {
  if (!ASC_FEATURE_THREADS) return;
  for (;;) {
    awaitJob();
    if (atomic.load<i32>(QUIT)) return;
    let at: usize, end: usize, rows: i32, threads: i32, own: usize;
    do { // while a late thread reads a job, the next one may be written over it
      job = atomic.load<u32>(JOB);
      at = load<usize>(AT);
      end = load<usize>(END);
      rows = load<i32>(ROWS);
      threads = load<i32>(THREADS);
      own = load<usize>(OWN) + load<usize>(OWN_BYTES) * thread;
    } while (atomic.load<u32>(JOB) != job);
    if (thread >= threads) continue;
    begin(thread, threads, job, own);
    if (execute(at, end, rows) == LOST) return;
  }
}

/** Waits until there is a new job. Between two tokens it comes soon, so the thread looks for it for a while before it sleeps. */
function awaitJob(): void {
  for (let i = 0; i < 20 * SPINS; i++) if (atomic.load<u32>(JOB) != job) return;
  atomic.add<i32>(SLEEPERS, 1);
  while (atomic.load<u32>(JOB) == job && !atomic.load<i32>(QUIT)) atomic.wait<i32>(JOB, job, -1);
  atomic.sub<i32>(SLEEPERS, 1);
}
