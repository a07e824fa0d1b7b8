/** The edges of the ops that make integers and of those that read them. */
import { ops } from '../../ops/index.ts';
import { random } from '../../text/random.ts';
import type { Tensors } from '../named.ts';
import { around, both, type Edge, edge, f32, f32By, f32Rows, i8, i8By, times } from './edge.ts';

const { quantize, dequantize, dequantizeI4, absmaxScale, linearI8, linearI4, embedding, embeddingI8 } = ops;
const f = Math.fround;

/** −130.5 … 130.5: quotients half-way between two integers, with saturation on both sides. */
const HALVES = times(262, i => i - 130.5);

/** Scales for which x / s is exact, and scales for which it is rounded. */
const SCALES = [1, 1 / 64, 3, 0.013, 0.1, f(1 / 127), f(1e-5 / 127), ...times(13, i => f(0.001 * (i + 1.7)))];

/** For each half and scale an x for which x / s and x · (1 / s) round to different integers, where there is one. */
function whereReciprocalsErr(): [x: number, scale: number][] {
  const next = random(11);
  return times(4000, () => f(next() / 50)).flatMap(scale => {
    const half = Math.floor(next() * 250) - 125 + 0.5;
    const x = f(half * scale);
    return Math.fround(x / scale) !== f(x * f(1 / scale)) ? [[x, scale] as [number, number]] : [];
  });
}

/** Weights and inputs of 127 and less whose products sum to exactly `target`. */
function weightsFor(target: number, size: number): number[] {
  const sign = Math.sign(target);
  const whole = Math.floor(Math.abs(target) / 127 ** 2);
  const rest = Math.abs(target) - whole * 127 ** 2;
  const row = times(size, i => (i < whole ? sign * 127 : 0));
  row[size - 2] = sign * Math.floor(rest / 127);
  row[size - 1] = sign * (rest % 127);
  return row;
}
/** Sums that f32 cannot hold: ties, and the values next to them. */
const INEXACT = both([
  ...[1, 2, 3, 5, 7].map(more => 2 ** 24 + more),
  ...[2, 3, 5, 6, 10].map(more => 2 ** 25 + more),
  ...[4, 12, 13, 11].map(more => 2 ** 26 + more),
]);

/** The same row of x with each of the scales. */
const atEach = (scales: readonly number[], x: readonly number[]): Tensors => ({
  x: f32Rows(scales.map(() => x)),
  scale: f32(scales, scales.length),
});

/** One row of x and one of w, filled. */
const filled = (x: number, w: number, size: number) => (): Tensors => ({
  x: i8(new Int8Array(3 * size).fill(x), 3, size),
  xscale: f32([1], 1),
  w: i8(new Int8Array(5 * size).fill(w), 5, size),
  wscale: f32([1], 1, 1),
});

/** The largest size whose sum an int32 holds, whatever the values. */
const LARGEST = 131071;
/** Every byte. */
const ALL = times(256, i => i - 128);

