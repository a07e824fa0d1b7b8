/**
 * Weights as 4-bit integers: −8 … 7 times a scale for each row and group of columns.
 *
 * A scale is searched on a grid: several shares of the group's largest |w|, with both signs, because −8 reaches further than 7.
 * The scale with the least squared error is taken. Where calibration saw the inputs, the error of each column is weighed by them.
 *
 * Source: the clip search of AWQ, arXiv 2306.00978; negative scales as in llama.cpp's Q4_0.
 */
import { absmax } from '../ops/absmax-scale.ts';
import { roundEven } from '../ops/numerics.ts';
import type { Tensor } from '../tensor.ts';

const f = Math.fround;

export const LOWEST = -8;
export const HIGHEST = 7;
/** The shares that are tried: this share of the group's largest |w| maps to 7.5 · |scale|. */
const SHARES = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7].map(f);
/** The least of a group's largest |w|, so that a group of zeros has a scale too. */
const FLOOR = f(1e-8);

/** The group size that is used: the largest divisor of the columns that is not above the one asked for. */
export function groupSize(asked: number, columns: number): number {
  let size = Math.min(asked, columns);
  while (columns % size) size--;
  return size;
}

/** 1.5 · 2⁵²: adding and subtracting it rounds to the nearest integer. */
const ROUND = 6755399441055744;

/** The integer of −8 … 7 that is nearest to w / scale. */
export const nearest = (w: number, scale: number): number =>
  roundEven(Math.min(Math.max(f(w / scale), LOWEST), HIGHEST));

/** The best scale of the values w on the grid. Value k has the weight weigh[k]; without `weigh`, all count alike. */
export function groupScale(w: Float32Array, weigh?: Float64Array): number {
  const most = Math.max(absmax(w), FLOOR);
  let best = Number.POSITIVE_INFINITY;
  let found = f(most / HIGHEST);
  for (const share of SHARES)
    for (const sign of [1, -1]) {
      const scale = f((sign * share * most) / 7.5);
      const error = squaredError(w, scale, best, weigh);
      if (error < best) [best, found] = [error, scale];
    }
  return found;
}

/** Σ (w − scale · q)². A sum that passes `enough` is not finished. */
function squaredError(w: Float32Array, scale: number, enough: number, weigh?: Float64Array): number {
  const inverse = 1 / scale;
  let sum = 0;
  for (let k = 0; k < w.length && sum < enough; k++) {
    const steps = w[k] * inverse;
    const q = steps > HIGHEST ? HIGHEST : steps < LOWEST ? LOWEST : steps + ROUND - ROUND;
    const error = w[k] - scale * q;
    sum += weigh ? weigh[k] * error * error : error * error;
  }
  return sum;
}

/** The scales f32[o, g] of a weight f32[o, i] in groups of `size` columns. `weigh`: a factor for each column. */
export function groupScales(w: Tensor<'f32'>, size: number, weigh?: Float64Array): Float32Array {
  const { data } = w;
  return Float32Array.from({ length: data.length / size }, (_, part) => {
    const begin = part * size;
    const column = begin % w.shape[1];
    return groupScale(data.subarray(begin, begin + size), weigh?.subarray(column, column + size));
  });
}

/** Each weight rounded to the nearest step of its group. */
export function roundToNearest({ data }: Tensor<'f32'>, scales: Float32Array): Int8Array {
  const size = data.length / scales.length;
  const q = new Int8Array(data.length);
  for (let part = 0; part < scales.length; part++) {
    const scale = scales[part];
    for (let at = part * size; at < (part + 1) * size; at++) q[at] = nearest(data[at], scale);
  }
  return q;
}
