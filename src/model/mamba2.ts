/**
 * Mamba-2 (arXiv 2405.21060): a language model whose every layer is a state space model with one decay a head, as a composition.
 *
 *   l  tokens in this call                       S  SSM state f32[h, n, p], carried from token to token
 *   m  d_model, width of the residual stream     A  −exp(A_log): one decay a head; D the skip of a head: fixed, learned
 *   h  heads, p channels each                    B, C  of each of g groups; dt of each head: made from each token
 *   d  d_inner = h·p, channels of the SSM        z  the gate of the norm before out_proj
 *   n  state size of each channel (128)          x  the scan's input, after the convolution
 *   g  groups of heads that share B and C        y  what the scan writes; it stays float
 *   k  width of the convolution (4)              xBC  x, B and C side by side, which one convolution mixes: e = d + 2·g·n
 *
 * What it shares with Mamba has the same word (mamba.ts). This file knows no recipe.
 *
 * Source  transformers Mamba2Config · state-spaces/mamba Mamba2, MambaConfig: names and defaults of config.json.
 *         With g > 1 the gated norm has g groups, as in state-spaces and llama.cpp; transformers has one
 */
import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import { ops } from '../ops/index.ts';
import type { Architecture } from './architecture.ts';
import { fields } from './fields.ts';
import {
  isStateSpaces,
  type LanguageModelConfig,
  languageModel,
  layerOf,
  padded,
  parseLanguageModel,
} from './language-model.ts';

export interface Mamba2Config extends LanguageModelConfig {
  /** h, and p, the channels of each. */
  readonly heads: number;
  readonly headDim: number;
  /** n, the state size of a channel. */
  readonly dState: number;
  /** g, the groups of heads that share B and C. */
  readonly groups: number;
  /** k, the width of the convolution. */
  readonly dConv: number;
  /** The least and the greatest dt. Absent: 0, no limit. */
  readonly dtLo?: number;
  readonly dtHi?: number;
  /** Of in_proj and out_proj. */
  readonly useBias: boolean;
  readonly useConvBias: boolean;
}

/** The activation points inside a block, in the order in which they are computed. */
const sites = [
  'blockIn', //  norm(h)       f32[l, m]     input of in_proj
  'gate', //     z             f32[l, d]     gate of the norm
  'convIn', //   xBC           f32[l, e]     input of the convolution
  'dt', //       dt            f32[l, h]     before its bias and softplus
  'scanIn', //   x             f32[l, d]     input of the scan
  'B', //                      f32[l, g·n]
  'C', //                      f32[l, g·n]
  'scanOut', //  norm(y · z)   f32[l, d]     input of out_proj: rotated by a Hadamard matrix in Quamba
] as const;

/** The states of a block: the past of the convolution, and S. */
const states = ['convState', 'ssmState'] as const;

/** The weights of a block that a recipe may quantize, by role. */
const roles = ['inProj', 'conv', 'outProj'] as const;

/** One Mamba-2 layer, its residual included: h f32[l, m] → f32[l, m]. Its weights are `backbone.layers.<layer>.…`. */
function block(g: Builder, config: Mamba2Config, layer: number, residual: Ref): Ref {
  const { dModel: m, heads: h, headDim: p, dState: n, groups, dConv: k, normEps: eps } = config;
  const { dtLo: lo, dtHi: hi } = config;
  const d = h * p;
  const bc = groups * n;
  const e = d + 2 * bc;
  const { weight, optional, part } = layerOf<(typeof roles)[number]>(g, layer);

  const normed = g.op('normed', ops.rmsNorm, { x: residual, w: weight('norm.weight', [m]) }, { eps });
  const projected = g.op('zxBCdt', ops.linear, {
    x: g.site('blockIn', normed),
    w: weight('mixer.in_proj.weight', [d + e + h, m], 'inProj'),
    b: optional('mixer.in_proj.bias', [d + e + h], config.useBias),
  });
  const z = g.site('gate', part('z', projected, 0, d));
  const xBC = g.site('convIn', part('xBC', projected, d, e));
  const dt = g.site('dt', part('dtRaw', projected, d + e, h));

  const conv = g.op('conv', ops.causalConv1d, {
    x: xBC,
    w: weight('mixer.conv1d.weight', [e, k], 'conv'),
    b: optional('mixer.conv1d.bias', [e], config.useConvBias),
    past: g.state('convState', [e, k - 1]),
  });
  const x = g.site('scanIn', part('x', conv, 0, d));
  const B = g.site('B', part('BPart', conv, d, bc));
  const C = g.site('C', part('CPart', conv, d + bc, bc));

  const A = g.op('A', ops.negExp, { x: weight('mixer.A_log', [h, 1]) });
  const D = weight('mixer.D', [h]);
  const bias = weight('mixer.dt_bias', [h]);
  const limits = { ...(lo !== undefined && { lo }), ...(hi !== undefined && { hi }) };
  const S = g.state('ssmState', [h, n, p]);
  const y = g.op('y', ops.ssdScan, { dt, x, A, B, C, D, bias, S }, { g: groups, ...limits });
  const gated = g.op(
    'gated',
    ops.gatedRmsNorm,
    { x: y, z, w: weight('mixer.norm.weight', [d]) },
    { eps, g: groups },
  );

  const out = g.op('out', ops.linear, {
    x: g.site('scanOut', gated), // ← the Hadamard rotation of Quamba acts here; it and the norm's weight go into out_proj
    w: weight('mixer.out_proj.weight', [m, d], 'outProj'),
    b: optional('mixer.out_proj.bias', [m], config.useBias),
  });
  return g.op('h', ops.add, { x: residual, y: out });
}

