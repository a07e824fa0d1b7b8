/**
 * Granite 4.0 (IBM): Mamba-2 or attention in each layer, most often nine of ten are Mamba-2, and an MLP behind each. The dense
 * ones, whose layers are all attention, are of this family too, and alone have RoPE.
 *
 *   h ← h + residual · mixer(norm(h)),   h ← h + residual · mlp(norm(h)),   logits = head(norm(h)) / logits_scaling
 *
 * Source  transformers GraniteMoeHybridConfig, GraniteMoeHybridModel: names and defaults. With mamba_n_groups > 1 the norm behind
 *         the gate still has one mean, as there; no public model has more than one group
 */
import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import type { Architecture } from './architecture.ts';
import { attention, type Turns, turnsOf } from './blocks/attention.ts';
import { type Mamba2Mixer, mamba2Mixer, mamba2Roles, mamba2Sites, mamba2States } from './blocks/mamba2.ts';
import { fields } from './fields.ts';
import {
  aroundOf,
  type HybridConfig,
  type HybridNames,
  hybridEps,
  hybridFolds,
  hybridLayer,
  hybridWords,
  layerName,
  type Mixer,
  parseHybrid,
  parseMamba2,
  parseRope,
  refuseExperts,
} from './hybrid.ts';
import { languageModel } from './language-model.ts';

export interface GraniteHybridConfig extends HybridConfig, Mamba2Mixer {
  /** The mixer of each layer. */
  readonly mixers: readonly ('mamba' | 'attention')[];
  readonly residualMultiplier: number;
  readonly logitsScaling: number;
}

const NAMES: HybridNames = {
  finalNorm: 'model.norm.weight',
  norm: 'input_layernorm',
  mlpNorm: 'post_attention_layernorm',
  mlp: 'shared_mlp',
  projections: { gateUp: 'input_linear', down: 'output_linear' },
};

function block(g: Builder, config: GraniteHybridConfig, layer: number, h: Ref, turns?: Turns): Ref {
  const at = layerName(layer);
  const mixer: Mixer =
    config.mixers[layer] === 'mamba'
      ? ['mambaAdded', x => mamba2Mixer(g, `${at}.mamba`, config, config.normEps, x)]
      : ['attentionAdded', x => attention(g, `${at}.self_attn`, config, x, turns)];
  return hybridLayer(g, NAMES, config, layer, [mixer], h);
}

/** Whoever writes to the stream has the residual multiplier, and writes it divided by the embedding's. */
function folds(config: GraniteHybridConfig) {
  const written = config.residualMultiplier / config.embeddingMultiplier;
  return hybridFolds(config, NAMES, {
    'mamba.out_proj.weight': written,
    'mamba.out_proj.bias': written,
    'self_attn.o_proj.weight': written,
    'self_attn.o_proj.bias': written,
    'shared_mlp.output_linear.weight': written,
    logits: 1 / config.logitsScaling,
  });
}

const MIXERS: Readonly<Record<string, 'mamba' | 'attention'>> = {
  mamba: 'mamba',
  attention: 'attention',
  linear_attention: 'mamba', // what transformers 5 calls them
  full_attention: 'attention',
};

function parse(json: JsonObject, file: string): GraniteHybridConfig {
  const { at, may, size, times, factor, flag } = fields(json, file);
  if (at('num_local_experts') !== 0) refuseExperts(file, 'num_local_experts', at('num_local_experts'), '0');
  may('normalization_function', '"rmsnorm"', v => v === 'rmsnorm');
  may('position_embedding_type', '"nope" or "rope"', v => v === 'nope' || v === 'rope');
  const common = parseHybrid(json, file);
  const words = Object.keys(MIXERS);
  const isLayers = (v: unknown): boolean =>
    Array.isArray(v) && v.length === common.layers && v.every(word => words.includes(word));
  may('layer_types', `${common.layers} of ${words.join(', ')}`, isLayers);
  const layers = (at('layer_types') as readonly string[] | undefined) ?? Array(common.layers).fill('mamba');
  const d = times(['mamba_expand'], common.dModel, 2);
  return {
    architecture: 'granite-hybrid',
    ...common,
    normEps: hybridEps(json, file, 1e-6),
    mixers: layers.map(word => MIXERS[word]),
    attentionScale: factor('attention_multiplier'),
    attentionBias: flag(['attention_bias'], false),
    ...(at('position_embedding_type') === 'rope' && { ropeTheta: parseRope(json, file, 1e4) }),
    ...parseMamba2(json, file, d, 'channels (mamba_expand · hidden_size)'),
    normGroups: 1,
    dMlp: size(['shared_intermediate_size'], 1024),
    mlpBias: false,
    residualMultiplier: factor('residual_multiplier'),
    logitsScaling: factor('logits_scaling'),
  };
}

export const graniteHybrid = {
  name: 'granite-hybrid',
  modelType: 'granitemoehybrid',
  matches: json => json.model_type === 'granitemoehybrid',
  parse,
  graph: config =>
    languageModel(config, aroundOf(config, NAMES), block, (g, tokens) => turnsOf(g, config, tokens)),
  folds,
  ...hybridWords(mamba2Sites, mamba2States, mamba2Roles),
} as const satisfies Architecture<GraniteHybridConfig>;
