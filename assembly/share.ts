// How threads share an instruction: in as many parts as there are threads, and whoever is free takes the next part. So a
// thread that the machine stops for a while delays the others only by the part that it has taken.
//
// Each thread has an instance of this module: its globals are its own. Built without threads, an instruction is one part.
//
// Each instruction has two counters, TAKEN and DONE, i64: the number of the job in the upper half, and in the lower half how
// many parts are taken or done. A counter of an older job counts as 0. A counter of a newer job tells a late thread that its
// own job is over.
import { DONE, TAKEN } from '../src/backends/wasm/instruction-formats';
import { FAILED, FAILED_INDEX, MAY_SLEEP, QUIT, SLEEPERS, TIMEOUT, WAKE } from '../src/backends/wasm/sync';

let thread = 0, threads = 1, job: u32 = 0, scratch: usize = 0;
/** The part of an instruction that is being done, and of how many. */
let part = 0, parts = 1;

/** Of `count` things, the first that belongs to this part, and the end: one more than the last. */
@inline export function firstOf(count: i32): i32 { return ASC_FEATURE_THREADS ? count * part / parts : 0; }
@inline export function endOf(count: i32): i32 { return ASC_FEATURE_THREADS ? count * (part + 1) / parts : count; }
/** This thread's own scratch. */
@inline export function own(): usize { return scratch; }

/** This thread takes part in a job: its number, of how many threads, in which job, with which scratch. */
export function begin(number: i32, count: i32, jobNumber: u32, ownScratch: usize): void {
  thread = number;
  threads = count;
  job = jobNumber;
  scratch = ownScratch;
  takeAll();
}
@inline export function threadCount(): i32 { return threads; }
@inline export function isAlone(): bool { return !ASC_FEATURE_THREADS || threads == 1; }

@inline function counter(count: u32): u64 { return (<u64>job << 32) | count; }

/** Takes a part of the instruction at `at`, which has `count`. False where none is left, or the job is over. */
export function take(at: usize, count: i32): bool {
  let seen = atomic.load<u64>(at + TAKEN), taken = max(seen, counter(0));
  while (taken < counter(count)) {
    const found = atomic.cmpxchg<u64>(at + TAKEN, seen, taken + 1);
    if (found == seen) {
      part = <i32>(taken - counter(0));
      parts = count;
      return true;
    }
    seen = found;
    taken = max(seen, counter(0));
  }
  return false;
}

/** From now on this thread does the whole of what it does: one part of one. */
export function takeAll(): void {
  part = 0;
  parts = 1;
}

/** The part that was taken is done. Returns whether it was the last of `count` to be done. */
export function finish(at: usize, count: i32): bool {
  let seen = atomic.load<u64>(at + DONE), done: u64 = 0, found: u64 = 0;
  for (; ; seen = found) {
    done = max(seen, counter(0)) + 1;
    found = atomic.cmpxchg<u64>(at + DONE, seen, done);
    if (found == seen) break;
  }
  if (done < counter(count)) return false;
  if (atomic.load<i32>(SLEEPERS)) {
    atomic.add<i32>(WAKE, 1);
    atomic.notify(WAKE, -1);
  }
  return true;
}

/** About a tenth of a millisecond: shorter, and two threads put each other to sleep in turn (measured: slower than one). */
export const SPINS = 50_000;

@inline function isDone(at: usize, count: i32): bool { return atomic.load<u64>(at + DONE) >= counter(count); }

/** Waits until all parts of the instruction are done, or the job is over. False when a thread is lost. */
export function barrier(at: usize, count: i32): bool {
  for (let seconds: f64 = 0, timeout = <f64>load<i32>(TIMEOUT); seconds < timeout; ) {
    for (let i = 0; i < SPINS; i++) if (isDone(at, count)) return true;
    if (atomic.load<i32>(QUIT)) break;
    if (thread == 0 && !load<i32>(MAY_SLEEP)) {
      seconds += 0.0001;
      continue;
    }
    atomic.add<i32>(SLEEPERS, 1);
    const wake = atomic.load<i32>(WAKE);
    if (!isDone(at, count) && atomic.wait<i32>(WAKE, wake, 1_000_000_000) == 2) seconds++; // it timed out
    atomic.sub<i32>(SLEEPERS, 1);
  }
  return isDone(at, count);
}

/** The instruction at `at` met a NaN. The first index of all threads stays. */
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
