/**
 * The square of what is positive: the activation of Nemotron's MLP.
 *
 *   y = max(x, 0)²
 *
 * Shapes   x f32[l, n] → y f32[l, n]
 * Numerics y = fround(x · x) where x > 0, else +0; NaN stays NaN. Exact
 * Errors   none
 * Example  squaredRelu({ x: [-3, 0.5, 2] }).y = [0, 0.25, 4]
 * Source   Primer (arXiv 2109.08668) §3.1 · transformers › ReLUSquaredActivation
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

export const squaredRelu = defineOp({
  name: 'squared-relu',
  formula: 'y = max(x, 0)²',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, n]' },
  reference: ({ x }, _, { y }) => {
    for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] <= 0 ? 0 : f(x.data[i] * x.data[i]);
  },
  sweep: { l: [1, 3], n: [1, 3, 4, 5, 64, 768] },
});
