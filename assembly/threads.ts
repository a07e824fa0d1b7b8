// Threads share each instruction in as many parts as there are threads, and whoever is free takes the next part. So a thread
// that the machine does not run for a while holds nobody up, unless it has taken a part: the others do its work.
//
// An instance is a thread: its globals are its own. Built without threads, an instruction is one part.
//
// Each instruction has two counters, i64: the job in the upper half, and in the lower one how many parts are taken (CLAIMED)
// or done (DONE). A counter of an older job counts as none; one of a newer job tells a late thread that its job is over.
import { CLAIMED, DONE } from '../src/backends/wasm/opcodes';
import {
  AT, BELL, CREW, END, FAILED, FAILED_INDEX, JOB, MAY_SLEEP, OWN, OWN_BYTES, PATIENCE, QUIT, ROWS, SLEEPERS, THREADS,
} from '../src/backends/wasm/sync';
import { execute } from './execute';

let thread = 0, threads = 1, job: u32 = 0, scratch: usize = 0;
/** The part of an instruction that is being done, and of how many. */
let part = 0, parts = 1;

/** Of `count` things, the first that belongs to this part, and the first after its last. */
@inline export function first(count: i32): i32 { return ASC_FEATURE_THREADS ? count * part / parts : 0; }
@inline export function last(count: i32): i32 { return ASC_FEATURE_THREADS ? count * (part + 1) / parts : count; }
/** This thread's own scratch. */
@inline export function own(): usize { return scratch; }
/** How many threads share the job. */
@inline export function crew(): i32 { return threads; }
@inline export function alone(): bool { return !ASC_FEATURE_THREADS || threads == 1; }

@inline function counter(count: u32): u64 { return (<u64>job << 32) | count; }

/** Takes a part of the instruction at `at`, which has `all`. False where none is left, or the job is over. */
export function take(at: usize, all: i32): bool {
  let seen = atomic.load<u64>(at + CLAIMED), taken = max(seen, counter(0));
  while (taken < counter(all)) {
    const found = atomic.cmpxchg<u64>(at + CLAIMED, seen, taken + 1);
    if (found == seen) {
      part = <i32>(taken - counter(0));
      parts = all;
      return true;
    }
    seen = found;
    taken = max(seen, counter(0));
  }
  return false;
}

/** What follows is not shared: it is one part. */
export function whole(): void {
  part = 0;
  parts = 1;
}

/** The part that was taken is done. Returns whether it was the last one of `all`. */
export function finish(at: usize, all: i32): bool {
  let seen = atomic.load<u64>(at + DONE), done: u64 = 0, found: u64 = 0;
  for (; ; seen = found) {
    done = max(seen, counter(0)) + 1;
    found = atomic.cmpxchg<u64>(at + DONE, seen, done);
    if (found == seen) break;
  }
  if (done < counter(all)) return false;
  if (atomic.load<i32>(SLEEPERS)) {
    atomic.add<i32>(BELL, 1);
    atomic.notify(BELL, -1);
  }
  return true;
}

/** About a tenth of a millisecond: shorter, and two threads put each other to sleep in turn (measured: slower than one). */
const SPINS = 50_000;

@inline function isDone(at: usize, all: i32): bool { return atomic.load<u64>(at + DONE) >= counter(all); }

/** Waits until all parts of the instruction are done, or the job is over. False when somebody is lost. */
export function settle(at: usize, all: i32): bool {
  for (let seconds: f64 = 0, patience = <f64>load<i32>(PATIENCE); seconds < patience; ) {
    for (let i = 0; i < SPINS; i++) if (isDone(at, all)) return true;
    if (atomic.load<i32>(QUIT)) break;
    if (thread == 0 && !load<i32>(MAY_SLEEP)) {
      seconds += 0.0001;
      continue;
    }
    atomic.add<i32>(SLEEPERS, 1);
    const bell = atomic.load<i32>(BELL);
    if (!isDone(at, all) && atomic.wait<i32>(BELL, bell, 1_000_000_000) == 2) seconds++; // it timed out
    atomic.sub<i32>(SLEEPERS, 1);
  }
  return isDone(at, all);
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
  part = 0;
  parts = 1;
  store<usize>(FAILED, 0);
  store<i32>(FAILED_INDEX, i32.MAX_VALUE);
  if (ASC_FEATURE_THREADS && crew > 1) {
    store<usize>(AT, at);
    store<usize>(END, end);
    store<i32>(ROWS, rows);
    store<i32>(THREADS, crew);
    store<usize>(OWN, own);
    store<usize>(OWN_BYTES, ownBytes);
    job = atomic.add<u32>(JOB, 1) + 1;
    if (atomic.load<i32>(SLEEPERS)) atomic.notify(JOB, -1);
  }
  return execute(at, end, rows);
}

/** Another thread comes, and gets its number. From now on jobs count on it. */
export function arrive(): i32 {
  if (ASC_FEATURE_THREADS) {
    job = atomic.load<u32>(JOB);
    thread = atomic.add<i32>(CREW, 1) + 1;
  }
  return thread;
}

/** Takes part in job after job, until everybody is to go home or somebody is lost. */
export function serve(): void {
  if (!ASC_FEATURE_THREADS) return;
  for (;;) {
    rest();
    if (atomic.load<i32>(QUIT)) return;
    let at: usize, end: usize, rows: i32;
    do { // a late thread may find the job that it read give way to the next meanwhile
      job = atomic.load<u32>(JOB);
      at = load<usize>(AT);
      end = load<usize>(END);
      rows = load<i32>(ROWS);
      threads = load<i32>(THREADS);
      scratch = load<usize>(OWN) + load<usize>(OWN_BYTES) * thread;
    } while (atomic.load<u32>(JOB) != job);
    if (thread < threads && execute(at, end, rows) == 1) return;
  }
}

/** Until there is a new job. Between tokens it comes soon, so that it is awaited awake for a while. */
function rest(): void {
  for (let i = 0; i < 20 * SPINS; i++) if (atomic.load<u32>(JOB) != job) return;
  atomic.add<i32>(SLEEPERS, 1);
  while (atomic.load<u32>(JOB) == job && !atomic.load<i32>(QUIT)) atomic.wait<i32>(JOB, job, -1);
  atomic.sub<i32>(SLEEPERS, 1);
}
