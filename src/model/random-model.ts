/**
 * A model with random weights, the same on every machine, of which nothing is in memory until it is read: for benches by
 * shape.
 *
 * Value i of the tensor `name` under `seed` is made of one hash of 32 bits, by integer operations alone:
 *
 *   h = mix(key + 0x9e3779b9 · i),  key = mix(seed) xor FNV-1a(name),  mix: xor-shift-multiply, below
 *   z = (the sum of the four bytes of h − 510) / 147.8     near normal, mean 0, variance 1, |z| ≤ 3.46
 *   value = mean + spread · z                              one rounding to f32 each
 *
 * Means and spreads are those of a trained model, roughly: matrices have variance 1 / fan-in; softplus(dt) lies about 0.01.
 *
 * Source  mix: Chris Wellons, hash-prospector, "triple32" family with two rounds · FNV-1a: Fowler, Noll, Vo
 */
import type { MambaConfig } from '../formats/config.ts';
import type { Program, Weights } from '../graph.ts';
import { f } from '../ops/numerics.ts';
import { sizeOf, tensor } from '../tensor.ts';
import { mamba, type Site } from './mamba.ts';

function mix(h: number): number {
  let x = h;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  return x ^ (x >>> 15);
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** 2³² / φ as an int32: as a larger number each addition would be one of floats. */
const GOLDEN = 0x9e3779b9 | 0;

/** The standard deviation of the sum of four bytes. */
const SPREAD_OF_BYTES = 147.8;

/** f32[...shape], drawn for `name`: mean + spread · z. */
export function draw(
  name: string,
  seed: number,
  shape: readonly number[],
  spread: number,
  mean = 0,
): Float32Array {
  const data = new Float32Array(sizeOf(shape));
  const key = mix(seed) ^ fnv1a(name);
  const step = f(spread / SPREAD_OF_BYTES);
  for (let i = 0, counter = key; i < data.length; i++, counter = (counter + GOLDEN) | 0) {
    const h = mix(counter);
    const sum = (h & 255) + ((h >> 8) & 255) + ((h >> 16) & 255) + (h >>> 24) - 510;
    data[i] = f(mean + f(step * sum));
  }
  return data;
}

/** log 1 … log 16, the rows of A_log at initialization, as literals because Math.log differs between engines. */
const LOGS = [
  0,
  Math.LN2,
  1.0986123,
  1.3862944,
  1.609438,
  1.7917595,
  1.9459101,
  2.0794415,
  2.1972246,
  Math.LN10,
  2.3978953,
  2.4849067,
  2.5649493,
  2.6390574,
  2.7080502,
  2.7725887,
];

type Maker = (name: string, seed: number, shape: readonly number[]) => Float32Array;
const normal =
  (spread: (shape: readonly number[]) => number, mean = 0): Maker =>
  (name, seed, shape) =>
    draw(name, seed, shape, spread(shape), mean);
const constant =
  (value: number): Maker =>
  (_, __, shape) =>
    new Float32Array(sizeOf(shape)).fill(value);
const fanIn = ([, columns]: readonly number[]) => 1 / Math.sqrt(columns);

/** How each kind of weight is made, by the end of its name. */
const makers: readonly (readonly [end: string, maker: Maker])[] = [
  ['embeddings.weight', normal(fanIn)],
  ['norm.weight', constant(1)],
  ['norm_f.weight', constant(1)],
  ['in_proj.weight', normal(fanIn)],
  ['conv1d.weight', normal(fanIn)],
  ['conv1d.bias', normal(() => 0.1)],
  ['x_proj.weight', normal(fanIn)],
  ['dt_proj.weight', normal(fanIn)],
  ['dt_proj.bias', normal(() => 1, -4.5)],
  ['A_log', (_, __, shape) => Float32Array.from({ length: sizeOf(shape) }, (___, i) => LOGS[i % shape[1]])],
  ['D', constant(1)],
  ['out_proj.weight', normal(fanIn)],
];

/** About the largest |x| that each site sees (measured on mamba-130m's shape): what static scales are taken from. */
const RANGES: Readonly<Record<Site, number>> = {
  blockIn: 5.5,
  convIn: 5.5,
  gate: 5.5,
  scanIn: 6,
  dtLow: 3.5,
  B: 3,
  C: 3,
  dt: 10,
  scanOut: 4,
  headIn: 5,
};

export interface RandomModel {
  readonly program: Program;
  /** For the static sites, by their names. */
  readonly ranges: Readonly<Record<string, number>>;
}

/** Plain Mamba with tied embeddings, no biases on its matrices, and a state of at most 16. */
export function randomModel(config: MambaConfig, seed: number): RandomModel {
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, vocabSize: v } = config;
  if (!config.tieEmbeddings || config.useBias || config.architecture !== 'mamba' || n > LOGS.length)
    throw new RangeError('random model: expected plain Mamba, tied, without biases, dState at most 16');
  const sizes: Readonly<Record<string, readonly number[]>> = {
    'embeddings.weight': [v, m],
    'norm.weight': [m],
    'norm_f.weight': [m],
    'in_proj.weight': [2 * d, m],
    'conv1d.weight': [d, k],
    'conv1d.bias': [d],
    'x_proj.weight': [r + 2 * n, d],
    'dt_proj.weight': [d, r],
    'dt_proj.bias': [d],
    A_log: [d, n],
    D: [d],
    'out_proj.weight': [m, d],
  };
  const makerOf = (ref: string) => makers.find(([end]) => ref.endsWith(end))!;
  const graph = mamba(config);
  const weights: Weights = {
    has: ref => graph.weights.includes(ref),
    shape: ref => sizes[makerOf(ref)[0]],
    read(ref) {
      const [end, maker] = makerOf(ref);
      return tensor(maker(ref, seed, sizes[end]), sizes[end]);
    },
  };
  const ranges = graph.nodes.flatMap(node =>
    node.kind === 'site' ? [[node.out, RANGES[node.site as Site]] as const] : [],
  );
  return { program: { graph, weights }, ranges: Object.fromEntries(ranges) };
}
