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
 *
 * Source  transformers MambaConfig · state-spaces/mamba MambaConfig: names and defaults of config.json
 */

import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import { ops } from '../ops/index.ts';
import type { Architecture, Config } from './architecture.ts';
import { fields } from './fields.ts';
import {
  isStateSpaces,
  type LanguageModelConfig,
  languageModel,
  layerOf,
  padded,
  parseLanguageModel,
} from './language-model.ts';

export interface MambaConfig extends LanguageModelConfig {
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
  /** Falcon-Mamba's norm on dt, B and C, which has no weights. */
  readonly mixerNormEps?: number;
}

/** The activation points inside a block, in the order in which they are computed (the nine that the paper quantizes). */
const sites = [
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

/** The states of a block: the past of the convolution, and h. */
const states = ['convState', 'ssmState'] as const;

/** The weights of a block that a recipe may quantize, by role. */
const roles = ['inProj', 'conv', 'xProj', 'dtProj', 'outProj'] as const;

/** What a block needs to know of its model. */
export type BlockConfig = Omit<MambaConfig, keyof Config | 'tieEmbeddings' | 'naming'>;

/**
 * One Mamba layer, its residual included: h f32[l, m] → f32[l, m]. Its weights are `backbone.layers.<layer>.…`; its values, sites
 * and states have the scope of `g`.
 */
export function block(g: Builder, config: BlockConfig, layer: number, h: Ref): Ref {
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, normEps: eps, mixerNormEps } = config;
  const { weight, optional, part } = layerOf<(typeof roles)[number]>(g, layer);
  /** Falcon-Mamba's extra norm on dt, B and C; plain Mamba has none. */
  const mixerNorm = (name: string, x: Ref) =>
    mixerNormEps === undefined ? x : g.op(name, ops.rmsNorm, { x }, { eps: mixerNormEps });

  const normed = g.op('normed', ops.rmsNorm, { x: h, w: weight('norm.weight', [m]) }, { eps });
  const xz = g.op('xz', ops.linear, {
    x: g.site('blockIn', normed),
    w: weight('mixer.in_proj.weight', [2 * d, m], 'inProj'),
    b: optional('mixer.in_proj.bias', [2 * d], config.useBias),
  });
  const x = g.site('convIn', part('x', xz, 0, d));
  const z = g.site('gate', part('z', xz, d, d));

  const conv = g.op('conv', ops.causalConv1d, {
    x,
    w: weight('mixer.conv1d.weight', [d, k], 'conv'),
    b: optional('mixer.conv1d.bias', [d], config.useConvBias),
    past: g.state('convState', [d, k - 1]),
  });
  const u = g.site('scanIn', conv); // ← the percentile clip of Quamba acts here

  const dtBC = g.op('dtBC', ops.linear, { x: u, w: weight('mixer.x_proj.weight', [r + 2 * n, d], 'xProj') });
  const dtLow = g.site('dtLow', mixerNorm('dtNormed', part('dtPart', dtBC, 0, r)));
  const B = g.site('B', mixerNorm('BNormed', part('BPart', dtBC, r, n)));
  const C = g.site('C', mixerNorm('CNormed', part('CPart', dtBC, r + n, n)));
  const dtRaw = g.op('dtRaw', ops.linear, {
    x: dtLow,
    w: weight('mixer.dt_proj.weight', [d, r], 'dtProj'),
    b: weight('mixer.dt_proj.bias', [d]),
  });
  const dt = g.op('dtPositive', ops.softplus, { x: g.site('dt', dtRaw) });

  const A = g.op('A', ops.negExp, { x: weight('mixer.A_log', [d, n]) });
  const D = weight('mixer.D', [d]);
  const y = g.op('y', ops.selectiveScan, { u, dt, A, B, C, D, z, h: g.state('ssmState', [d, n]) });

  const out = g.op('out', ops.linear, {
    x: g.site('scanOut', y), // ← the Hadamard rotation of Quamba acts here and is folded into out_proj
    w: weight('mixer.out_proj.weight', [m, d], 'outProj'),
    b: optional('mixer.out_proj.bias', [m], config.useBias),
  });
  return g.op('h', ops.add, { x: h, y: out });
}

function parse(json: JsonObject, file: string): MambaConfig {
  const { at, may, size, times, flag } = fields(json, file);
  may('ssm_cfg.layer', '"Mamba1" or "Mamba2"', v => v === 'Mamba1');
  const { layers, dModel, vocabSize, normEps, tieEmbeddings, ...rest } = parseLanguageModel(json, file);
  const ranks = ['time_step_rank', 'ssm_cfg.dt_rank', 'dt_rank'].filter(path => at(path) !== 'auto');
  // The order of the fields belongs to the identity of a model, by which plans and statistics on disks know it.
  return {
    architecture: 'mamba',
    layers,
    dModel,
    // falcon-mamba-7b says expand 16 and intermediate_size 8192 = 2 · 4096: the size is right.
    dInner: size(['intermediate_size', 'd_inner'], () => times(['expand', 'ssm_cfg.expand'], dModel, 2)),
    dState: size(['state_size', 'ssm_cfg.d_state', 'd_state'], 16),
    dConv: size(['conv_kernel', 'ssm_cfg.d_conv', 'd_conv'], 4),
    dtRank: size(ranks, Math.ceil(dModel / 16)),
    vocabSize,
    normEps,
    tieEmbeddings,
    useBias: flag(['use_bias', 'ssm_cfg.bias'], false),
    useConvBias: flag(['use_conv_bias', 'ssm_cfg.conv_bias'], true),
    ...rest,
  };
}

export const mamba = {
  name: 'mamba',
  modelType: 'mamba',
  matches: json => json.model_type === 'mamba' || isStateSpaces(json, 'Mamba1'),
  parse,
  complete: padded,
  graph: config => languageModel(config, block),
  sites,
  states,
  roles,
} as const satisfies Architecture<MambaConfig>;
