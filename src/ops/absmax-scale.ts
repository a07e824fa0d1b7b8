/**
 * Measures the step that makes each row fit int8: the scale of dynamic quantization.
 *
 *   scale[t] = max( max_j |x[t, j]|, 1e-5 ) / 127
 *
 * Shapes   x f32[l, n] → scale f32[l], one for each token (so that feeding in chunks gives the same scales as at once)
 * Numerics scale = fround(max / 127), where max is at least fround(1e-5) = 3727c5ac, so that quantize never divides by zero.
 *          Exact. A NaN in a row makes its scale NaN, an infinity makes it infinite
 * Errors   none beyond the signature
 * Example  absmaxScale({ x: [[0.5, -2], [0, 0]] }).scale = [0.015748, 7.87402e-8]
 * Source   Quamba (symmetric uniform quantization) · per token as in LLM.int8 and SmoothQuant
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

const FLOOR = f(1e-5);

/** The scale of a range: the size of one step when `range` is to map to 127. */
export const scaleOf = (range: number): number => f(Math.max(range, FLOOR) / 127);

/** max |x| over x[begin … end − 1]; 0 for none. */
export function absmax(x: Float32Array, begin = 0, end = x.length): number {
  let max = 0;
  for (let i = begin; i < end; i++) max = Math.max(max, Math.abs(x[i]));
  return max;
}

export const absmaxScale = defineOp({
  name: 'absmax-scale',
  formula: 'scale[t] = max(max_j |x[t, j]|, 1e-5) / 127',
  inputs: { x: 'f32[l, n]' },
  outputs: { scale: 'f32[l]' },
  reference: ({ x }, _, { scale }, { l, n }) => {
    for (let t = 0; t < l; t++) scale.data[t] = scaleOf(absmax(x.data, t * n, (t + 1) * n));
  },
  sweep: { l: [1, 3], n: [1, 15, 16, 17, 768] },
});
