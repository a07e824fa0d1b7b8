/**
 * GPTQ: rounds the columns of a weight one after the other, and lets those that are still to come make up for the error, so
 * that what the product gives on the calibration inputs changes least.
 *
 *   H = Σ x xᵀ over calibration inputs, its diagonal raised by 1 % of its mean;   H⁻¹ = Uᵀ U, U upper triangular
 *   for each column j, those with the largest H_jj first:
 *     q_j = round(w_j / s),   e = (w_j − s q_j) / U_jj,   w_k ← w_k − e U_jk for the columns k that follow
 *
 * Scales are those of the groups as they were at the beginning, so that the order does not change them. All in f64, in one
 * order, with + − × ÷ √ alone: the same integers on every machine.
 *
 * Source: arXiv 2210.17323, algorithm 1; the order by H_jj is that of its authors' `act-order`.
 */
import type { Tensor } from '../tensor.ts';
import { nearest } from './int4.ts';

/** Of the mean of the diagonal, added to it. */
const DAMPING = 0.01;

/** What GPTQ needs of the inputs of a weight; one for all the weights that read them. */
export interface Curvature {
  /** The columns, in the order in which they are rounded. */
  readonly order: Int32Array;
  /** U f64[n, n] of the columns in that order. */
  readonly factor: Float64Array;
  /** H_jj of each column in its own place. */
  readonly diagonal: Float64Array;
}

/** From H f32[n, n], of which the lower triangle is read. */
export function curvatureOf(hessian: Float32Array): Curvature {
  const n = Math.round(Math.sqrt(hessian.length));
  const diagonal = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  const mean = diagonal.reduce((sum, x) => sum + x, 0) / n;
  const damping = mean > 0 ? DAMPING * mean : 1; // of inputs that are all zero nothing is known
  const order = Int32Array.from(diagonal.keys()).sort((a, b) => diagonal[b] - diagonal[a] || a - b);
  const h = new Float64Array(n * n); // of the columns from last to first
  for (let a = 0; a < n; a++)
    for (let b = 0; b <= a; b++) {
      const [i, j] = [order[n - 1 - a], order[n - 1 - b]];
      h[a * n + b] = hessian[Math.max(i, j) * n + Math.min(i, j)] + (a === b ? damping : 0);
    }
  cholesky(h, n);
  invert(h, n);
  // H = L Lᵀ backwards is H = V Vᵀ forwards, V upper triangular, and U = V⁻¹.
  const factor = new Float64Array(n * n);
  for (let a = 0; a < n; a++)
    for (let b = 0; b <= a; b++) factor[(n - 1 - a) * n + (n - 1 - b)] = h[a * n + b];
  return { order, factor, diagonal };
}

/** H → L in its lower triangle, H = L Lᵀ. */
function cholesky(h: Float64Array, n: number): void {
  for (let a = 0; a < n; a++) {
    for (let b = 0; b < a; b++) h[a * n + b] = (h[a * n + b] - dot(h, a * n, b * n, b)) / h[b * n + b];
    h[a * n + a] = Math.sqrt(h[a * n + a] - dot(h, a * n, a * n, a));
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
  const w = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < columns; j++) w[j] = data[row * columns + order[j]];
    for (let j = 0; j < columns; j++) {
      const scale = scales[row * groups + Math.floor(order[j] / size)];
      const step = nearest(w[j], scale);
      q[row * columns + order[j]] = step;
      follow(w, factor, j, columns, (w[j] - scale * step) / factor[j * columns + j]);
    }
  }
  return q;
}

/** w_k ← w_k − e U_jk for k > j. */
function follow(w: Float64Array, factor: Float64Array, j: number, n: number, error: number): void {
  for (let k = j + 1; k < n; k++) w[k] -= error * factor[j * n + k];
}

/** Of the tokens of a sample, every so many are looked at: neighbours say much the same, and H takes n² products of each. */
const EVERY = 8;

/** Sums H over samples, in the order in which they come. */
export function hessianObserver(): { observe(x: Tensor<'f32'>): void; hessian(): Float32Array } {
  let h = new Float64Array(0);
  let width = 0;
  return {
    observe({ shape: [l, n], data }) {
      if (width === 0) h = new Float64Array(n * n);
      width = n;
      for (let t = 0; t < l; t += EVERY) addOuter(h, data, t * n, n);
    },
    hessian: () => Float32Array.from(h),
  };
}

/** The lower triangle of h + x xᵀ. */
function addOuter(h: Float64Array, x: Float32Array, at: number, n: number): void {
  for (let a = 0; a < n; a++) {
    const value = x[at + a];
    if (value === 0) continue;
    for (let b = 0; b <= a; b++) h[a * n + b] += value * x[at + b];
  }
}
