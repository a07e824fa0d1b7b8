/**
 * Multiplies each row by a weight matrix.
 *
 *   y = x Wᵀ + b
 *
 * Shapes   x f32[l, i], w f32[o, i], b f32[o] or absent → y f32[l, o]
 * Numerics the dot product runs in 4 lanes that start at +0: lane j adds the products k ≡ j (mod 4) in ascending k, each
 *          product and each sum rounded once (missing ones are not added), then (lane 0 + lane 2) + (lane 1 + lane 3),
 *          then b. No FMA. Exact by this order
 * Errors   none beyond the signature
 * Example  linear({ x: [1, 2], w: [[1, 0], [0, 1], [1, 1]], b: [0, 0, 10] }).y = [1, 2, 13]
 * Source   torch.nn.functional.linear
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

/** Σ x[a + k] · w[b + k] over 0 ≤ k < size, in 4 lanes. */
function dot(x: Float32Array, a: number, w: Float32Array, b: number, size: number): number {
  let lane0 = 0;
  let lane1 = 0;
  let lane2 = 0;
  let lane3 = 0;
  let k = 0;
  for (; k + 3 < size; k += 4) {
    lane0 = f(lane0 + f(x[a + k] * w[b + k]));
    lane1 = f(lane1 + f(x[a + k + 1] * w[b + k + 1]));
    lane2 = f(lane2 + f(x[a + k + 2] * w[b + k + 2]));
    lane3 = f(lane3 + f(x[a + k + 3] * w[b + k + 3]));
  }
  if (k < size) lane0 = f(lane0 + f(x[a + k] * w[b + k]));
  if (k + 1 < size) lane1 = f(lane1 + f(x[a + k + 1] * w[b + k + 1]));
  if (k + 2 < size) lane2 = f(lane2 + f(x[a + k + 2] * w[b + k + 2]));
  return f(f(lane0 + lane2) + f(lane1 + lane3));
}

export const linear = defineOp({
  name: 'linear',
  formula: 'y = x Wᵀ + b',
  inputs: { x: 'f32[l, i]', w: 'f32[o, i]', b: 'f32[o]?' },
  outputs: { y: 'f32[l, o]' },
  reference: ({ x, w, b }, _, { y }, { l, i, o }) => {
    for (let t = 0; t < l; t++)
      for (let row = 0; row < o; row++) {
        const sum = dot(x.data, t * i, w.data, row * i, i);
        y.data[t * o + row] = b ? f(sum + b.data[row]) : sum;
      }
  },
  sweep: { l: [1, 2, 5], i: [1, 3, 4, 5, 24, 384], o: [1, 7, 16, 17] },
});
