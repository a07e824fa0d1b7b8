/**
 * Multiplies each row by the normalised Hadamard matrix: a rotation that spreads an outlier over all channels.
 *
 *   y = Q x,   Q = (M_K ⊗ H_2^k) / √n,   n = K · 2^k,   H_2m = [[H_m, H_m], [H_m, −H_m]]
 *
 *   a ──●── a + b       one butterfly; stride 1, then 2, 4, … inside each run of 2^k,
 *   b ──●── a − b       then M_K across the runs
 *
 * Being orthonormal it folds into the next weight, offline: (W Qᵀ)(Q y) = W y. That is how Quamba quantizes Q y at no
 * cost but the transform.
 *
 * Shapes   x f32[l, n] → y f32[l, n]
 * Numerics natural (Sylvester) order: element i·2^k + c is row i of M_K and column c of H. Every sum and difference is
 *          rounded once, in this order:
 *            butterflies  inside each run of 2^k elements, stride 1, 2, 4, … 2^(k−1):  a, b ← fround(a + b), fround(a − b)
 *            M_K          for each column c, x_j its value in run j:  y_i = (± x_0) ± x_1 … ± x_(K−1), left to right, with
 *                         the signs of row i
 *            halves       for n = 40·2^k only, where M_20 was applied in each half on its own, to its 20 runs of 2^k
 *                         (M_40 = H_2 ⊗ M_20): one more butterfly, stride n/2
 *            scale        each element times fround(1/√n), the root and the quotient in f64
 *          K is the smallest for which n = K·2^k and there is an M_K: Paley II with q = K/2 − 1, or else Paley I with
 *          q = K − 1, as src/ops/hadamard.ts makes them; 20·2^k with k ≥ 1 counts as 40·2^(k−1). inverse applies Qᵀ: the
 *          same steps with M_Kᵀ. Paley I is not symmetric, and neither are M_20 and M_40, so Q is not its own inverse at
 *          2.8b (d_inner 5120). A backend may refuse K > 28. Exact by this order
 * Errors   C1
 * Example  fwht({ x: [8, 0, 0, 0] }).y = [4, 4, 4, 4]        an outlier, spread
 *          fwht({ x: [4, 4, 4, 4] }, { inverse: true }).y = [8, 0, 0, 0]
 * Source   Quamba · Dao-AILab/fast-hadamard-transform › hadamard_transform_ref. Different: it pads other sizes with
 *          zeros, which is not orthonormal after cropping; we refuse them
 */
import { defineOp } from '../op.ts';
import { type Base, factor } from './hadamard.ts';

const f = Math.fround;

/** In place: row[i], row[i + stride] ← their sum and difference, for every pair inside each block of 2 · stride. */
function butterfly(row: Float32Array, stride: number): void {
  for (let block = 0; block < row.length; block += 2 * stride)
    for (let i = block; i < block + stride; i++) {
      const a = row[i];
      const b = row[i + stride];
      row[i] = f(a + b);
      row[i + stride] = f(a - b);
    }
}

/** In place: multiplies the column of K values row[0], row[run], row[2·run], … by M_K (or its transpose). */
function mix(row: Float32Array, base: Base, run: number, transpose: boolean): void {
  const K = base.length;
  const column = new Float32Array(K);
  for (let c = 0; c < run; c++) {
    for (let j = 0; j < K; j++) column[j] = row[j * run + c];
    for (let i = 0; i < K; i++) {
      let sum = 0;
      for (let j = 0; j < K; j++) {
        const term = (transpose ? base[j][i] : base[i][j]) * column[j];
        sum = j === 0 ? term : f(sum + term);
      }
      row[i * run + c] = sum;
    }
  }
}

export const fwht = defineOp({
  name: 'fwht',
  formula: 'y = Q x, Q = (M_K ⊗ H_2^k) / √n',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  attrs: { inverse: false } as { readonly inverse: boolean },
  constraints: {
    C1: [
      'n must be K·2^k where Paley gives a Hadamard matrix of order K ≤ 1024 by a prime or the square of one (1, 12, 20, 28, 36, 44, 52, 60, …)',
      ({ n }) => factor(n) !== undefined,
    ],
  },
  reference: ({ x }, { inverse }, { y }, { l, n }) => {
    const { outer, base, run } = factor(n)!;
    const norm = f(1 / Math.sqrt(n));
    for (let t = 0; t < l; t++) {
      const row = y.data.subarray(t * n, (t + 1) * n);
      row.set(x.data.subarray(t * n, (t + 1) * n));
      for (let stride = 1; stride < run; stride *= 2)
        for (let part = 0; part < n; part += run) butterfly(row.subarray(part, part + run), stride);
      for (let half = 0; half < n; half += n / outer)
        mix(row.subarray(half, half + n / outer), base, run, inverse);
      if (outer === 2) butterfly(row, n / 2);
      for (let i = 0; i < n; i++) row[i] = f(row[i] * norm);
    }
  },
  sweep: { l: [1, 3], n: [1, 2, 16, 12, 24, 768, 20, 28, 56, 40, 80, 5120], inverse: [false, true] },
});
