/**
 * The mixer of Mamba-2 (arXiv 2405.21060): a state space model with one decay a head, and a gate. Letters as in ../mamba2.ts.
 */
import type { JsonObject } from '../../formats/json.ts';
import type { Builder, Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import { fields } from '../fields.ts';
import { layerOf } from './layer.ts';

export interface Mamba2Mixer {
  /** m, the width of the residual stream. */
  readonly dModel: number;
  /** h, and p, the channels of each. */
  readonly heads: number;
  readonly headDim: number;
  /** n, the state size of a channel. */
  readonly dState: number;
  /** g, the groups of heads that share B and C. */
  readonly groups: number;
  /** How many parts of the channels the norm behind the gate has a mean of; 0 where there is no norm. Absent: g. */
  readonly normGroups?: number;
  /** k, the width of the convolution. */
  readonly dConv: number;
  /** The least and the greatest dt. Absent: 0, no limit. */
  readonly dtLo?: number;
  readonly dtHi?: number;
  /** Of in_proj and, where it does not have its own word, out_proj. */
  readonly useBias: boolean;
  readonly useOutBias?: boolean;
  readonly useConvBias: boolean;
}

/** The activation points, in the order in which they are computed. */
export const mamba2Sites = [
  'blockIn', //  norm(h)       f32[l, m]     input of in_proj
  'gate', //     z             f32[l, d]     gate of the norm
  'convIn', //   xBC           f32[l, e]     input of the convolution
  'dt', //       dt            f32[l, h]     before its bias and softplus
  'scanIn', //   x             f32[l, d]     input of the scan
  'B', //                      f32[l, g·n]
  'C', //                      f32[l, g·n]
  'scanOut', //  norm(y · z)   f32[l, d]     input of out_proj: rotated by a Hadamard matrix in Quamba
] as const;

/** The past of the convolution, and S. */
export const mamba2States = ['convState', 'ssmState'] as const;

/** The weights that a recipe may quantize, by role. */
export const mamba2Roles = ['inProj', 'conv', 'outProj'] as const;

/**
 * norm(h) f32[l, m] → f32[l, m], with the weights below `prefix`.
 *
 * @param eps of the norm behind the gate.
 */
export function mamba2Mixer(g: Builder, prefix: string, config: Mamba2Mixer, eps: number, normed: Ref): Ref {
  const { dModel: m, heads: h, headDim: p, dState: n, groups, normGroups = groups, dConv: k } = config;
  const { dtLo: lo, dtHi: hi, useBias, useOutBias = useBias } = config;
  const d = h * p;
  const bc = groups * n;
  const e = d + 2 * bc;
  const { weight, optional, part, linear } = layerOf<(typeof mamba2Roles)[number]>(g, prefix);

  const projected = linear('zxBCdt', g.site('blockIn', normed), 'in_proj', [d + e + h, m], 'inProj', useBias);
  const z = g.site('gate', part('z', projected, 0, d));
  const xBC = g.site('convIn', part('xBC', projected, d, e));
  const dt = g.site('dt', part('dtRaw', projected, d + e, h));

  const conv = g.op('conv', ops.causalConv1d, {
    x: xBC,
    w: weight('conv1d.weight', [e, k], 'conv'),
    b: optional('conv1d.bias', [e], config.useConvBias),
    past: g.state('convState', [e, k - 1]),
  });
  const x = g.site('scanIn', part('x', conv, 0, d));
  const B = g.site('B', part('BPart', conv, d, bc));
  const C = g.site('C', part('CPart', conv, d + bc, bc));

  const A = g.op('A', ops.negExp, { x: weight('A_log', [h, 1]) });
  const D = weight('D', [h]);
  const bias = weight('dt_bias', [h]);
  const limits = { ...(lo !== undefined && { lo }), ...(hi !== undefined && { hi }) };
  const S = g.state('ssmState', [h, n, p]);
  const y = g.op('y', ops.ssdScan, { dt, x, A, B, C, D, bias, S }, { g: groups, ...limits });
  const gated = normGroups
    ? g.op('gated', ops.gatedRmsNorm, { x: y, z, w: weight('norm.weight', [d]) }, { eps, g: normGroups })
    : g.op('gated', ops.swiglu, { gate: z, up: y });

  // ← the Hadamard rotation of Quamba acts here; it and the norm's weight go into out_proj
  return linear('out', g.site('scanOut', gated), 'out_proj', [m, d], 'outProj', useOutBias);
}

/** What some files say for infinity, which is not JSON. */
const NO_LIMIT = 1e20;

/** The least and the greatest dt, from the first of these fields that is there. */
export function stepLimits(
  json: JsonObject,
  file: string,
  paths: readonly string[],
): Pick<Mamba2Mixer, 'dtLo' | 'dtHi'> {
  const { at, may } = fields(json, file);
  const isLimit = (v: unknown): boolean =>
    Array.isArray(v) &&
    v.length === 2 &&
    Number.isFinite(v[0]) &&
    typeof v[1] === 'number' &&
    0 <= v[0] &&
    v[0] <= v[1];
  for (const path of paths) may(path, '[lo, hi] with 0 <= lo <= hi, lo finite', isLimit);
  const [lo, hi] = (paths.map(at).find(limit => limit !== undefined) ?? [0, Infinity]) as readonly number[];
  return { ...(lo > 0 && { dtLo: lo }), ...(hi < NO_LIMIT && { dtHi: hi }) };
}
