/**
 * Rounds real values to int8 steps.
 *
 *   q = clamp( round(x / scale), −128, 127 )
 *
 *   x / scale   … −1.5  −0.5   0.5   1.5   2.5 …    ties go to the even neighbour,
 *   q           … −2     0     0     2     2   …    so that rounding has no bias
 *
 * Shapes   x f32[l, n], scale f32[1] (static) or f32[l] (per token) → q i8[l, n]
 * Numerics r = fround(x / scale), a real f32 division (not a multiplication by 1/scale); then r to the nearest integer,
 *          ties to the even one; then the clamp, which saturates infinities too. −0 gives 0. Exact
 * Errors   C1, C2 x must not hold NaN (a backend may leave it unspecified what it gives for one)
 * Example  quantize({ x: [0.5, 1.5, 2.5, -2.5, 300], scale: [1] }).q = [0, 2, 2, -2, 127]
 * Source   Quamba (symmetric uniform quantization) · torch.round, torch.clamp. Different: the official Hadamard kernel
 *          does not saturate
 */
import { defineOp } from '../op.ts';
import { quantizeValue } from './numerics.ts';

export const quantize = defineOp({
  name: 'quantize',
  formula: 'q = clamp(round(x / scale), −128, 127)',
  inputs: { x: 'f32[l, n]', scale: 'f32[s]' },
  outputs: { q: 'i8[l, n]' },
  constraints: { C1: ['scale must have one value or one for each row', ({ s, l }) => s === 1 || s === l] },
  reference: ({ x, scale }, _, { q }, { l, n, s }) => {
    for (let t = 0; t < l; t++)
      for (let j = 0; j < n; j++) {
        const value = quantizeValue(x.data[t * n + j], scale.data[s === 1 ? 0 : t]);
        if (Number.isNaN(value))
          throw new RangeError(`quantize C2: x must not hold NaN; got NaN at [${t}, ${j}]`);
        q.data[t * n + j] = value;
      }
  },
  sweep: { l: [1, 3], n: [1, 15, 16, 17, 768] },
});
