/**
 * Small models of every family with weights from a seed. They have everything that large models have, and take a second to run. They have the two
 * kinds of outliers that Quamba is made for: a few channels of the scan's output are 40 times as large as the others, and so are a few
 * channels of its input.
 */

import { type Program, weightsOf } from '../graph.ts';
import { outlineOf, parseConfig } from '../model/index.ts';
import type { LanguageModelConfig } from '../model/language-model.ts';
import type { MambaConfig } from '../model/mamba.ts';
import type { Mamba2Config } from '../model/mamba2.ts';
import { once } from '../once.ts';
import { calibrate, needsCalibration } from '../quant/calibrate.ts';
import { planOf } from '../quant/pipeline.ts';
import type { Recipe } from '../quant/scheme.ts';
import type { Stats } from '../quant/stats.ts';
import { sizeOf, type Tensor, tensor } from '../tensor.ts';
import { random } from '../text/random.ts';

/** f32 values around 0, with a variance of about `spread`². */
export function noise(size: number, next: () => number, spread = 1): Float32Array {
  return Float32Array.from({ length: size }, () => spread * (next() + next() + next() - 1.5) * 2);
}

export type AnyToy = Toy<LanguageModelConfig>;
export interface Toy<C extends LanguageModelConfig = MambaConfig> {
  readonly name: string;
  readonly config: C;
  readonly program: Program;
  /** Calibration samples. */
  readonly samples: readonly Int32Array[];
  /** A text that calibration does not see. */
  readonly text: Int32Array;
}

const plain: MambaConfig = {
  architecture: 'mamba',
  layers: 2,
  dModel: 24, // 12 · 2, and d_inner is 12 · 4
  dInner: 48,
  dState: 4,
  dConv: 4,
  dtRank: 2,
  vocabSize: 32,
  normEps: 1e-5,
  tieEmbeddings: true,
  useBias: false,
  useConvBias: true,
  naming: 'hf',
};
const falcon: MambaConfig = {
  ...plain,
  architecture: 'falcon-mamba',
  tieEmbeddings: false,
  mixerNormEps: 1e-6,
};
/** M_20 and M_40, which are not symmetric, as in the 2.8 B model; and the biases that the others lack. */
const twenty: MambaConfig = { ...plain, dModel: 20, dInner: 40, useBias: true, useConvBias: false };

/** Two groups of heads of 8 channels, 12 states, a limit on both sides of dt. */
const mamba2: Mamba2Config = {
  architecture: 'mamba2',
  layers: 2,
  dModel: 24,
  heads: 6,
  headDim: 8,
  dState: 12,
  groups: 2,
  dConv: 4,
  dtLo: 0.01,
  dtHi: 0.5,
  vocabSize: 32,
  normEps: 1e-5,
  tieEmbeddings: true,
  useBias: false,
  useConvBias: true,
  naming: 'hf',
};

/** Of Mamba and Falcon-Mamba, which have the same words for recipes. */
export const toys = once((): readonly Toy[] => [
  makeToy('toy', plain, 1),
  makeToy('toy-falcon', falcon, 2),
  makeToy('toy-20', twenty, 3),
]);

/** Of Mamba-2. */
export const toy2 = once((): Toy<Mamba2Config> => makeToy('toy-mamba2', mamba2, 4));

/** Heads of 8 channels: four that read the keys of two, and six of Mamba-2 in two groups. */
const hybrid = {
  ...{ num_hidden_layers: 2, hidden_size: 24, vocab_size: 32, tie_word_embeddings: true },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, intermediate_size: 20 },
  ...{ mamba_n_heads: 6, mamba_d_state: 12, mamba_n_groups: 2, time_step_limit: [0.01, 0.5] },
};
const granite = {
  ...hybrid,
  ...{ model_type: 'granitemoehybrid', num_local_experts: 0, layer_types: ['mamba', 'attention'] },
  ...{ shared_intermediate_size: 20, rms_norm_eps: 1e-5, attention_multiplier: 0.125 },
  ...{ embedding_multiplier: 12, residual_multiplier: 0.5, logits_scaling: 3 },
};
const falconH1 = {
  ...hybrid,
  ...{ model_type: 'falcon_h1', mamba_d_ssm: 48, rope_theta: 1e11, key_multiplier: 0.5, mlp_bias: true },
  ...{ ssm_multipliers: [0.5, 0.7, 1, 1.5, 1.2], embedding_multiplier: 4, lm_head_multiplier: 0.5 },
};
const jamba = {
  ...hybrid,
  ...{ model_type: 'jamba', num_experts: 1, attn_layer_period: 2, attn_layer_offset: 1 },
  ...{ mamba_d_state: 4, mamba_dt_rank: 2 },
};

