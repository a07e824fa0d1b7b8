// Reads memory and does nothing else: how fast weights could come at best.
import { zero } from './numerics';
import { first, last, own } from './threads';

/** In rounds of 64 kB, a function of its own: V8 would leave one long loop slow. */
export function read(at: usize, lines: i32): void {
  let from = at + (<usize>first(lines) << 6);
  for (const end = at + (<usize>last(lines) << 6); from < end; from += 65536) readSome(from, min(from + 65536, end));
}

function readSome(from: usize, end: usize): void {
  let a = zero(), b = a, c = a, d = a;
  for (; from < end; from += 64) {
    a = v128.or(a, v128.load(from)); b = v128.or(b, v128.load(from, 16));
    c = v128.or(c, v128.load(from, 32)); d = v128.or(d, v128.load(from, 48));
  }
  v128.store(own(), v128.or(v128.or(a, b), v128.or(c, d)));
}
