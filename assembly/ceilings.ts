// What the machine could do at best: read memory and do nothing else, multiply in registers and do nothing else.
// Both go in rounds, each a call of its own: V8 would leave one long loop in its first, slow code.
import { Multiply, Read } from '../src/backends/wasm/instruction-formats';
import { zero } from './numerics';
import { endOf, firstOf, own } from './share';
import { product } from './tiles-i8';

export function read(at: usize, _rows: i32): void {
  const op = changetype<Read>(at), lines = op.lines;
  let from = op.from + (<usize>firstOf(lines) << 6);
  for (const end = op.from + (<usize>endOf(lines) << 6); from < end; from += 65536) readRound(from, min(from + 65536, end));
}

function readRound(from: usize, end: usize): void {
  let a = zero(), b = a, c = a, d = a;
  for (; from < end; from += 64) {
    a = v128.or(a, v128.load(from)); b = v128.or(b, v128.load(from, 16));
    c = v128.or(c, v128.load(from, 32)); d = v128.or(d, v128.load(from, 48));
  }
  v128.store(own(), v128.or(v128.or(a, b), v128.or(c, d)));
}

/** Every thread: `rounds` times 8 · STEPS products of vectors, each added to a sum. */
export function multiply(at: usize, _rows: i32): void {
  for (let i = 0, rounds = changetype<Multiply>(at).rounds; i < rounds; i++) multiplyRound(own());
}

const STEPS = 1000;

function multiplyRound(at: usize): void {
  let p = v128.load(at), q = v128.load(at, 16), a = zero(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
  const x = v128.load(at, 32), y = v128.load(at, 48), z = v128.load(at, 64), w = v128.load(at, 80);
  for (let i = 0; i < STEPS; i++) {
    a = product(a, p, x); b = product(b, q, x); c = product(c, p, y); d = product(d, q, y);
    e = product(e, p, z); f = product(f, q, z); g = product(g, p, w); h = product(h, q, w);
    p = i32x4.add(p, x); // without this a compiler would see that all rounds are the same
    q = i32x4.add(q, y);
  }
  v128.store(at, v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(v128.xor(e, f), v128.xor(g, h))));
}