/** Of the hybrids: Granite 4.0 with a layer of each kind, Falcon-H1 without the norm behind its gate, Jamba. */
export const hybridToys = once((): readonly AnyToy[] =>
  [granite, falconH1, jamba].map((json, i) => {
    const config = parseConfig(json, 'toy') as LanguageModelConfig;
    return makeToy(`toy-${config.architecture}`, config, 5 + i);
  }),
);

/** One value after the other of a weight. */
type Maker = (shape: readonly number[], normal: (spread: number) => number) => (i: number) => number;

const spread =
  (of: (shape: readonly number[]) => number, mean = 0): Maker =>
  (shape, normal) =>
  () =>
    mean + normal(of(shape));
/** Channels that stick out. */
const isLarge = (channel: number) => channel % 17 === 3;

/** How each kind of weight is made, by the end of its name. */
/* biome-ignore format: a table */
const makers: readonly (readonly [end: string, maker: Maker])[] = [
  ['embeddings.weight', spread(() => 1)],
  ['embed_tokens.weight', spread(() => 1)],
  ['lm_head.weight', spread(() => 1)],
  ['norm.weight', (_, normal) => () => 1 + 0.2 * normal(1)],
  ['norm_f.weight', (_, normal) => () => 1 + 0.2 * normal(1)],
  ['in_proj.weight', spread(([, m]) => 1.5 / Math.sqrt(m))],
  ['conv1d.weight', ([, k], normal) => i => (isLarge((i / k) >> 0) ? 2 : 1) * normal(0.6)],
  ['x_proj.weight', spread(([, d]) => 1 / Math.sqrt(d))],
  ['dt_proj.weight', spread(() => 0.25)],
  ['dt_proj.bias', spread(() => 1, -2)],
  ['dt_bias', spread(() => 1, -2)],
  ['A_log', ([, n], normal) => i => [0, 0.69, 1.1, 1.39][(n === 1 ? i : i % n) % 4] + normal(0.05)],
  ['.D', (_, normal) => i => (isLarge(i + 5) ? 40 : 1) * (1 + normal(0.2))],
  ['out_proj.weight', ([, d], normal) => i => (isLarge((i % d) + 5) ? 0.025 : 1) * normal(1 / Math.sqrt(d))],
  ['.bias', spread(() => 0.1)],
  ['.weight', spread(([, columns]) => 1 / Math.sqrt(columns))],
];

/** A model of this config with weights from the seed. */
export function makeToy<C extends LanguageModelConfig>(name: string, config: C, seed: number): Toy<C> {
  const next = random(seed);
  const normal = (of: number) => noise(1, next, of)[0];
  const tensors = new Map<string, Tensor>();
  const { graph, stored, read } = outlineOf(config);
  for (const [ref, { shape }] of stored) {
    const [, make] = makers.find(([end]) => ref.endsWith(end))!;
    const value = make(shape, normal);
    const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(i));
    tensors.set(ref, tensor(data, shape));
  }

  const tokens = (size: number) =>
    Int32Array.from({ length: size }, () => Math.floor(next() * config.vocabSize));
  return {
    name,
    config,
    program: { graph, weights: read(weightsOf(tensors)) },
    samples: Array.from({ length: 6 }, () => tokens(32)),
    text: tokens(32),
  };
}

const memory = new Map<string, unknown>();
/** Calls `make` once for each key. Plans do not change, so tests can share them. */
function shared<T>(key: string, make: () => T): T {
  if (!memory.has(key)) memory.set(key, make());
  return memory.get(key) as T;
}
const key = ({ name }: AnyToy, recipe: Recipe) => `${name} ${JSON.stringify(recipe)}`;

export const statsOfToy = (of: AnyToy, recipe: Recipe): Stats =>
  shared(`stats ${key(of, recipe)}`, () =>
    needsCalibration(of.program, recipe)
      ? calibrate(of.program, recipe, of.samples)
      : { channels: {}, ranges: {} },
  );

/** The fused plan of a recipe. */
export const planOfToy = (of: AnyToy, recipe: Recipe): Program =>
  shared(`plan ${key(of, recipe)}`, () => planOf(of.program, recipe, statsOfToy(of, recipe)));
