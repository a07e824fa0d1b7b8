/**
 * The mixer of Mamba (arXiv 2312.00752): a selective state space model between two projections. Letters as in ../mamba.ts.
 */
import type { Builder, Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import { layerOf } from './layer.ts';

export interface MambaMixer {
  /** m, the width of the residual stream. */
  readonly dModel: number;
  /** d, the channels of the SSM. */
  readonly dInner: number;
  /** n, the state size of a channel. */
  readonly dState: number;
  /** k, the width of the convolution. */
  readonly dConv: number;
  /** r, the width of dt before dt_proj. */
  readonly dtRank: number;
  /** Of in_proj and out_proj. */
  readonly useBias: boolean;
  readonly useConvBias: boolean;
  /** Of one more norm on dt, B and C, where there is one: Falcon-Mamba's has no weights, Jamba's has. */
  readonly mixerNormEps?: number;
  readonly mixerNormWeights?: boolean;
}

/** The activation points, in the order in which they are computed (the nine that the paper quantizes). */
export const mambaSites = [
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

/** The past of the convolution, and h. */
export const mambaStates = ['convState', 'ssmState'] as const;

/** The weights that a recipe may quantize, by role. */
export const mambaRoles = ['inProj', 'conv', 'xProj', 'dtProj', 'outProj'] as const;

/** norm(h) f32[l, m] → f32[l, m], with the weights below `prefix`. */
export function mambaMixer(g: Builder, prefix: string, config: MambaMixer, normed: Ref): Ref {
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, mixerNormEps, mixerNormWeights } = config;
  const { weight, optional, part, linear } = layerOf<(typeof mambaRoles)[number]>(g, prefix);
  const mixerNorm = (name: string, x: Ref, size: number, of: string) => {
    if (mixerNormEps === undefined) return x;
    const w = optional(`${of}_layernorm.weight`, [size], mixerNormWeights === true);
    return g.op(name, ops.rmsNorm, { x, w }, { eps: mixerNormEps });
  };

  const xz = linear('xz', g.site('blockIn', normed), 'in_proj', [2 * d, m], 'inProj', config.useBias);
  const x = g.site('convIn', part('x', xz, 0, d));
  const z = g.site('gate', part('z', xz, d, d));

  const conv = g.op('conv', ops.causalConv1d, {
    x,
    w: weight('conv1d.weight', [d, k], 'conv'),
    b: optional('conv1d.bias', [d], config.useConvBias),
    past: g.state('convState', [d, k - 1]),
  });
  const u = g.site('scanIn', conv); // ← the percentile clip of Quamba acts here

  const dtBC = linear('dtBC', u, 'x_proj', [r + 2 * n, d], 'xProj');
  const dtLow = g.site('dtLow', mixerNorm('dtNormed', part('dtPart', dtBC, 0, r), r, 'dt'));
  const B = g.site('B', mixerNorm('BNormed', part('BPart', dtBC, r, n), n, 'b'));
  const C = g.site('C', mixerNorm('CNormed', part('CPart', dtBC, r + n, n), n, 'c'));
  const dtRaw = linear('dtRaw', dtLow, 'dt_proj', [d, r], 'dtProj', true);
  const dt = g.op('dtPositive', ops.softplus, { x: g.site('dt', dtRaw) });

  const A = g.op('A', ops.negExp, { x: weight('A_log', [d, n]) });
  const D = weight('D', [d]);
  const y = g.op('y', ops.selectiveScan, { u, dt, A, B, C, D, z, h: g.state('ssmState', [d, n]) });

  // ← the Hadamard rotation of Quamba acts here and is folded into out_proj
  return linear('out', g.site('scanOut', y), 'out_proj', [m, d], 'outProj', config.useBias);
}
