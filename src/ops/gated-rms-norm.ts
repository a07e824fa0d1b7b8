/**
 * Gates each row, then divides every group of its channels by its root mean square: what Mamba-2 does between scan and out_proj.
 *
 *   v = x · silu(z),   y = (v · r) · w,   r = 1 / √(mean(v²) + eps)     the mean over each of g groups of channels
 *
 * Shapes   x, z f32[l, d], w f32[d] or absent → y f32[l, d]
 * Numerics v = fround(x · silu(z)) with silu of numerics.ts. Then each group of d/g channels as rms-norm does a row: squares in
 *          32 lanes that start at +0, lane j adds the squares k ≡ j (mod 32) of the group, and the tree adds the lanes.
 *          Exact by this order
 * Errors   C1 eps is positive, so that a row of zeros gives zeros; C2 the groups divide the channels
 * Example  gatedRmsNorm({ x: [3, 4], z: [20, 20], w: [1, 2] }).y = [0.848528, 2.26274]
 *          gatedRmsNorm({ x: [3, 4], z: [20, 20] }, { g: 2 }).y = [1, 1]
 * Source   Mamba-2 (arXiv 2405.21060) §6 · state-spaces/mamba › RMSNormGated with norm_before_gate = False and group_size d/g.
 *          Different: transformers' MambaRMSNormGated has one group always
 */
import { defineOp } from '../op.ts';
import { silu } from './numerics.ts';
import { normalize } from './rms-norm.ts';

const f = Math.fround;

export const gatedRmsNorm = defineOp({
  name: 'gated-rms-norm',
  formula: 'y = (v · r) · w, v = x · silu(z), r = 1 / √(mean(v²) + eps) in each group',
  inputs: { x: 'f32[l, d]', z: 'f32[l, d]', w: 'f32[d]?' },
  outputs: { y: 'f32[l, d]' },
  attrs: { eps: 1e-5, g: 1 } as { readonly eps: number; readonly g: number },
  constraints: {
    C1: ['eps must be positive', ({ eps }) => eps > 0],
    C2: [
      'the groups g must divide the channels d',
      ({ g, d }) => g >= 1 && Number.isInteger(g) && d % g === 0,
    ],
  },
  reference: ({ x, z, w }, { eps, g }, { y }, { l, d }) => {
    for (let i = 0; i < l * d; i++) y.data[i] = f(x.data[i] * silu(z.data[i]));
    for (let t = 0; t < l; t++)
      for (let group = 0; group < g; group++)
        normalize(y.data, y.data, t * d, (group * d) / g, d / g, eps, w?.data);
  },
  sweep: { l: [1, 3], g: [1, 2, 4], d: [4, 32, 64, 132, 384, 768] },
});
