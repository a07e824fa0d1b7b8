/**
 * Multiplies each row of int8 values by an int8 weight matrix and gives the result its real size.
 *
 *   y = (s_x · s_w) · (x Wᵀ) + b
 *
 *   per tensor   wscale f32[1, 1]   one scale for the matrix (the paper's)
 *   per row      wscale f32[o, 1]   one for each output
 *   per group    wscale f32[o, g]   one for each output and each run of i/g inputs
 *
 * Shapes   x i8[l, i], xscale f32[1] (static) or f32[l] (per token), w i8[o, i], b f32[o] or absent → y f32[l, o]
 * Numerics the int32 sums are exact in any order (|q| ≤ 128, so i ≤ 131071 cannot overflow). A group is i/g inputs in a
 *          row, and for each fround(fround(acc) · m) with m = fround(s_x · s_w). The sum is that of the first group, the
 *          others are added in ascending order, then b. int32 → f32 rounds half to even. Exact
 * Errors   C1 … C5
 * Example  linearI8({ x: [100, -50], xscale: [0.01], w: [[127, -128]], wscale: [[0.02]] }).y = [3.82]
 * Source   Quamba (W8A8, per tensor) · torch.nn.functional.linear on integers
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

/** Σ x[a + k] · w[b + k] over 0 ≤ k < size, exact. */
function dot(x: Int8Array, a: number, w: Int8Array, b: number, size: number): number {
  let acc = 0;
  for (let k = 0; k < size; k++) acc = (acc + x[a + k] * w[b + k]) | 0;
  return acc;
}

export const linearI8 = defineOp({
  name: 'linear-i8',
  formula: 'y = (s_x · s_w) · (x Wᵀ) + b',
  inputs: { x: 'i8[l, i]', xscale: 'f32[s]', w: 'i8[o, i]', wscale: 'f32[p, g]', b: 'f32[o]?' },
  outputs: { y: 'f32[l, o]' },
  constraints: {
    C1: ['xscale must have one value or one for each token', ({ s, l }) => s === 1 || s === l],
    C2: ['wscale must have one row or one for each output', ({ p, o }) => p === 1 || p === o],
    C3: ['the groups g must divide i', ({ g, i }) => i % g === 0],
    C4: ['more than one group needs one row of scales for each output', ({ g, p, o }) => g === 1 || p === o],
    C5: ['i must be at most 131071, so that the int32 sum cannot overflow', ({ i }) => i <= 131071],
  },
  reference: ({ x, xscale, w, wscale, b }, _, { y }, { l, i, o, s, p, g }) => {
    const run = i / g;
    for (let t = 0; t < l; t++)
      for (let row = 0; row < o; row++) {
        const sx = xscale.data[s === 1 ? 0 : t];
        let sum = 0;
        for (let group = 0; group < g; group++) {
          const acc = dot(x.data, t * i + group * run, w.data, row * i + group * run, run);
          const part = f(f(acc) * f(sx * wscale.data[(p === 1 ? 0 : row) * g + group]));
          sum = group === 0 ? part : f(sum + part);
        }
        y.data[t * o + row] = b ? f(sum + b.data[row]) : sum;
      }
  },
  sweep: { l: [1, 2, 5], i: [1, 3, 16, 24, 384, 5120], o: [1, 7, 16, 17] },
});
