/**
 * A model with random weights, the same on every machine, of which nothing is in memory until it is read: for benches by
 * shape.
 *
 * Value i of the tensor `name` under `seed` is made by integer operations alone, of one hash of 32 bits:
 *
 *   key, stride = the first two i32 (little-endian) of SHA-256("<seed> <name>"); stride made odd
 *   h = mix(key + stride · i)                              mix: xor-shift-multiply, below
 *   value = mean + step · (the sum of the four bytes of h − 510)
 *
 * The sum is near normal with standard deviation 147.8. `step` is spread / 147.8, rounded to a power of two or to 1.5 times
 * one, so that every value is one that F16 has: nothing rounds, and a checkpoint in F16 is the same model.
 *
 * Means and spreads are those of a trained model, roughly: matrices have variance 1 / fan-in, and softplus(dt) lies between
 * 0.001 and 0.1.
 *
 * Source  mix: C. Wellons, hash-prospector, issue 19 (16 21f0aaad 15 735a2d97 15)
 */
import { sha256 } from '@noble/hashes/sha2.js';
import type { Program, Weights } from '../graph.ts';
import type { MambaConfig } from '../model/config.ts';
import { mamba } from '../model/mamba.ts';
import { sizeOf, tensor } from '../tensor.ts';

/** Values of one call of `fill`: a loop that runs once and long is not optimized as well as a function that is called often. */
const BLOCK = 4096;

/** f32[...shape], drawn for `name` with about this mean and standard deviation. */
export function draw(
  name: string,
  seed: number,
  shape: readonly number[],
  spread: number,
  mean = 0,
): Float32Array {
  const digest = new DataView(sha256(new TextEncoder().encode(`${seed} ${name}`)).buffer);
  const key = digest.getInt32(0, true);
  const stride = digest.getInt32(4, true) | 1;
  const data = new Float32Array(sizeOf(shape));
  for (let at = 0; at < data.length; at += BLOCK)
    fill(data, at, Math.min(at + BLOCK, data.length), key, stride, mean, stepOf(spread));
  return data;
}

function fill(
  data: Float32Array,
  begin: number,
  end: number,
  key: number,
  stride: number,
  mean: number,
  step: number,
): void {
  let counter = (key + Math.imul(stride, begin)) | 0;
  for (let i = begin; i < end; i++) {
    const h = mix(counter);
    const pairs = (h & 0xff00ff) + ((h >>> 8) & 0xff00ff);
    data[i] = mean + step * ((pairs & 0xffff) + (pairs >>> 16) - 510);
    counter = (counter + stride) | 0;
  }
}

function mix(h: number): number {
  let x = h;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  return x ^ (x >>> 15);
}

/** The standard deviation of the sum of four bytes. */
const SPREAD_OF_BYTES = 147.8;

/** 2ⁱ or 1.5 · 2ⁱ, the nearest by ratio. A sum of at most 510 then has no more than the 11 digits of F16. */
function stepOf(spread: number): number {
  const wanted = spread / SPREAD_OF_BYTES;
  let step = 1;
  while (step > wanted) step /= 2;
  while (2 * step <= wanted) step *= 2;
  const between = [step, 1.5 * step, 2 * step];
  return between.reduce((best, s) =>
    Math.max(s / wanted, wanted / s) < Math.max(best / wanted, wanted / best) ? s : best,
  );
}

/** log 1 … log 16, the rows of A_log at initialization, to F16's 11 digits: literals, because Math.log differs between engines. */
const LOGS = [
  0, 0.693359375, 1.0986328125, 1.38671875, 1.609375, 1.7919921875, 1.9462890625, 2.080078125, 2.197265625,
  2.302734375, 2.3984375, 2.484375, 2.564453125, 2.638671875, 2.708984375, 2.7734375,
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
const quarter = (shape: readonly number[]) => fanIn(shape) / 4;

/** How each kind of weight is made, by the end of its name. */
const makers: readonly (readonly [end: string, maker: Maker])[] = [
  ['embeddings.weight', normal(fanIn)],
  ['norm.weight', constant(1)],
  ['norm_f.weight', constant(1)],
  ['in_proj.weight', normal(fanIn)],
  ['conv1d.weight', normal(fanIn)],
  ['conv1d.bias', normal(() => 0.1)],
  ['x_proj.weight', normal(fanIn)],
  ['dt_proj.weight', normal(quarter)], // dt is mostly its bias
  ['dt_proj.bias', normal(() => 0.6, -4.5)],
  ['A_log', (_, __, shape) => Float32Array.from({ length: sizeOf(shape) }, (___, i) => LOGS[i % shape[1]])],
  ['D', constant(1)],
  ['out_proj.weight', normal(fanIn)],
];

/**
 * The float program of a shape: plain Mamba with tied embeddings, no biases on its matrices, and a state of at most 16.
 *
 * @throws RangeError for any other.
 */
export function randomModel(config: MambaConfig, seed: number): Program {
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
  return { graph, weights };
}
