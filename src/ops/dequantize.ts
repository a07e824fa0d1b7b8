/**
 * Gives int8 steps their real size back.
 *
 *   x = scale · q
 *
 * Shapes   q i8[l, n], scale f32[1] (one for all) or f32[l] (one for each row) → x f32[l, n]
 * Numerics one f32 rounding of each product. Exact
 * Errors   C1
 * Example  dequantize({ q: [-3, 0, 127], scale: [0.5] }).x = [-1.5, 0, 63.5]
 * Source   Quamba (symmetric uniform quantization)
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

export const dequantize = defineOp({
  name: 'dequantize',
  formula: 'x = scale · q',
  inputs: { q: 'i8[l, n]', scale: 'f32[s]' },
  outputs: { x: 'f32[l, n]' },
  constraints: { C1: ['scale must have one value or one for each row', ({ s, l }) => s === 1 || s === l] },
  reference: ({ q, scale }, _, { x }, { l, n, s }) => {
    for (let t = 0; t < l; t++)
      for (let j = 0; j < n; j++) x.data[t * n + j] = f(scale.data[s === 1 ? 0 : t] * q.data[t * n + j]);
  },
  sweep: { l: [1, 3], n: [1, 15, 16, 17, 768] },
});
