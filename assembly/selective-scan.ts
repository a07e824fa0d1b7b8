// The reference's bits: the four lanes of the sum over n are the four lanes of a vector, each adds its terms in ascending
// n, and sumLanes adds the lanes in the reference's order. Padded states add +0, which changes no lane.
//
// a = A · log2 e and h: [channels][n], rows padded to whole vectors. Four channels go together, so that their sums are
// one vector of y.
import * as v from './numerics';
import { add, coefficient, lastLanes, magic, mul, rowBytes, splat, sub, sumLanes } from './numerics';

const SUMS = memory.data(64, 16);
const INPUT = memory.data(16, 16);

/** D and z may be 0: none. */
export function selectiveScan(
  rows: i32, u: usize, dt: usize, a: usize, B: usize, C: usize, D: usize, z: usize, h: usize, y: usize, d: i32, n: i32,
): void {
  const row = rowBytes(d), states = rowBytes(n), last = lastLanes(n);
  for (let t = 0; t < rows; t++, B += states, C += states) {
    if (z) for (let c: usize = 0; c < row; c += 16) v128.store(y + c, v.silu(v128.load(z + c)));
    for (let c: usize = 0; c < row; c += 16) {
      const input = v128.load(u + c), at = (c >> 2) * states;
      v128.store(INPUT, mul(v128.load(dt + c), input));
      if (n == 16) scan16(dt + c, a + at, h + at, B, C);
      else scan(dt + c, a + at, h + at, B, C, states, last);
      let sum = sumLanes(v128.load(SUMS), v128.load(SUMS, 16), v128.load(SUMS, 32), v128.load(SUMS, 48));
      if (D) sum = add(sum, mul(v128.load(D + c), input));
      v128.store(y + c, z ? mul(sum, v128.load(y + c)) : sum);
    }
    u += row; dt += row; y += row;
    if (z) z += row;
  }
}

/** Four channels, any n. */
function scan(dt: usize, a: usize, h: usize, B: usize, C: usize, states: usize, last: v128): void {
  for (let i: usize = 0; i < 4; i++) {
    const step = v128.load32_splat(dt + (i << 2)), u = v128.load32_splat(INPUT + (i << 2));
    let sum = splat(0);
    for (let s: usize = 0; s < states; s += 16, a += 16, h += 16) {
      const next = add(mul(v.exp2(mul(step, v128.load(a))), v128.load(h)), mul(u, v128.load(B + s)));
      v128.store(h, next);
      const term = mul(next, v128.load(C + s));
      sum = add(sum, s == states - 16 ? v128.and(term, last) : term);
    }
    v128.store(SUMS + (i << 4), sum);
  }
}

/** dt·a of which 2 to the power is no denormal and no infinity: here a sum of exponents is the product by 2ⁿ. */
const ORDINARY = 0x42fa0000; // the bits of 125

/** Four channels, n = 16: four chains of exp2 side by side, because V8 does not interleave them (measured: 2 ×). */
function scan16(dt: usize, a: usize, h: usize, B: usize, C: usize): void {
  for (let i: usize = 0; i < 4; i++, a += 64, h += 64) {
    const step = v128.load32_splat(dt + (i << 2)), u = v128.load32_splat(INPUT + (i << 2));
    const x0 = mul(step, v128.load(a)), x1 = mul(step, v128.load(a, 16));
    const x2 = mul(step, v128.load(a, 32)), x3 = mul(step, v128.load(a, 48));
    const largest = i32x4.max_u(
      i32x4.max_u(f32x4.abs(x0), f32x4.abs(x1)), i32x4.max_u(f32x4.abs(x2), f32x4.abs(x3)), // NaN is above all numbers
    );
    let p0 = coefficient(0), p1 = p0, p2 = p0, p3 = p0;
    if (v128.any_true(i32x4.gt_s(largest, i32x4.splat(ORDINARY)))) {
      p0 = v.exp2(x0);
      p1 = v.exp2(x1);
      p2 = v.exp2(x2);
      p3 = v.exp2(x3);
    } else {
      const shift = magic();
      const m0 = add(x0, shift), m1 = add(x1, shift), m2 = add(x2, shift), m3 = add(x3, shift);
      const r0 = sub(x0, sub(m0, shift)), r1 = sub(x1, sub(m1, shift));
      const r2 = sub(x2, sub(m2, shift)), r3 = sub(x3, sub(m3, shift));
      let k = coefficient(1);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      k = coefficient(2);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      k = coefficient(3);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      k = coefficient(4);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      k = coefficient(5);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      k = coefficient(6);
      p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
      p0 = i32x4.add(p0, i32x4.shl(m0, 23));
      p1 = i32x4.add(p1, i32x4.shl(m1, 23));
      p2 = i32x4.add(p2, i32x4.shl(m2, 23));
      p3 = i32x4.add(p3, i32x4.shl(m3, 23));
    }
    p0 = add(mul(p0, v128.load(h)), mul(u, v128.load(B)));
    p1 = add(mul(p1, v128.load(h, 16)), mul(u, v128.load(B, 16)));
    p2 = add(mul(p2, v128.load(h, 32)), mul(u, v128.load(B, 32)));
    p3 = add(mul(p3, v128.load(h, 48)), mul(u, v128.load(B, 48)));
    v128.store(h, p0); v128.store(h, p1, 16); v128.store(h, p2, 32); v128.store(h, p3, 48);
    let sum = add(splat(0), mul(p0, v128.load(C)));
    sum = add(sum, mul(p1, v128.load(C, 16)));
    sum = add(sum, mul(p2, v128.load(C, 32)));
    sum = add(sum, mul(p3, v128.load(C, 48)));
    v128.store(SUMS + (i << 4), sum);
  }
}
