/**
 * Applies silu to every element. Mamba's activation, of the convolution and of the gate.
 *
 *   y = x / (1 + e⁻ˣ)
 *
 * Shapes   x f32[l, n] → y f32[l, n]
 * Numerics silu of numerics.ts: at most 2 ulp from the truth; −0 at −inf, x itself at +inf.
 *          Exact by its definition there
 * Errors   none beyond the signature
 * Example  silu({ x: [-1, 0, 1, 20] }).y = [-0.268941, 0, 0.731059, 20]
 * Source   torch.nn.functional.silu
 */
import { defineOp } from '../op.ts';
import * as numerics from './numerics.ts';

export const silu = defineOp({
  name: 'silu',
  formula: 'y = x / (1 + e⁻ˣ)',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  reference: ({ x }, _, { y }) => {
    for (let i = 0; i < y.data.length; i++) y.data[i] = numerics.silu(x.data[i]);
  },
  sweep: { l: [1, 3], n: [1, 3, 4, 5, 768] },
});