/** What some files say for infinity, which is not JSON. */
const NO_LIMIT = 1e20;

function parse(json: JsonObject, file: string): Mamba2Config {
  const { at, may, size, times, flag } = fields(json, file);
  const isLimit = (v: unknown): boolean =>
    Array.isArray(v) &&
    v.length === 2 &&
    Number.isFinite(v[0]) &&
    typeof v[1] === 'number' &&
    0 <= v[0] &&
    v[0] <= v[1];
  for (const path of ['time_step_limit', 'ssm_cfg.dt_limit'])
    may(path, '[lo, hi] with 0 <= lo <= hi, lo finite', isLimit);
  may('ssm_cfg.D_has_hdim', 'false (a D of each channel is not supported)', v => v === false);
  may('ssm_cfg.rmsnorm', 'true (a block without a gated norm is not supported)', v => v === true);
  may('ssm_cfg.norm_before_gate', 'false', v => v === false); // transformers' field of this name is read by nobody
  may('ssm_cfg.d_ssm', 'nothing (an MLP beside the scan is not supported)', v => v === undefined);
  const common = parseLanguageModel(json, file);
  const isHf = common.naming === 'hf';
  const headDim = size(['head_dim', 'ssm_cfg.headdim'], 64);
  const d = times(['expand', 'ssm_cfg.expand'], common.dModel, 2);
  const channels = `${d} channels (expand · hidden_size)`;
  if (d % headDim)
    throw new RangeError(`${file}: head_dim expected a divisor of ${channels}; got ${headDim}`);
  const heads = size(['num_heads'], d / headDim);
  if (heads * headDim !== d)
    throw new RangeError(
      `${file}: num_heads expected ${d / headDim}, ${channels} in heads of ${headDim}; got ${heads}`,
    );
  const groups = size(['n_groups', 'ssm_cfg.ngroups'], isHf ? 8 : 1);
  if (heads % groups)
    throw new RangeError(`${file}: n_groups expected a divisor of ${heads} heads; got ${groups}`);
  const limit = at('time_step_limit') ?? at('ssm_cfg.dt_limit') ?? [0, Infinity];
  const [lo, hi] = limit as readonly [number, number];
  const dState = size(['state_size', 'ssm_cfg.d_state'], 128);
  if (dState % 4) throw new RangeError(`${file}: state_size expected a multiple of 4; got ${dState}`);
  return {
    architecture: 'mamba2',
    ...common,
    tieEmbeddings: flag(['tie_word_embeddings', 'tie_embeddings'], !isHf),
    heads,
    headDim,
    dState,
    groups,
    dConv: size(['conv_kernel', 'ssm_cfg.d_conv'], 4),
    ...(lo > 0 && { dtLo: lo }),
    ...(hi < NO_LIMIT && { dtHi: hi }),
    useBias: flag(['use_bias', 'ssm_cfg.bias'], false),
    useConvBias: flag(['use_conv_bias', 'ssm_cfg.conv_bias'], true),
  };
}

export const mamba2 = {
  name: 'mamba2',
  modelType: 'mamba2',
  matches: json => json.model_type === 'mamba2' || isStateSpaces(json, 'Mamba2'),
  parse,
  complete: padded,
  graph: config => languageModel(config, block),
  sites,
  states,
  roles,
} as const satisfies Architecture<Mamba2Config>;
