// Every thread runs the whole table of instructions, each on its share, and waits behind each instruction for the others.
// An instance is a thread: its globals are its own. Built without threads, all of it is one thread's share.
import {
  ARRIVED, AT, CREW, END, FAILED, FAILED_INDEX, GENERATION, JOB, MAY_SLEEP, OWN, OWN_BYTES, PATIENCE, QUIT, ROWS, SLEEPERS,
  THREADS,
} from '../src/backends/wasm/sync';
import { execute } from './execute';

let thread = 0, threads = 1, scratch: usize = 0;

/** Of `count` things, the first that is this thread's, and the first after its last. */
@inline export function first(count: i32): i32 { return ASC_FEATURE_THREADS ? count * thread / threads : 0; }
@inline export function last(count: i32): i32 { return ASC_FEATURE_THREADS ? count * (thread + 1) / threads : count; }
/** This thread's own scratch. */
@inline export function own(): usize { return scratch; }

/** Spinning for less than a time slice makes two threads put each other to sleep in turn (measured: slower than one). */
const SPINS = 2_000_000;

/** Waits until the word at `at` is no more `seen`. False when patience is at its end, or everybody is to go home. */
function changes(at: usize, seen: i32, patience: i32): bool {
  for (let seconds = 0; !patience || seconds < patience; seconds++) {
    if (thread > 0 || load<i32>(MAY_SLEEP)) {
      if (spin(at, seen)) return true;
      if (atomic.load<i32>(QUIT)) break;
      atomic.add<i32>(SLEEPERS, 1);
      atomic.wait<i32>(at, seen, 1_000_000_000);
      atomic.sub<i32>(SLEEPERS, 1);
    } else
      for (let i = 0; i < 1000; i++) { // about a second
        if (spin(at, seen)) return true;
        if (atomic.load<i32>(QUIT)) break;
      }
    if (atomic.load<i32>(QUIT)) break;
  }
  return atomic.load<i32>(at) != seen;
}

function spin(at: usize, seen: i32): bool {
  for (let i = 0; i < SPINS; i++) if (atomic.load<i32>(at) != seen) return true;
  return false;
}

function announce(at: usize): void {
  atomic.add<i32>(at, 1);
  if (atomic.load<i32>(SLEEPERS)) atomic.notify(at, -1);
}

/** The barrier. False when somebody did not come. */
export function meet(): bool {
  if (!ASC_FEATURE_THREADS || threads == 1) return true;
  const generation = atomic.load<i32>(GENERATION);
  if (atomic.add<i32>(ARRIVED, 1) < threads - 1) return changes(GENERATION, generation, load<i32>(PATIENCE));
  atomic.store<i32>(ARRIVED, 0);
  announce(GENERATION);
  return true;
}

/** An instruction met a NaN. The first index of all threads stays. */
export function fail(at: usize, index: i32): void {
  if (!ASC_FEATURE_THREADS) {
    store<usize>(FAILED, at);
    store<i32>(FAILED_INDEX, min(index, load<i32>(FAILED_INDEX)));
    return;
  }
  atomic.store<usize>(FAILED, at);
  for (let known = atomic.load<i32>(FAILED_INDEX); index < known; known = atomic.load<i32>(FAILED_INDEX))
    if (atomic.cmpxchg<i32>(FAILED_INDEX, known, index) == known) return;
}

/** The first thread's call: runs a job with `crew` threads. Returns what `execute` does. */
export function run(at: usize, end: usize, rows: i32, crew: i32, own: usize, ownBytes: usize): usize {
  scratch = own;
  threads = crew;
  store<usize>(FAILED, 0);
  store<i32>(FAILED_INDEX, i32.MAX_VALUE);
  if (ASC_FEATURE_THREADS && crew > 1) {
    store<usize>(AT, at);
    store<usize>(END, end);
    store<i32>(ROWS, rows);
    store<i32>(THREADS, crew);
    store<usize>(OWN, own);
    store<usize>(OWN_BYTES, ownBytes);
    announce(JOB);
  }
  return execute(at, end, rows);
}

let seen = 0;

/** Another thread comes, and gets its number. From now on jobs count on it. */
export function arrive(): i32 {
  if (ASC_FEATURE_THREADS) {
    seen = atomic.load<i32>(JOB);
    thread = atomic.add<i32>(CREW, 1) + 1;
  }
  return thread;
}

/** Takes part in job after job, until everybody is to go home or somebody is lost. */
export function serve(): void {
  if (!ASC_FEATURE_THREADS) return;
  while (changes(JOB, seen, 0)) {
    let at: usize, end: usize, rows: i32;
    do { // a job that this thread has no part in may give way to the next meanwhile
      seen = atomic.load<i32>(JOB);
      at = load<usize>(AT);
      end = load<usize>(END);
      rows = load<i32>(ROWS);
      threads = load<i32>(THREADS);
      scratch = load<usize>(OWN) + load<usize>(OWN_BYTES) * thread;
    } while (atomic.load<i32>(JOB) != seen);
    if (atomic.load<i32>(QUIT)) return;
    if (thread < threads && execute(at, end, rows) == 1) return;
  }
}
