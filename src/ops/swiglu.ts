/**
 * Gates each value: the product inside the MLP of today's transformers, and Mamba-2's gate where no norm follows it.
 *
 *   y = silu(gate) · up
 *
 * Shapes   gate, up f32[l, n] → y f32[l, n]
 * Numerics y = fround(silu(gate) · up) with silu of numerics.ts. Exact by this order
 * Errors   none
 * Example  swiglu({ gate: [0, 20, -1], up: [5, 0.5, 2] }).y = [0, 10, -0.537883]
 * Source   GLU Variants Improve Transformer (arXiv 2002.05202) eq. 6 · transformers › GraniteMoeHybridMLP, FalconH1MLP
 */
import { defineOp } from '../op.ts';
import { silu } from './numerics.ts';

const f = Math.fround;

export const swiglu = defineOp({
  name: 'swiglu',
  formula: 'y = silu(gate) · up',
  inputs: { gate: 'f32[l, n]', up: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  reference: ({ gate, up }, _, { y }) => {
    for (let i = 0; i < y.data.length; i++) y.data[i] = f(silu(gate.data[i]) * up.data[i]);
  },
  sweep: { l: [1, 3], n: [1, 3, 4, 5, 64, 768] },
});
