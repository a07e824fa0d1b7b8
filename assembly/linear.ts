// The reference's bits: the four lanes of a dot product are the four lanes of a vector, each adds its products in
// ascending k without FMA, and sumLanes adds the lanes in the reference's order. Padded k add ±0, which changes no lane:
// a sum that starts at +0 is never −0.
//
// Weights: tiles of 4 rows, [o/4][i/4][4 rows][4 k], one stream that is read front to back. Rows of x go in pairs,
// [rows/2][i/4][2][4], so that a load of weights serves two of them.
import { add, lastLanes, mul, rowBytes, splat, sumLanes, zero } from './numerics';

/** b may be 0: none. scratch: the rows of x, padded. */
export function linear(rows: i32, x: usize, w: usize, b: usize, y: usize, scratch: usize, i: i32, o: i32): void {
  const row = rowBytes(i), pairs = rows >> 1;
  for (let p = 0; p < pairs; p++) {
    copyRow(x + (row << 1) * p, scratch + (row << 1) * p, row, 32, lastLanes(i));
    copyRow(x + (row << 1) * p + row, scratch + (row << 1) * p + 16, row, 32, lastLanes(i));
  }
  if (pairs) linearPairs(scratch, w, b, y, pairs, row, o);
  if (rows & 1) {
    x += row * (rows - 1);
    y += rowBytes(o) * (rows - 1);
    if (i & 3) {
      copyRow(x, scratch, row, 16, lastLanes(i));
      x = scratch;
    }
    linearOne(x, w, b, y, row, o);
  }
}

/** A row with zeros in its padding, in steps of `step` bytes. */
function copyRow(x: usize, to: usize, row: usize, step: usize, last: v128): void {
  const end = x + row - 16;
  for (; x < end; x += 16, to += step) v128.store(to, v128.load(x));
  v128.store(to, v128.and(v128.load(x), last));
}

function linearPairs(x: usize, w: usize, b: usize, y: usize, pairs: i32, row: usize, o: i32): void {
  const out = rowBytes(o);
  for (let n: usize = 0; n < out; n += 16, w += row << 2) {
    const bias = b ? v128.load(b + n) : zero();
    for (let p = 0; p < pairs; p++) tile(x + (row << 1) * p, w, row, y + n + (out << 1) * p, out, b != 0, bias);
  }
}

/** Two rows of x, four of w. */
function tile(x: usize, w: usize, row: usize, y: usize, out: usize, biased: bool, bias: v128): void {
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

function linearOne(x: usize, w: usize, b: usize, y: usize, row: usize, o: i32): void {
  const out = rowBytes(o);
  for (let n: usize = 0; n < out; n += 16, w += row << 2) {
    const s = dotTile(x, w, row);
    v128.store(y + n, b ? add(s, v128.load(b + n)) : s);
  }
}

/** One row of x, four of w. */
function dotTile(x: usize, w: usize, row: usize): v128 {
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
