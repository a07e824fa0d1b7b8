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
import { layerOf } from './blocks/layer.ts';
import {
  type Mamba2Mixer,
  mamba2Mixer,
  mamba2Roles,
  mamba2Sites,
  mamba2States,
  stepLimits,
} from './blocks/mamba2.ts';
import { fields } from './fields.ts';
import {
  BACKBONE,
  isStateSpaces,
  type LanguageModelConfig,
  languageModel,
  padded,
  parseLanguageModel,
} from './language-model.ts';

export interface Mamba2Config extends LanguageModelConfig, Mamba2Mixer {}

/** One Mamba-2 layer, its residual included: h f32[l, m] → f32[l, m]. Its weights are `backbone.layers.<layer>.…`. */
function block(g: Builder, config: Mamba2Config, layer: number, residual: Ref): Ref {
  const { dModel: m, normEps: eps } = config;
  const { weight } = layerOf(g, `backbone.layers.${layer}`);
  const normed = g.op('normed', ops.rmsNorm, { x: residual, w: weight('norm.weight', [m]) }, { eps });
  const out = mamba2Mixer(g, `backbone.layers.${layer}.mixer`, config, eps, normed);
  return g.op('h', ops.add, { x: residual, y: out });
}

function parse(json: JsonObject, file: string): Mamba2Config {
  const { may, size, times, flag } = fields(json, file);
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
    ...stepLimits(json, file, ['time_step_limit', 'ssm_cfg.dt_limit']),
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
  graph: config => languageModel(config, BACKBONE, block),
  sites: mamba2Sites,
  states: mamba2States,
  roles: mamba2Roles,
} as const satisfies Architecture<Mamba2Config>;
