/**
 * GPTQ rounds the columns of a weight one after the other. The columns that are still to come make up for the error of each, so
 * that the product with the calibration inputs changes as little as possible.
 *
 *   H = Σ x xᵀ over calibration inputs, its diagonal raised by 1 % of its mean;   H⁻¹ = Uᵀ U, U upper triangular
 *   for each column j, those with the largest H_jj first:
 *     q_j = round(w_j / s),   e = (w_j − s q_j) / U_jj,   w_k ← w_k − e U_jk for the columns k that follow
 *
 * The scales of the groups are found before the first column is rounded, so that the order of the columns does not change them.
 * Everything is computed in f64, in one order, and with + − × ÷ √ alone, so that every machine finds the same integers.
 *
 * Source: arXiv 2210.17323, algorithm 1; the order by H_jj is that of its authors' `act-order`.
 */
import type { Tensor } from '../tensor.ts';
import type { Accumulator } from './accumulators.ts';
import { nearest } from './int4.ts';

/** This share of the mean of the diagonal is added to the diagonal. */
const DAMPING = 0.01;

/** What GPTQ needs to know of the inputs of a weight. All the weights that read the same inputs share one. */
export interface Curvature {
  /** The columns, in the order in which they are rounded. */
  readonly order: Int32Array;
  /** U f64[n, n], whose columns stand in that order. */
  readonly factor: Float64Array;
  /** H_jj of each column, in the order of the weight. */
  readonly diagonal: Float64Array;
}

/**
 * Only the lower triangle of H f32[n, n] is read.
 *
 * @throws RangeError for what is no sum of x xᵀ.
 */
export function curvatureOf(hessian: Float32Array): Curvature {
  const n = Math.round(Math.sqrt(hessian.length));
  const diagonal = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  const mean = diagonal.reduce((sum, x) => sum + x, 0) / n;
  const damping = mean > 0 ? DAMPING * mean : 1; // inputs that are all zero tell nothing
  const order = Int32Array.from(diagonal.keys()).sort((a, b) => diagonal[b] - diagonal[a] || a - b);
  const h = new Float64Array(n * n); // its columns stand from last to first
  for (let a = 0; a < n; a++)
    for (let b = 0; b <= a; b++) {
      const [i, j] = [order[n - 1 - a], order[n - 1 - b]];
      h[a * n + b] = hessian[Math.max(i, j) * n + Math.min(i, j)] + (a === b ? damping : 0);
    }
  cholesky(h, n);
  invert(h, n);
  // H = L Lᵀ with the columns backwards is H = V Vᵀ with the columns forwards. V is upper triangular, and U = V⁻¹.
  const factor = new Float64Array(n * n);
  for (let a = 0; a < n; a++)
    for (let b = 0; b <= a; b++) factor[(n - 1 - a) * n + (n - 1 - b)] = h[a * n + b];
  return { order, factor, diagonal };
}

/** Replaces the lower triangle of H by L, where H = L Lᵀ. */
function cholesky(h: Float64Array, n: number): void {
  for (let a = 0; a < n; a++) {
    for (let b = 0; b < a; b++) h[a * n + b] = (h[a * n + b] - dot(h, a * n, b * n, b)) / h[b * n + b];
    const pivot = h[a * n + a] - dot(h, a * n, a * n, a);
    if (!(pivot > 0))
      throw new RangeError(
        'quantize: a Hessian is no sum of products of inputs; calibrate with this recipe again',
      );
    h[a * n + a] = Math.sqrt(pivot);
  }
}

function dot(h: Float64Array, a: number, b: number, size: number): number {
  let sum = 0;
  for (let k = 0; k < size; k++) sum += h[a + k] * h[b + k];
  return sum;
}

/** L → L⁻¹, row by row from the first: row a of L⁻¹ is −(Σ_b L_ab · row b) / L_aa, and 1 / L_aa at its end. */
function invert(l: Float64Array, n: number): void {
  const row = new Float64Array(n);
  for (let a = 0; a < n; a++) {
    row.fill(0, 0, a);
    for (let b = 0; b < a; b++) {
      const factor = l[a * n + b];
      for (let k = 0; k <= b; k++) row[k] -= factor * l[b * n + k];
    }
    const pivot = l[a * n + a];
    for (let k = 0; k < a; k++) l[a * n + k] = row[k] / pivot;
    l[a * n + a] = 1 / pivot;
  }
}

/** The integers of a weight f32[o, i] with scales f32[o, g]. */
export function gptq(
  { shape: [rows, columns], data }: Tensor<'f32'>,
  scales: Float32Array,
  { order, factor }: Curvature,
): Int8Array {
  const groups = scales.length / rows;
  const size = columns / groups;
  const q = new Int8Array(rows * columns);
  const w = new Float64Array(columns * TOGETHER); // [columns][TOGETHER rows]
  const error = new Float64Array(TOGETHER);
  for (let row = 0; row < rows; row += TOGETHER) {
    const count = Math.min(TOGETHER, rows - row);
    for (let j = 0; j < columns; j++)
      for (let r = 0; r < count; r++) w[j * TOGETHER + r] = data[(row + r) * columns + order[j]];
    for (let j = 0; j < columns; j++) {
      const group = Math.floor(order[j] / size);
      for (let r = 0; r < count; r++) {
        const scale = scales[(row + r) * groups + group];
        const step = nearest(w[j * TOGETHER + r], scale);
        q[(row + r) * columns + order[j]] = step;
        error[r] = (w[j * TOGETHER + r] - scale * step) / factor[j * columns + j];
      }
      follow(w, factor, j, columns, error);
    }
  }
  return q;
}

/** So many rows go through the columns side by side, so that U is read once for all of them. */
const TOGETHER = 4;

/** w_k ← w_k − e U_jk for k > j. */
function follow(w: Float64Array, factor: Float64Array, j: number, n: number, error: Float64Array): void {
  const [a, b, c, d] = error;
  for (let k = j + 1, at = TOGETHER * k; k < n; k++, at += TOGETHER) {
    const u = factor[j * n + k];
    w[at] -= a * u;
    w[at + 1] -= b * u;
    w[at + 2] -= c * u;
    w[at + 3] -= d * u;
  }
}

/** The first RUN tokens of every EVERY tokens of a sample are added: each of them costs n² products. */
const RUN = 4;
const EVERY = 16;

/** H f32[n, n], summed over the samples in the order in which they come. Only its lower triangle is filled. */
export function hessianOver(): Accumulator<Float32Array> {
  let h = new Float64Array(0);
  return {
    add({ shape: [l, n], data }) {
      if (h.length === 0) h = new Float64Array(n * n);
      const none = new Float32Array(n);
      for (let t = 0; t < l; t += EVERY) {
        const rows = Array.from({ length: RUN }, (_, r) =>
          t + r < l ? data.subarray((t + r) * n, (t + r + 1) * n) : none,
        );
        addOuter(h, n, rows);
      }
    },
    value: () => Float32Array.from(h),
  };
}

/** Adds x xᵀ of four x to the lower triangle of h. */
function addOuter(h: Float64Array, n: number, [p, q, r, s]: readonly Float32Array[]): void {
  for (let a = 0; a < n; a++) {
    const [pa, qa, ra, sa] = [p[a], q[a], r[a], s[a]];
    for (let b = 0, at = a * n; b <= a; b++, at++) h[at] += pa * p[b] + qa * q[b] + ra * r[b] + sa * s[b];
  }
}
