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
 * This file knows no recipe. The mixer, blocks/mamba.ts, is Jamba's too.
 *
 * Source  transformers MambaConfig · state-spaces/mamba MambaConfig: names and defaults of config.json
 */

import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import { ops } from '../ops/index.ts';
import type { Architecture, Config } from './architecture.ts';
import { layerOf } from './blocks/layer.ts';
import { type MambaMixer, mambaMixer, mambaRoles, mambaSites, mambaStates } from './blocks/mamba.ts';
import { fields } from './fields.ts';
import {
  BACKBONE,
  isStateSpaces,
  type LanguageModelConfig,
  languageModel,
  padded,
  parseLanguageModel,
} from './language-model.ts';

export interface MambaConfig extends LanguageModelConfig, MambaMixer {}

/** What a block needs to know of its model. */
export type BlockConfig = Omit<MambaConfig, keyof Config | 'tieEmbeddings' | 'naming'>;

/**
 * One Mamba layer, its residual included: h f32[l, m] → f32[l, m]. Its weights are `backbone.layers.<layer>.…`; its values, sites
 * and states have the scope of `g`.
 */
export function block(g: Builder, config: BlockConfig, layer: number, h: Ref): Ref {
  const { dModel: m, normEps: eps } = config;
  const { weight } = layerOf(g, `backbone.layers.${layer}`);
  const normed = g.op('normed', ops.rmsNorm, { x: h, w: weight('norm.weight', [m]) }, { eps });
  const out = mambaMixer(g, `backbone.layers.${layer}.mixer`, config, normed);
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
  graph: config => languageModel(config, BACKBONE, block),
  sites: mambaSites,
  states: mambaStates,
  roles: mambaRoles,
} as const satisfies Architecture<MambaConfig>;