/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const integerEdges: readonly Edge[] = [
  edge(quantize, 'midpoints',
    'x / scale on half-way points and next to them on both sides: half to even, of a real quotient', () => ({
      x: f32Rows(SCALES.map(s => HALVES.flatMap(half => around(half * s)))),
      scale: f32(SCALES, SCALES.length),
    })),
  edge(quantize, 'reciprocal',
    'a division by the scale, where a multiplication by its reciprocal gives another quotient', () => {
      const pairs = whereReciprocalsErr();
      return { x: f32Rows(pairs.map(([x]) => [x])), scale: f32By([pairs.length], i => pairs[i][1]) };
    }),
  edge(quantize, 'zeros-and-denormals', 'both zeros, and denormals by ordinary and by denormal scales', () =>
    atEach(
      [1, 1e-30, 1e-40, 3e-45, 1e-45],
      both([0, 1e-45, 3e-45, 1e-41, 1.1754942e-38, 1.17549435e-38, 5e-39]),
    )),
  edge(quantize, 'saturation', 'both ends, and quotients that no int16 and no int32 holds', () => {
    const ends = [126.49, 126.5, 127, 127.49, 127.5, 128, 128.49, 128.5, 129, 255, 256, 300];
    const powers = [2 ** 31, 2 ** 31 + 2 ** 8, 2 ** 32, 2 ** 32 + 2 ** 10];
    const beyond = [32767.5, 32768, 65536, 65663, ...powers, 1e20, 3e38];
    return atEach([1, 0.5, 1e-20], both([...ends.flatMap(around), ...beyond]));
  }),
  edge(quantize, 'infinities', 'infinities of both signs saturate', () => ({
    x: f32(both([Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY])),
    scale: f32([0.25], 1),
  })),
  edge(dequantize, 'all-values', 'each of the 256 values by ordinary, tiny and large scales', () => ({
    q: i8By([5, 256], i => ALL[i % 256]),
    scale: f32([1, 0.0371, 1e-45, 1e-39, 1e36], 5),
  })),
  edge(absmaxScale, 'zeros-and-floor',
    'rows of zeros, and rows just below, at and above the floor of 1e-5', () => ({
      x: f32Rows([0, -0, ...both(around(1e-5)), 1e-45, -1e-41, 9e-6, -1.1e-5].map(x => [0, x, -0])),
    })),
  edge(absmaxScale, 'large',
    'the largest f32, infinity, and a largest value that is negative, first or last', () => {
      const rows = both([3.4028235e38, Number.POSITIVE_INFINITY, 1e20, 127]);
      return { x: f32Rows([...rows.map(x => [1, -2, 3, x]), ...rows.map(x => [x, 1, -2, 3])]) };
    }),
  ...[[127, 127], [-128, -128], [-128, 127], [127, -128], [-127, -128]].flatMap(([x, w]) => [
    edge(linearI8, `all=${x}x${w}`, 'sums as large as they get: no int16 on the way', filled(x, w, 5120)),
    edge(linearI8, `int32-edge=${x}x${w}`,
      `i = ${LARGEST}, the largest that an int32 holds`, filled(x, w, LARGEST)),
  ]),
  edge(linearI8, 'inexact-sums',
    'sums of more than 24 bits: converted to f32 with one rounding, half to even', () => {
      const size = 4200;
      return {
        x: i8By([1, size], i => (i === size - 1 ? 1 : 127)),
        xscale: f32([1], 1),
        w: i8(INEXACT.flatMap(sum => weightsFor(sum, size)), INEXACT.length, size),
        wscale: f32([1], 1, 1),
      };
    }),
  edge(linearI8, 'bias-last',
    'the bias is added in f32, after the product by the scales has been rounded', () => ({
      x: i8By([4, 16], i => i - 30),
      xscale: f32([0.0371], 1),
      w: i8By([7, 16], i => ((37 * i) % 255) - 127),
      wscale: f32([0.013], 1, 1),
      b: f32([1e4, -1e4, 0.1, -0.1, 16777216, 1e-20, -0], 7),
    })),
  ...[embedding, embeddingI8].map(op =>
    edge(op, 'first-and-last',
      'the first and the last token of the vocabulary, and one that comes again', () => ({
        tokens: { dtype: 'i32', shape: [6], data: Int32Array.of(0, 256, 255, 0, 256, 1) },
        w: op === embedding ? f32By([257, 3], i => i / 7) : i8By([257, 3], i => ALL[i % 256]),
        ...(op === embeddingI8 && { scale: f32By([257], i => (i + 1) / 100) }),
      }))),

  ...[[127, 0x77], [-128, -0x78], [-128, 0x77], [127, -0x78]].map(([x, w]) =>
    edge(linearI4, `all=${x}x${w}`, 'sums as large as they get, in one group: no int16 on the way', () => ({
      x: i8By([1, 5120], () => x),
      xscale: f32([0.5], 1),
      w: i8By([1, 2560], () => w),
      wscale: f32([-0.25], 1, 1),
    }))),
  edge(linearI4, 'every-byte',
    'all 256 pairs of weights, at every place of a line, in groups that begin in the middle of a byte',
    () => ({
      x: i8By([1, 510], i => ALL[(i * 7) % 256]),
      xscale: f32([0.0371], 1),
      w: i8By([8, 255], i => ALL[(i + (i >> 8)) % 256]),
      wscale: f32By([8, 10], i => (i % 2 ? -0.013 : 0.02)),
    })),
  edge(dequantizeI4, 'every-byte',
    'all 256 pairs by ordinary, tiny and large scales of both signs, in groups that begin in the middle of a byte',
    () => ({
      q: i8By([4, 256], i => ALL[i % 256]),
      scale: f32By([4, 7], i => [0.5, -0.0371, 1e-45, -1e-39, 1e36][i % 5]),
    }),
    { attrs: { n: 511 } }),
];
