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
import type { Config } from '../model/architecture.ts';
import { type Outline, outlineOf } from '../model/index.ts';
import { sizeOf, tensor } from '../tensor.ts';

/** Values of one call of `fill`: a loop that runs once and long is not optimized as well as a function that is called often. */
const BLOCK = 4096;

type Shape = readonly number[];

/** f32[...shape], drawn for `name` with about this mean and standard deviation. */
export function draw(name: string, seed: number, shape: Shape, spread: number, mean = 0): Float32Array {
  const digest = new DataView(sha256(new TextEncoder().encode(`${seed} ${name}`)).buffer);
  const key = digest.getInt32(0, true);
  const stride = digest.getInt32(4, true) | 1;
  const data = new Float32Array(sizeOf(shape));
  for (let at = 0; at < data.length; at += BLOCK)
    fill(data.subarray(at, at + BLOCK), (key + Math.imul(stride, at)) | 0, stride, mean, stepOf(spread));
  return data;
}

function fill(data: Float32Array, first: number, stride: number, mean: number, step: number): void {
  let counter = first;
  for (let i = 0; i < data.length; i++) {
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

/**
 * log 1 … log 16, the rows of A_log at initialization, and the range of its heads', to F16's 11 digits: literals, because Math.log
 * differs between engines.
 */
const LOGS = [
  0, 0.693359375, 1.0986328125, 1.38671875, 1.609375, 1.7919921875, 1.9462890625, 2.080078125, 2.197265625,
  2.302734375, 2.3984375, 2.484375, 2.564453125, 2.638671875, 2.708984375, 2.7734375,
];

type Maker = (shape: Shape, name: string, seed: number) => Float32Array;
const normal = (spread: (shape: Shape) => number, mean = 0): Maker => {
  return (shape, name, seed) => draw(name, seed, shape, spread(shape), mean);
};
const constant = (value: number): Maker => {
  return shape => new Float32Array(sizeOf(shape)).fill(value);
};
const fanIn = ([, columns]: Shape) => 1 / Math.sqrt(columns);
const quarter = (shape: Shape) => fanIn(shape) / 4;
/** Along a channel's states; where a head has one value, along the heads. */
const logs: Maker = shape => {
  const period = shape[1] === 1 ? LOGS.length : shape[1];
  return new Float32Array(sizeOf(shape)).map((_, i) => LOGS[i % period]);
};
const steps = normal(() => 0.6, -4.5);

/** How weights are made whose values are not those of their kind, by the end of the name. */
const makers: readonly (readonly [end: string, maker: Maker])[] = [
  ['norm.weight', constant(1)],
  ['norm_f.weight', constant(1)],
  ['.dt_proj.weight', normal(quarter)], // dt is mostly its bias
  ['.dt_proj.bias', steps],
  ['.dt_bias', steps],
  ['.A_log', logs],
  ['.D', constant(1)],
];
/** Every other matrix, and every other bias. */
const matrix = normal(fanIn);
const bias = normal(() => 0.1);

/** @throws RangeError for a kind of weight whose values nobody has thought of. */
function makerOf(name: string, shape: Shape): Maker {
  if (name.endsWith('.A_log') && shape[1] > LOGS.length)
    throw new RangeError(`random model: state size expected at most ${LOGS.length}; got ${shape[1]}`);
  const [, own] = makers.find(([end]) => name.endsWith(end)) ?? [];
  const maker = own ?? (shape.length === 2 ? matrix : name.endsWith('.bias') ? bias : undefined);
  if (!maker) throw new RangeError(`random model: no values are known for ${name}`);
  return maker;
}

/**
 * The weights of a checkpoint.
 *
 * @throws RangeError where there are some that are not drawn.
 */
export function randomWeights({ stored }: Pick<Outline, 'stored'>, seed: number): Weights {
  const drawn = new Map([...stored].map(([ref, { shape }]) => [ref, { shape, make: makerOf(ref, shape) }]));
  return {
    has: ref => drawn.has(ref),
    read(ref) {
      const { shape, make } = drawn.get(ref)!;
      return tensor(make(shape, ref, seed), shape);
    },
  };
}

/** The float program of a config, with random weights. @throws what `randomWeights` throws. */
export function randomModel(config: Config, seed: number): Program {
  const outline = outlineOf(config);
  return { graph: outline.graph, weights: outline.read(randomWeights(outline, seed)) };
}
