/**
 * Applies softplus to every element. Mamba makes the step size Δ positive with it.
 *
 *   y = log(1 + eˣ)
 *
 * Shapes   x f32[l, n] → y f32[l, n]
 * Numerics softplus of numerics.ts: at most 2 ulp from the truth; x itself above 20, so that it never overflows.
 *          Exact by its definition there
 * Errors   none beyond the signature
 * Example  softplus({ x: [-20, 0, 1, 25] }).y = [2.06115e-9, 0.693147, 1.31326, 25]
 * Source   torch.nn.functional.softplus (threshold 20)
 */
import { defineOp } from '../op.ts';
import * as numerics from './numerics.ts';

export const softplus = defineOp({
  name: 'softplus',
  formula: 'y = log(1 + eˣ)',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  reference: ({ x }, _, { y }) => {
    for (let i = 0; i < y.data.length; i++) y.data[i] = numerics.softplus(x.data[i]);
  },
  sweep: { l: [1, 3], n: [1, 3, 4, 5, 768] },
});
