/**
 * Small Mamba models with seeded weights: everything that the large ones have, in a second. The planted outliers are of
 * the two kinds that Quamba is about: a few channels of the scan's output that are 40 times as large as the others, and a
 * few of its input.
 */

import { type Program, weightsOf } from '../graph.ts';
import type { MambaConfig } from '../model/config.ts';
import { mamba } from '../model/mamba.ts';
import { once } from '../once.ts';
import { calibrate, needsCalibration } from '../quant/calibrate.ts';
import type { Stats } from '../quant/lower.ts';
import { planOf } from '../quant/pipeline.ts';
import type { Recipe } from '../quant/scheme.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { random } from '../text/random.ts';

/** f32 values that are spread about 0 with a variance of about `spread`². */
export function noise(size: number, next: () => number, spread = 1): Float32Array {
  return Float32Array.from({ length: size }, () => spread * (next() + next() + next() - 1.5) * 2);
}

export interface Toy {
  readonly name: string;
  readonly config: MambaConfig;
  readonly program: Program;
  /** Calibration samples. */
  readonly samples: readonly Int32Array[];
  /** A text that calibration has not seen. */
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

export const toys = once((): readonly Toy[] => [
  makeToy('toy', plain, 1),
  makeToy('toy-falcon', falcon, 2),
  makeToy('toy-20', twenty, 3),
]);

function makeToy(name: string, config: MambaConfig, seed: number): Toy {
  const next = random(seed);
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, vocabSize: v } = config;
  const tensors = new Map<string, Tensor>();
  const set = (ref: string, shape: number[], make: (i: number) => number) => {
    const size = shape.reduce((a, b) => a * b, 1);
    tensors.set(
      ref,
      tensor(
        Float32Array.from({ length: size }, (_, i) => make(i)),
        shape,
      ),
    );
  };
  const normal = (spread: number) => () => noise(1, next, spread)[0];
  const large = (channel: number) => channel % 17 === 3;

  set('backbone.embeddings.weight', [v, m], normal(1));
  for (let layer = 0; layer < config.layers; layer++) {
    const at = (ref: string) => `backbone.layers.${layer}.${ref}`;
    set(at('norm.weight'), [m], () => 1 + 0.2 * normal(1)());
    set(at('mixer.in_proj.weight'), [2 * d, m], normal(1.5 / Math.sqrt(m)));
    if (config.useBias) set(at('mixer.in_proj.bias'), [2 * d], normal(0.1));
    set(at('mixer.conv1d.weight'), [d, k], i => (large((i / k) >> 0) ? 2 : 1) * normal(0.6)());
    if (config.useConvBias) set(at('mixer.conv1d.bias'), [d], normal(0.1));
    set(at('mixer.x_proj.weight'), [r + 2 * n, d], normal(1 / Math.sqrt(d)));
    set(at('mixer.dt_proj.weight'), [d, r], normal(0.25));
    set(at('mixer.dt_proj.bias'), [d], () => -2 + normal(1)());
    set(at('mixer.A_log'), [d, n], i => [0, 0.69, 1.1, 1.39][i % n] + normal(0.05)());
    set(at('mixer.D'), [d], i => (large(i + 5) ? 40 : 1) * (1 + normal(0.2)()));
    set(
      at('mixer.out_proj.weight'),
      [m, d],
      i => (large((i % d) + 5) ? 0.025 : 1) * normal(1 / Math.sqrt(d))(),
    );
    if (config.useBias) set(at('mixer.out_proj.bias'), [m], normal(0.1));
  }
  set('backbone.norm_f.weight', [m], () => 1 + 0.2 * normal(1)());
  if (!config.tieEmbeddings) set('lm_head.weight', [v, m], normal(1));

  const tokens = (size: number) => Int32Array.from({ length: size }, () => Math.floor(next() * v));
  return {
    name,
    config,
    program: { graph: mamba(config), weights: weightsOf(tensors) },
    samples: Array.from({ length: 6 }, () => tokens(32)),
    text: tokens(32),
  };
}

const memory = new Map<string, unknown>();
/** `make`, once for each key: plans are values, so tests may share them. */
function shared<T>(key: string, make: () => T): T {
  if (!memory.has(key)) memory.set(key, make());
  return memory.get(key) as T;
}
const key = ({ name }: Toy, recipe: Recipe) => `${name} ${JSON.stringify(recipe)}`;

export const statsOfToy = (of: Toy, recipe: Recipe): Stats =>
  shared(`stats ${key(of, recipe)}`, () =>
    needsCalibration(of.program, recipe)
      ? calibrate(of.program, recipe, of.samples)
      : { channels: {}, ranges: {} },
  );

/** The fused plan of a recipe. */
export const planOfToy = (of: Toy, recipe: Recipe): Program =>
  shared(`plan ${key(of, recipe)}`, () => planOf(of.program, recipe, statsOfToy(of, recipe)));
