/**
 * Multiplies each channel by its own constant, or divides by it: SmoothQuant's migration of outliers into the weight.
 *
 *   y[t, j] = x[t, j] · c[j]          inverse:  y[t, j] = x[t, j] / c[j]
 *
 * Shapes   x f32[l, n], c f32[n] → y f32[l, n]
 * Numerics one f32 rounding of each product or quotient. Exact by this definition
 * Errors   none beyond the signature
 * Example  scaleChannels({ x: [8, 3], c: [4, 0.5] }, { inverse: true }).y = [2, 6]
 * Source   SmoothQuant (arXiv 2211.10438) eq. 3
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

export const scaleChannels = defineOp({
  name: 'scale-channels',
  formula: 'y = x · c   (inverse: x / c)',
  inputs: { x: 'f32[l, n]', c: 'f32[n]' },
  outputs: { y: 'f32[l, n]' },
  attrs: { inverse: false } as { readonly inverse: boolean },
  reference: ({ x, c }, { inverse }, { y }, { l, n }) => {
    for (let t = 0; t < l; t++)
      for (let j = 0; j < n; j++) {
        const value = x.data[t * n + j];
        y.data[t * n + j] = inverse ? f(value / c.data[j]) : f(value * c.data[j]);
      }
  },
  sweep: { l: [1, 3], n: [1, 15, 16, 17, 384], inverse: [false, true] },
});
