/**
 * What the hybrids have in common: state space models and attention in one stack with an MLP behind each, and the fields of
 * config.json that say so.
 *
 *   h ← h + mixer(norm(h)),   h ← h + mlp(norm(h))      several mixers of a layer read one norm
 */
import { type JsonObject, show } from '../formats/json.ts';
import type { Builder, Ref } from '../graph.ts';
import { ops } from '../ops/index.ts';
import { ropeFrequencies } from '../ops/rope-table.ts';
import {
  type Attention,
  attentionFloatSites,
  attentionRoles,
  attentionSites,
  attentionStates,
  ROPE_FREQUENCIES,
} from './blocks/attention.ts';
import { layerOf } from './blocks/layer.ts';
import { type Mamba2Mixer, stepLimits } from './blocks/mamba2.ts';
import { type Mlp, type MlpNames, mlp, mlpRoles, mlpSites } from './blocks/mlp.ts';
import { fields, LEAST } from './fields.ts';
import { type Fold, type Folds, inEachLayer } from './folds.ts';
import { type LanguageModelConfig, parseEnds } from './language-model.ts';

export interface HybridConfig extends LanguageModelConfig, Attention, Mlp {
  /** e, what the embedding is multiplied by. */
  readonly embeddingMultiplier: number;
}

/** The words of a family: those of its state space mixer, and what all hybrids add. */
export const hybridWords = <S extends string, T extends string, R extends string>(
  sites: readonly S[],
  states: readonly T[],
  roles: readonly R[],
) => ({
  sites: [...sites, ...attentionSites, ...mlpSites],
  /** Sites that are to their mixer what another is to a state space mixer: its input, and the input of its last projection. */
  sitesLike: { attnIn: 'blockIn', mlpIn: 'blockIn', mlpProduct: 'scanOut' } as const,
  floatSites: attentionFloatSites,
  states: [...states, ...attentionStates],
  roles: [...roles, ...attentionRoles, ...mlpRoles],
});

/** The names of weights: of all layers, and of what they all have. */
export interface HybridNames {
  readonly finalNorm: string;
  readonly norm: string;
  readonly mlpNorm: string;
  readonly mlp: string;
  readonly projections: MlpNames;
}
export const layerName = (layer: number): string => `model.layers.${layer}`;
export const aroundOf = (config: HybridConfig, { finalNorm }: HybridNames) => ({
  embedding: 'model.embed_tokens.weight',
  norm: finalNorm,
  eps: streamEps(config),
});

/** ε of the norms of a stream that is carried divided by e: see folds.ts. */
const streamEps = ({ normEps, embeddingMultiplier: e }: HybridConfig): number => normEps / (e * e);

/** A mixer, norm(h) → what is added to h, and the name of their sum. */
export type Mixer = readonly [sum: string, mixer: (normed: Ref) => Ref];

/** A layer, its residuals included: f32[l, m] → f32[l, m]. All mixers get the norm of what comes in. */
export function hybridLayer(
  g: Builder,
  names: HybridNames,
  config: HybridConfig,
  layer: number,
  mixers: readonly Mixer[],
  given: Ref,
): Ref {
  const eps = streamEps(config);
  const { weight } = layerOf(g, layerName(layer));
  const norm = (name: string, x: Ref, of: string) =>
    g.op(name, ops.rmsNorm, { x, w: weight(`${of}.weight`, [config.dModel]) }, { eps });

  const normed = norm('normed', given, names.norm);
  let h = given;
  for (const [sum, mixer] of mixers) h = g.op(sum, ops.add, { x: h, y: mixer(normed) });
  const { mlp: of, projections } = names;
  const out = mlp(g, `${layerName(layer)}.${of}`, projections, config, norm('mlpNormed', h, names.mlpNorm));
  return g.op('h', ops.add, { x: h, y: out });
}

/** The folds of each layer by the names in it, and those of the last norm and of RoPE. */
export const hybridFolds = (
  { layers, attentionDim, ropeTheta }: HybridConfig,
  { finalNorm }: HybridNames,
  { logits, ...ofLayer }: Readonly<Record<string, Fold>> & { readonly logits: Fold },
): Folds =>
  new Map<string, Fold>([
    ...inEachLayer(layers, layerName, ofLayer),
    [finalNorm, logits],
    ...(ropeTheta === undefined
      ? []
      : [[ROPE_FREQUENCIES, { made: () => ropeFrequencies(ropeTheta, attentionDim / 2) }] as const]),
  ]);

const MOST_LAYERS = 4096;

/** The fields that all have. The defaults are those of transformers' classes. */
export function parseHybrid(
  json: JsonObject,
  file: string,
): Omit<
  HybridConfig,
  'architecture' | 'dMlp' | 'mlpBias' | 'attentionBias' | 'attentionScale' | 'ropeTheta' | 'normEps'
