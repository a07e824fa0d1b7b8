/**
 * Mamba (arXiv 2312.00752): a language model whose every layer is a selective state space model, as a composition.
 *
 *   l  tokens in this call                       h  SSM state f32[d, n], carried from token to token
 *   m  d_model, width of the residual stream     A  state matrix, D skip: fixed, learned
 *   d  d_inner = 2m, channels of the SSM         B, C, dt: made from each token; that is the "selective"
 *   n  state size of each channel (16)           x, z  in_proj's halves: the convolution's branch and the gate
 *   k  width of the convolution (4)              u  silu(conv(x)), what the scan reads
 *   r  dt_rank, width of dt before dt_proj       y  what the scan writes, gated
 *
 * Weights keep the checkpoint's names. `g.site(word, value)` names an activation point: where a recipe may quantize.
 * This file knows no recipe.
 */

import { type Builder, type Graph, type Ref, trace } from '../graph.ts';
import { add } from '../ops/add.ts';
import { causalConv1d } from '../ops/causal-conv1d.ts';
import { embedding } from '../ops/embedding.ts';
import { linear } from '../ops/linear.ts';
import { negExp } from '../ops/neg-exp.ts';
import { rmsNorm } from '../ops/rms-norm.ts';
import { selectiveScan } from '../ops/selective-scan.ts';
import { slice } from '../ops/slice.ts';
import { softplus } from '../ops/softplus.ts';
import type { MambaConfig } from './config.ts';

/** The activation points inside a block, in the order in which they are computed (the nine that the paper quantizes). */
export const blockSites = [
  'blockIn', //  norm(h)     f32[l, m]   input of in_proj
  'convIn', //   x           f32[l, d]   input of the convolution
  'gate', //     z           f32[l, d]   gate of the scan's output
  'scanIn', //   u           f32[l, d]   input of x_proj and of the scan: clipped by a percentile in Quamba
  'dtLow', //    dt, low     f32[l, r]   input of dt_proj
  'B', //                    f32[l, n]
  'C', //                    f32[l, n]
  'dt', //       dt          f32[l, d]   before softplus
  'scanOut', //  y           f32[l, d]   input of out_proj: rotated by a Hadamard matrix in Quamba
] as const;
/** And the one outside: the input of the head. */
export const sites = [...blockSites, 'headIn'] as const;
export type Site = (typeof sites)[number];

/** The states of a block: what a text in progress takes. */
export const stateSites = ['convState', 'ssmState'] as const;
export type StateSite = (typeof stateSites)[number];

/** The weights that a recipe may quantize, by role. */
export const blockRoles = ['inProj', 'conv', 'xProj', 'dtProj', 'outProj'] as const;
export const roles = [...blockRoles, 'embedding', 'head'] as const;
export type Role = (typeof roles)[number];

/** One Mamba layer, its residual included: h f32[l, m] → f32[l, m]. */
export function block(g: Builder, config: MambaConfig, layer: number, h: Ref): Ref {
  const { dInner: d, dState: n, dConv: k, dtRank: r, normEps: eps, mixerNormEps } = config;
  const weight = (name: string, role?: Role) => g.weight(`backbone.layers.${layer}.${name}`, role);
  const optional = (name: string, present: boolean) => (present ? weight(name) : undefined);
  const part = (name: string, x: Ref, start: number, size: number) =>
    g.op(name, slice, { x }, { start, size });
  /** Falcon-Mamba's extra norm on dt, B and C; plain Mamba has none. */
  const mixerNorm = (name: string, x: Ref) =>
    mixerNormEps === undefined ? x : g.op(name, rmsNorm, { x }, { eps: mixerNormEps });

  const normed = g.op('normed', rmsNorm, { x: h, w: weight('norm.weight') }, { eps });
  const xz = g.op('xz', linear, {
    x: g.site('blockIn', normed),
    w: weight('mixer.in_proj.weight', 'inProj'),
    b: optional('mixer.in_proj.bias', config.useBias),
  });
  const x = g.site('convIn', part('x', xz, 0, d));
  const z = g.site('gate', part('z', xz, d, d));

  const conv = g.op('conv', causalConv1d, {
    x,
    w: weight('mixer.conv1d.weight', 'conv'),
    b: optional('mixer.conv1d.bias', config.useConvBias),
    past: g.state('convState', [d, k - 1]),
  });
  const u = g.site('scanIn', conv); // ← the percentile clip of Quamba acts here

  const dtBC = g.op('dtBC', linear, { x: u, w: weight('mixer.x_proj.weight', 'xProj') });
  const dtLow = g.site('dtLow', mixerNorm('dtNormed', part('dtPart', dtBC, 0, r)));
  const B = g.site('B', mixerNorm('BNormed', part('BPart', dtBC, r, n)));
  const C = g.site('C', mixerNorm('CNormed', part('CPart', dtBC, r + n, n)));
  const dtRaw = g.op('dtRaw', linear, {
    x: dtLow,
    w: weight('mixer.dt_proj.weight', 'dtProj'),
    b: weight('mixer.dt_proj.bias'),
  });
  const dt = g.op('dtPositive', softplus, { x: g.site('dt', dtRaw) });

  const A = g.op('A', negExp, { x: weight('mixer.A_log') });
  const D = weight('mixer.D');
  const y = g.op('y', selectiveScan, { u, dt, A, B, C, D, z, h: g.state('ssmState', [d, n]) });

  const out = g.op('out', linear, {
    x: g.site('scanOut', y), // ← the Hadamard rotation of Quamba acts here and is folded into out_proj
    w: weight('mixer.out_proj.weight', 'outProj'),
    b: optional('mixer.out_proj.bias', config.useBias),
  });
  return g.op('h', add, { x: h, y: out });
}

/** The language model: tokens i32[l] → logits f32[l, v]. */
export function mamba(config: MambaConfig): Graph {
  return trace((g, tokens) => {
    let h = g.op('embedded', embedding, { tokens, w: g.weight('backbone.embeddings.weight', 'embedding') });
    for (let layer = 0; layer < config.layers; layer++)
      h = block(g.scope(`layers.${layer}`), config, layer, h);
    const normed = g.op(
      'normed',
      rmsNorm,
      { x: h, w: g.weight('backbone.norm_f.weight') },
      { eps: config.normEps },
    );
    const head = config.tieEmbeddings ? 'backbone.embeddings.weight' : 'lm_head.weight';
    return g.op('logits', linear, { x: g.site('headIn', normed), w: g.weight(head, 'head') });
  });
}
