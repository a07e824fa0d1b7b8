/**
 * Jamba (arXiv 2403.19887) without experts: Mamba or attention in each layer, and an MLP behind each. Its Mamba has norms on dt, B
 * and C; its attention is not told where a token stands.
 *
 *   h ← h + mixer(norm(h)),   h ← h + mlp(norm(h))
 *
 * Source  transformers JambaConfig, JambaModel: names and defaults
 */
import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import type { Architecture } from './architecture.ts';
import { attention } from './blocks/attention.ts';
import { type MambaMixer, mambaMixer, mambaRoles, mambaSites, mambaStates } from './blocks/mamba.ts';
import { fields } from './fields.ts';
import {
  aroundOf,
  type HybridConfig,
  type HybridNames,
  hybridEps,
  hybridLayer,
  hybridWords,
  layerName,
  type Mixer,
  parseHybrid,
  refuseExperts,
} from './hybrid.ts';
import { languageModel } from './language-model.ts';

export interface JambaConfig extends HybridConfig, MambaMixer {
  /** Every `attentionPeriod`-th layer from `attentionOffset` on has attention, the others Mamba. */
  readonly attentionPeriod: number;
  readonly attentionOffset: number;
}

const NAMES: HybridNames = {
  finalNorm: 'model.final_layernorm.weight',
  norm: 'input_layernorm',
  mlpNorm: 'pre_ff_layernorm',
  mlp: 'feed_forward',
  projections: { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' },
};

function block(g: Builder, config: JambaConfig, layer: number, h: Ref): Ref {
  const at = layerName(layer);
  const mixer: Mixer =
    layer % config.attentionPeriod === config.attentionOffset
      ? ['attentionAdded', x => attention(g, `${at}.self_attn`, config, x)]
      : ['mambaAdded', x => mambaMixer(g, `${at}.mamba`, config, x)];
  return hybridLayer(g, NAMES, config, layer, [mixer], h);
}

function parse(json: JsonObject, file: string): JambaConfig {
  const { at, size, times, flag } = fields(json, file);
  const common = parseHybrid(json, file);
  const { dModel, attentionDim, layers } = common;
  /** Of layers of a kind: every which, and which is the first. */
  const every = (kind: string, otherwise: readonly [period: number, offset: number]) => {
    const [field, period] = [`${kind}_layer_offset`, size([`${kind}_layer_period`], otherwise[0])];
    const offset = at(field) ?? otherwise[1];
    if (typeof offset !== 'number' || !Number.isInteger(offset) || offset < 0 || offset >= period)
      throw new RangeError(
        `${file}: ${field} expected an integer from 0 to ${period - 1}, below ${kind}_layer_period; got ${offset}`,
      );
    return [period, offset] as const;
  };
  const [attentionPeriod, attentionOffset] = every('attn', [8, 4]);
  const [, firstExperts] = every('expert', [2, 1]);
  const experts = size(['num_experts'], 16);
  if (experts > 1 && firstExperts < layers) refuseExperts(file, 'num_experts', experts, '1');
  const ranks = ['mamba_dt_rank'].filter(path => at(path) !== 'auto');
  const normEps = hybridEps(json, file, 1e-6);
  return {
    architecture: 'jamba',
    ...common,
    normEps,
    attentionPeriod,
    attentionOffset,
    attentionScale: 1 / Math.sqrt(attentionDim),
    attentionBias: false,
    dInner: times(['mamba_expand'], dModel, 2),
    dState: size(['mamba_d_state'], 16),
    dConv: size(['mamba_d_conv'], 4),
    dtRank: size(ranks, Math.ceil(dModel / 16)),
    useBias: flag(['mamba_proj_bias'], false),
    useConvBias: flag(['mamba_conv_bias'], true),
    mixerNormEps: normEps,
    mixerNormWeights: true,
    dMlp: size(['intermediate_size'], 14336),
    mlpBias: false,
  };
}

export const jamba = {
  name: 'jamba',
  modelType: 'jamba',
  matches: json => json.model_type === 'jamba',
  parse,
  graph: config => languageModel(config, aroundOf(config, NAMES), block),
  ...hybridWords(mambaSites, mambaStates, mambaRoles),
} as const satisfies Architecture<JambaConfig>;
