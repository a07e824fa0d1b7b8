/**
 * Mixes each channel with its own last k inputs, then applies SiLU.
 *
 *   y[t, c] = silu( Σ_j w[c, j] · x[t − (k−1) + j, c] + b[c] )
 *
 *   state  x[−3] x[−2] x[−1] │ x[0]  x[1]  x[2] …          k = 4
 *          ╰──── w0 w1 w2 ────── w3 ╯ → y[0]
 *                 ╰──── w0 ───── w1 w2… w3 ╯ → y[1]
 *
 * Shapes   x f32[l, d], w f32[d, k], b f32[d] or absent → y f32[l, d]
 * State    past f32[d, k−1]: the last k−1 inputs of each channel, oldest first; zeros at the start of a text. After fewer than
 *          k−1 tokens it still holds the newest of the state before. Where it is kept in f16 or int8, an input is rounded as soon
 *          as it is past, not only at the end of a call, so that no cut of a text shows
 * Numerics all k products, those with zeros too, each rounded once, in ascending j: the sum is the first product, then
 *          sum = fround(sum + product); then fround(sum + b) where there is a b; then silu of numerics.ts, unless the
 *          activation is 'none'. Exact by this order
 * Errors   C1 the activation is 'silu' or 'none'
 * Example  causalConv1d({ x: [[1], [0], [2]], w: [[10, 1]] }, { activation: 'none' }).y = [[1], [10], [2]]
 *          causalConv1d({ x: [[1], [0], [2]], w: [[10, 1]] }, { activation: 'none' }).past = [[2]]
 * Source   Mamba §3.4 · Dao-AILab/causal-conv1d › causal_conv1d_ref. There the state holds k inputs; the oldest is
 *          never read before it is overwritten, so ours holds k−1 (as ONNX CausalConvWithState does)
 */
import { defineOp } from '../op.ts';
import { silu } from './numerics.ts';

const f = Math.fround;

export const causalConv1d = defineOp({
  name: 'causal-conv1d',
  formula: 'y[t, c] = silu(Σ_j w[c, j] · x[t − (k−1) + j, c] + b[c])',
  inputs: { x: 'f32[l, d]', w: 'f32[d, k]', b: 'f32[d]?' },
  outputs: { y: 'f32[l, d]' },
  states: { past: 'f32[d, k-1]' },
  attrs: { activation: 'silu' } as { readonly activation: string },
  constraints: {
    C1: ["activation must be 'silu' or 'none'", ({ activation }) => ['silu', 'none'].includes(activation)],
  },
  reference: ({ x, w, b }, { activation }, { y }, { l, d, k }, { past }) => {
    const before = k - 1;
    const window = new Float32Array(before + l); // one channel: its past inputs, then those of this call
    for (let c = 0; c < d; c++) {
      window.set(past.data.subarray(c * before, (c + 1) * before));
      for (let t = 0; t < l; t++) window[before + t] = x.data[t * d + c];
      for (let t = 0; t < l; t++) {
        let sum = f(w.data[c * k] * window[t]);
        for (let j = 1; j < k; j++) sum = f(sum + f(w.data[c * k + j] * window[t + j]));
        if (b) sum = f(sum + b.data[c]);
        y.data[t * d + c] = activation === 'silu' ? silu(sum) : sum;
        if (past.dtype !== 'f32' && before > 0) {
          past.put(c * before, [window[before + t]]); // its old value is in the window already
          window[before + t] = past.data[c * before];
        }
      }
      past.put(c * before, window.subarray(l));
    }
  },
  sweep: { l: [1, 2, 3, 4, 5, 17], d: [1, 15, 16, 17], k: [1, 2, 4] },
});
