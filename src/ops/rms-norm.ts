/**
 * Divides each row by its root mean square, then scales each channel.
 *
 *   y = (x · r) · w,   r = 1 / √(mean(x²) + eps)
 *
 * Shapes   x f32[l, m], w f32[m] or absent (Falcon-Mamba's norms on dt, B, C have no weight) → y f32[l, m]
 * Numerics the sum of squares runs in 32 lanes that start at +0, also where m < 32: lane j adds the squares k ≡ j (mod 32)
 *          in ascending k, then a binary tree (j with j + 16, then j + 8, … j + 1) adds the lanes. Every square and sum is
 *          rounded once, and so is each step after:
 *            mean = fround(sum / m)
 *            r    = fround(1 / fround(√ fround(mean + fround(eps))))
 *            y    = fround(fround(x · r) · w), or fround(x · r) without w
 *          Exact by this order
 * Errors   C1 eps is positive, so that a row of zeros gives zeros
 * Example  rmsNorm({ x: [3, 4], w: [1, 2] }).y = [0.848528, 2.26274]
 * Source   Zhang & Sennrich 2019 eq. 4 · state-spaces/mamba › RMSNorm
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

const LANES = 32;

/** Σ x[k]² over k = begin … end − 1, in lanes. */
function sumOfSquares(x: Float32Array, begin: number, end: number): number {
  const lanes = new Float32Array(LANES);
  for (let k = begin; k < end; k++) {
    const j = (k - begin) % LANES;
    lanes[j] = f(lanes[j] + f(x[k] * x[k]));
  }
  for (let half = LANES / 2; half >= 1; half /= 2)
    for (let j = 0; j < half; j++) lanes[j] = f(lanes[j] + lanes[j + half]);
  return lanes[0];
}

/** y = (x · r) · w for the channels `from` … `from + size − 1` of a row, whose first channel is at `row` in x and y. */
export function normalize(
  x: Float32Array,
  y: Float32Array,
  row: number,
  from: number,
  size: number,
  eps: number,
  w?: Float32Array,
): void {
  const begin = row + from;
  const mean = f(sumOfSquares(x, begin, begin + size) / size);
  const r = f(1 / f(Math.sqrt(f(mean + f(eps)))));
  for (let j = 0; j < size; j++) {
    const normed = f(x[begin + j] * r);
    y[begin + j] = w ? f(normed * w[from + j]) : normed;
  }
}

export const rmsNorm = defineOp({
  name: 'rms-norm',
  formula: 'y = (x · r) · w, r = 1 / √(mean(x²) + eps)',
  inputs: { x: 'f32[l, m]', w: 'f32[m]?' },
  outputs: { y: 'f32[l, m]' },
  attrs: { eps: 1e-5 } as { readonly eps: number },
  constraints: { C1: ['eps must be positive', ({ eps }) => eps > 0] },
  reference: ({ x, w }, { eps }, { y }, { l, m }) => {
    for (let t = 0; t < l; t++) normalize(x.data, y.data, t * m, 0, m, eps, w?.data);
  },
  sweep: { l: [1, 3], m: [1, 16, 31, 32, 33, 384, 768] },
});
