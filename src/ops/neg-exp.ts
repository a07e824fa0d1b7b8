/**
 * Makes the state matrix A from what the checkpoint stores.
 *
 *   A = −exp(A_log)
 *
 * Shapes   x f32[l, n] → y f32[l, n]
 * Numerics exp of numerics.ts, at most 2 ulp from the truth. Exact by its definition there. Its input is a constant, so
 *          it runs once, when a plan is prepared
 * Errors   none beyond the signature
 * Example  negExp({ x: [0, 0.693147] }).y = [-1, -2]
 * Source   Mamba §3.6 · state-spaces/mamba › Mamba.forward, A = -torch.exp(self.A_log.float())
 */
import { defineOp } from '../op.ts';
import { exp } from './numerics.ts';

export const negExp = defineOp({
  name: 'neg-exp',
  formula: 'y = −exp(x)',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  reference: ({ x }, _, { y }) => {
    for (let i = 0; i < y.data.length; i++) y.data[i] = -exp(x.data[i]);
  },
  sweep: { l: [1, 3], n: [1, 3, 16] },
});
