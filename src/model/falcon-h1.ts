/**
 * Falcon-H1 (arXiv 2507.22448): Mamba-2 and attention beside each other in every layer, then an MLP.
 *
 *   u = norm(h),   h ← h + mamba(u) + attention(u),   h ← h + mlp(norm(h))
 *
 * Thirteen multipliers stand in config.json; `folds` says where each goes.
 *
 * Source  transformers FalconH1Config, FalconH1Model: names and defaults. There the mixers are added to each other before they are
 *         added to h
 */
import type { JsonObject } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import type { Architecture } from './architecture.ts';
import { attention, type Turns, turnsOf } from './blocks/attention.ts';
import { type Mamba2Mixer, mamba2Mixer, mamba2Roles, mamba2Sites, mamba2States } from './blocks/mamba2.ts';
import { fields } from './fields.ts';
import type { Run } from './folds.ts';
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
} from './hybrid.ts';
import { languageModel } from './language-model.ts';

export interface FalconH1Config extends HybridConfig, Mamba2Mixer {
  readonly attentionInMultiplier: number;
  readonly attentionOutMultiplier: number;
  readonly keyMultiplier: number;
  readonly ssmInMultiplier: number;
  readonly ssmOutMultiplier: number;
  /** Of z, x, B, C and dt. */
  readonly ssmMultipliers: readonly number[];
  /** Of the gate, and of what down_proj gives. */
  readonly mlpMultipliers: readonly number[];
  readonly headMultiplier: number;
}

const NAMES: HybridNames = {
  finalNorm: 'model.final_layernorm.weight',
  norm: 'input_layernorm',
  mlpNorm: 'pre_ff_layernorm',
  mlp: 'feed_forward',
  projections: { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' },
};

function block(g: Builder, config: FalconH1Config, layer: number, h: Ref, turns?: Turns): Ref {
  const at = layerName(layer);
  const mixers: readonly Mixer[] = [
    ['mambaAdded', x => mamba2Mixer(g, `${at}.mamba`, config, config.normEps, x)],
    ['attentionAdded', x => attention(g, `${at}.self_attn`, config, x, turns)],
  ];
  return hybridLayer(g, NAMES, config, layer, mixers, h);
}

/** A multiplier of what a projection reads does not multiply its bias; one of what it gives does. */
function folds(config: FalconH1Config) {
  const { heads, headDim, groups, dState, embeddingMultiplier: e } = config;
  const { attentionInMultiplier: attentionIn, keyMultiplier: key, ssmInMultiplier: ssmIn } = config;
  const [gate, down] = config.mlpMultipliers;
  const sizes = [heads * headDim, heads * headDim, groups * dState, groups * dState, heads]; // z, x, B, C, dt
  const parts = (times: number) => sizes.map((size, i): Run => [size, config.ssmMultipliers[i] * times]);
  return hybridFolds(config, NAMES, {
    'mamba.in_proj.weight': parts(ssmIn),
    'mamba.in_proj.bias': parts(1),
    'mamba.out_proj.weight': config.ssmOutMultiplier / e,
    'mamba.out_proj.bias': config.ssmOutMultiplier / e,
    'self_attn.q_proj.weight': attentionIn,
    'self_attn.k_proj.weight': attentionIn * key,
    'self_attn.k_proj.bias': key,
    'self_attn.v_proj.weight': attentionIn,
    'self_attn.o_proj.weight': config.attentionOutMultiplier / e,
    'self_attn.o_proj.bias': config.attentionOutMultiplier / e,
    'feed_forward.gate_proj.weight': gate,
    'feed_forward.gate_proj.bias': gate,
    'feed_forward.down_proj.weight': down / e,
    'feed_forward.down_proj.bias': down / e,
    logits: config.headMultiplier,
  });
}

function parse(json: JsonObject, file: string): FalconH1Config {
  const { at, may, size, times, factor, flag } = fields(json, file);
  const factors = (path: string, count: number): readonly number[] => {
    const holds = (v: unknown) =>
      Array.isArray(v) && v.length === count && v.every(x => Number.isFinite(x) && x > 0);
    may(path, `${count} positive numbers`, holds);
    return (at(path) as readonly number[] | undefined) ?? Array(count).fill(1);
  };
  const hasNorm = flag(['mamba_rms_norm'], false);
  if (hasNorm && flag(['mamba_norm_before_gate'], true))
    throw new RangeError(
      `${file}: mamba_norm_before_gate expected false beside mamba_rms_norm true (a gate behind the norm is not supported)`,
    );
  const common = parseHybrid(json, file);
  const { attentionDim, dModel } = common;
  const inner = json.mamba_d_ssm === null ? times(['mamba_expand'], dModel, 2) : size(['mamba_d_ssm'], 1024);
  const mixer = parseMamba2(json, file, inner, 'channels (mamba_d_ssm, or mamba_expand · hidden_size)');
  return {
    architecture: 'falcon-h1',
    ...common,
    normEps: hybridEps(json, file, 1e-5),
    attentionScale: 1 / Math.sqrt(attentionDim),
    attentionBias: flag(['attention_bias'], false),
    ropeTheta: parseRope(json, file, 1e5),
    ...mixer,
    normGroups: hasNorm ? mixer.groups : 0,
    useOutBias: flag(['projectors_bias'], false),
    dMlp: size(['intermediate_size'], 14336),
    mlpBias: flag(['mlp_bias'], false),
    attentionInMultiplier: factor('attention_in_multiplier'),
    attentionOutMultiplier: factor('attention_out_multiplier'),
    keyMultiplier: factor('key_multiplier'),
    ssmInMultiplier: factor('ssm_in_multiplier'),
    ssmOutMultiplier: factor('ssm_out_multiplier'),
    ssmMultipliers: factors('ssm_multipliers', 5),
    mlpMultipliers: factors('mlp_multipliers', 2),
    headMultiplier: factor('lm_head_multiplier'),
  };
}

export const falconH1 = {
  name: 'falcon-h1',
  modelType: 'falcon_h1',
  matches: json => json.model_type === 'falcon_h1',
  parse,
  graph: config =>
    languageModel(config, aroundOf(config, NAMES), block, (g, tokens) => turnsOf(g, config, tokens)),
  folds,
  ...hybridWords(mamba2Sites, mamba2States, mamba2Roles),
} as const satisfies Architecture<FalconH1Config>;