> {
  const { at, may, size, factor, flag } = fields(json, file);
  may('hidden_act', '"silu"', v => v === 'silu');
  may('sliding_window', 'nothing (attention to a part of the text is not supported)', () => false);
  const dModel = size(['hidden_size']);
  const queryHeads = size(['num_attention_heads'], 32);
  const keyHeads = size(['num_key_value_heads'], queryHeads);
  divides(file, 'num_key_value_heads', keyHeads, queryHeads, 'heads (num_attention_heads)');
  if (at('head_dim') === undefined)
    divides(file, 'num_attention_heads', queryHeads, dModel, 'channels (hidden_size)');
  const attentionDim = size(['head_dim'], dModel / queryHeads);
  if (attentionDim % 4)
    throw new RangeError(`${file}: head_dim expected a multiple of 4; got ${attentionDim}`);
  return {
    layers: size(['num_hidden_layers'], undefined, MOST_LAYERS),
    dModel,
    vocabSize: size(['vocab_size']),
    tieEmbeddings: flag(['tie_word_embeddings'], false),
    naming: 'hf',
    ...parseEnds(json, file),
    ...(at('max_position_embeddings') !== undefined && { maxPositions: size(['max_position_embeddings']) }),
    queryHeads,
    keyHeads,
    attentionDim,
    embeddingMultiplier: factor('embedding_multiplier'),
  };
}

/** The eps of the norms, which is to be one in the units of the stream too. */
export function hybridEps(json: JsonObject, file: string, fallback: number): number {
  const { eps, factor } = fields(json, file);
  const own = eps(['rms_norm_eps'], fallback);
  const e = factor('embedding_multiplier');
  const stream = own / (e * e);
  if (!(stream >= LEAST && stream < 1))
    throw new RangeError(
      `${file}: embedding_multiplier expected one whose square divides rms_norm_eps ${own} to ${LEAST} … 1; got ${e}`,
    );
  return own;
}

/** The base of RoPE: transformers 5 has it in `rope_parameters`, files before that beside the others. */
export function parseRope(json: JsonObject, file: string, fallback: number): number {
  const { may, base } = fields(json, file);
  const isPlain = (v: unknown) => v === 'default';
  for (const path of ['rope_parameters.rope_type', 'rope_scaling.rope_type', 'rope_scaling.type'])
    may(path, '"default" (scaled RoPE is not supported)', isPlain);
  for (const path of ['rope_parameters.partial_rotary_factor', 'partial_rotary_factor'])
    may(path, '1 (RoPE on a part of the channels is not supported)', v => v === 1);
  return base(['rope_parameters.rope_theta', 'rope_theta'], fallback);
}

/** Mamba-2's mixer of d channels, which `channels` explains. */
export function parseMamba2(
  json: JsonObject,
  file: string,
  d: number,
  channels: string,
): Omit<Mamba2Mixer, 'dModel'> {
  const { at, size, flag } = fields(json, file);
  const heads = size(['mamba_n_heads'], 128);
  divides(file, 'mamba_n_heads', heads, d, channels);
  const headDim = at('mamba_d_head') === 'auto' ? d / heads : size(['mamba_d_head'], d / heads);
  if (heads * headDim !== d)
    throw new RangeError(
      `${file}: mamba_d_head expected ${d / heads}, ${d} ${channels} in ${heads} heads; got ${headDim}`,
    );
  const groups = size(['mamba_n_groups'], 1);
  divides(file, 'mamba_n_groups', groups, heads, 'heads (mamba_n_heads)');
  const dState = size(['mamba_d_state'], 256);
  if (dState % 4) throw new RangeError(`${file}: mamba_d_state expected a multiple of 4; got ${dState}`);
  return {
    heads,
    headDim,
    dState,
    groups,
    dConv: size(['mamba_d_conv'], 4),
    ...stepLimits(json, file, ['time_step_limit']),
    useBias: flag(['mamba_proj_bias'], false),
    useConvBias: flag(['mamba_conv_bias'], true),
  };
}

function divides(file: string, field: string, part: number, whole: number, what: string): void {
  if (whole % part)
    throw new RangeError(`${file}: ${field} expected a divisor of ${whole} ${what}; got ${part}`);
}

/** @throws RangeError for a field that says how many experts there are. */
export function refuseExperts(file: string, field: string, experts: unknown, expected: string): never {
  throw new RangeError(
    `${file}: ${field} expected ${expected} (a mixture of experts is not supported: all its experts must be in memory, and those of the smallest model, 6.9 GB in int8, are more than a WebAssembly memory holds); got ${show(experts)}`,
  );
}
