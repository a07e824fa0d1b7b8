/**
 * Adds two tensors: the residual stream and what a block contributes to it.
 *
 *   sum = x + y
 *
 * Shapes   x f32[l, m], y f32[l, m] → sum f32[l, m]
 * Numerics exact: one f32 rounding of each sum. The residual stream is f32 throughout (residual_in_fp32)
 * Errors   none beyond the signature
 * Example  add({ x: [1, 2], y: [0.5, -2] }).sum = [1.5, 0]
 * Source   state-spaces/mamba › Block.forward (add → norm → mixer; the same sums as norm → mixer → add)
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

export const add = defineOp({
  name: 'add',
  formula: 'sum = x + y',
  inputs: { x: 'f32[l, m]', y: 'f32[l, m]' },
  outputs: { sum: 'f32[l, m]' },
  reference: ({ x, y }, _, { sum }) => {
    for (let i = 0; i < sum.data.length; i++) sum.data[i] = f(x.data[i] + y.data[i]);
  },
  sweep: { l: [1, 3], m: [1, 15, 16, 17, 384] },
});
