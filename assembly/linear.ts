// The reference's bits: the four lanes of a dot product are the four lanes of a vector, each adds its products in
// ascending k without FMA, and sumLanes adds the lanes in the reference's order. Padded k add ±0, which changes no lane:
// a sum that starts at +0 is never −0.
//
// Weights: tiles of 4 rows, [o/4][i/4][4 rows][4 k], one stream that is read front to back. Rows of x go in pairs,
// [rows/2][i/4][2][4], so that a load of weights serves two of them; the last row of an odd number goes alone.
import { Linear, Pack } from '../src/backends/wasm/instruction-formats';
import { add, lastLanes, mul, rowBytes, splat, sumLanes, zero } from './numerics';
import { endOf, firstOf } from './share';

/** x f32[rows, i] → packed, with zeros in the padding. */
export function pack(at: usize, rows: i32): void {
  const op = changetype<Pack>(at), x = op.x, packed = op.packed, row = rowBytes(op.i), tail = lastLanes(op.i);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++)
    if (t == rows - 1 && rows & 1) copyRow(x + row * t, packed + row * t, row, 16, tail);
    else copyRow(x + row * t, packed + row * (t & ~1) + ((t & 1) << 4), row, 32, tail);
}

/** A row with zeros in its padding, in steps of `step` bytes. `tail`: the lanes of its last vector that hold values. */
function copyRow(x: usize, to: usize, row: usize, step: usize, tail: v128): void {
  const end = x + row - 16;
  for (; x < end; x += 16, to += step) v128.store(to, v128.load(x));
  v128.store(to, v128.and(v128.load(x), tail));
}

export function linear(at: usize, rows: i32): void {
  const op = changetype<Linear>(at), packed = op.packed, b = op.b, y = op.y;
  const row = rowBytes(op.i), out = rowBytes(op.o), tiles = (op.o + 3) >> 2;
  const from = <usize>firstOf(tiles) << 4, to = <usize>endOf(tiles) << 4, pairs = rows >> 1;
  let w = op.w + (row << 2) * (from >> 4);
  for (let n = from; n < to; n += 16, w += row << 2) {
    const bias = b ? v128.load(b + n) : zero();
    for (let p = 0; p < pairs; p++) dot2x4(packed + (row << 1) * p, w, row, y + n + (out << 1) * p, out, b != 0, bias);
    if (rows & 1) {
      const sum = dot1x4(packed + (row << 1) * pairs, w, row);
      v128.store(y + n + (out << 1) * pairs, b ? add(sum, bias) : sum);
    }
  }
}

/** Two rows of x, four of w. */
function dot2x4(x: usize, w: usize, row: usize, y: usize, out: usize, biased: bool, bias: v128): void {
  let a0 = splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const end = x + (row << 1);
  for (; x < end; x += 32, w += 64) {
    const p = v128.load(x), q = v128.load(x, 16);
    let r = v128.load(w);
    a0 = add(a0, mul(p, r)); b0 = add(b0, mul(q, r));
    r = v128.load(w, 16);
    a1 = add(a1, mul(p, r)); b1 = add(b1, mul(q, r));
    r = v128.load(w, 32);
    a2 = add(a2, mul(p, r)); b2 = add(b2, mul(q, r));
    r = v128.load(w, 48);
    a3 = add(a3, mul(p, r)); b3 = add(b3, mul(q, r));
  }
  const s = sumLanes(a0, a1, a2, a3), t = sumLanes(b0, b1, b2, b3);
  v128.store(y, biased ? add(s, bias) : s);
  v128.store(y + out, biased ? add(t, bias) : t);
}

/** One row of x, four of w. */
function dot1x4(x: usize, w: usize, row: usize): v128 {
  let a0 = splat(0), a1 = a0, a2 = a0, a3 = a0;
  for (const end = x + row; x < end; x += 16, w += 64) {
    const p = v128.load(x);
    a0 = add(a0, mul(p, v128.load(w)));
    a1 = add(a1, mul(p, v128.load(w, 16)));
    a2 = add(a2, mul(p, v128.load(w, 32)));
    a3 = add(a3, mul(p, v128.load(w, 48)));
  }
  return sumLanes(a0, a1, a2, a3);
}
