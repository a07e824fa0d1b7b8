/** Walks over every exponent of f32: of what the functions inside an op read, and of what it divides or scales by. */
import { factor } from '../../ops/hadamard.ts';
import { ops } from '../../ops/index.ts';
import type { StateType } from '../../state.ts';
import type { Tensors } from '../named.ts';
import {
  around,
  both,
  type Edge,
  ENDS,
  edge,
  everyExponent,
  f32,
  f32By,
  i8By,
  noise,
  ones,
  times,
  uniform,
} from './edge.ts';

const { absmaxScale, add, causalConv1d, dequantize, fwht, linear, linearI8, quantize, rmsNorm } = ops;
const { gatedRmsNorm, scaleChannels, selectiveScan, ssdScan } = ops;

/** `count` values of every exponent up to `most`. */
export const upTo = (most: number, count: number): number[] =>
  Array.from(everyExponent(count), x => (Math.abs(x) < most ? x : 0));
/** The same, positive: what one may divide by. */
const positive = (most: number, count: number): number[] => upTo(most, count).map(x => Math.abs(x) || 1);

const TOKENS = 4;
/** In rows of four tokens: every exponent, closely where an exp is neither 0 nor infinite, and its ends. */
export function argumentsOfExp() {
  const list = [
    ...upTo(1e38, 1 << 12),
    ...uniform(12, 1 << 12, -110, 22),
    ...both(ENDS).filter(x => Math.abs(x) < 1e38),
  ];
  const d = Math.floor(list.length / TOKENS);
  return { d, rows: f32(list.slice(0, TOKENS * d), TOKENS, d) };
}

/** The sum is the gate's factor 1, so that y is silu(z). */
function everyGate(): Tensors {
  const { d, rows } = argumentsOfExp();
  const still = f32By([TOKENS, d], () => 0);
  return {
    u: ones(TOKENS, d),
    dt: still,
    A: ones(d, 1),
    B: ones(TOKENS, 1),
    C: ones(TOKENS, 1),
    D: ones(d),
    z: rows,
  };
}

/** The first token makes h = 1, the second shows the decay alone. No decay is infinite, since h begins with 0. */
function decaysOfText(): Tensors {
  const d = 1 << 10;
  const decays = upTo(1e38, 4 * d).map(x => (x > 80 ? -x : x));
  const u = f32By([2, d], i => (i < d ? 1 : 0));
  return { u, dt: ones(2, d), A: f32(decays, d, 4), B: ones(2, 4), C: ones(2, 4) };
}

/** A token after which h is `values`. */
function stored(values: readonly number[]): Tensors {
  const d = values.length;
  return { u: f32(values, 1, d), dt: ones(1, d), A: f32By([d, 1], () => -1), B: ones(1, 1), C: ones(1, 1) };
}
/** Values of binary16, the ties between two, and what lies next to these; subnormals and the first that saturate included. */
const HALVES = times(42, i => 2 ** (i - 25)).flatMap(power =>
  [0, 0.5, 1, 1.5, 340.5, 1023, 1023.5].flatMap(step => around(power * (1 + step / 1024))),
);
const STEPS = [1, 1 / 64, 0.013, 0.37];
const ties = (step: number) => times(262, i => Math.fround((i - 130.5) * step));
const STEPPED = STEPS.flatMap(step => ties(step).map(x => [step, x] as const));

/** Limits between which there is one step. */
const STEP_OF_ONE = { attrs: { lo: 1, hi: 1 } } as const;
const HEADS = 1 << 10;
const STATES = 4;
/** The first token makes S = 1, the second shows the decay alone. */
const decaysOfTextOfHeads = (): Tensors => ({
  dt: f32By([2, HEADS], () => 0),
  x: f32By([2, HEADS], i => (i < HEADS ? 1 : 0)),
  A: f32(
    upTo(1e38, HEADS).map(x => (x > 80 ? -x : x)),
    HEADS,
    1,
  ),
  B: ones(2, STATES),
  C: ones(2, STATES),
});
/** One token, after which the first state of each head is its step, and so is y. */
function everyStep(bias?: number): Tensors {
  const { data } = argumentsOfExp().rows;
  const first = f32By([1, STATES], i => (i === 0 ? 1 : 0));
  return {
    dt: f32(data),
    x: ones(1, data.length),
    A: f32By([data.length, 1], () => -1),
    B: first,
    C: first,
    ...(bias !== undefined && { bias: f32By([data.length], () => bias) }),
  };
}
/** A token after which the first state of each head is `values`. */
function storedInHeads(heads: readonly (readonly number[])[]): Tensors {
  const [h, p] = [heads.length, heads[0].length];
  const first = f32By([1, STATES], i => (i === 0 ? 1 : 0));
  return {
    ...{ dt: f32By([1, h], () => 0), x: f32(heads.flat(), 1, h * p) },
    ...{ A: f32By([h, 1], () => -1), B: first, C: ones(1, STATES) },
  };
}

/** Of a row, in units: the largest value, ties between two steps of one unit, and what is rounded to a zero of either sign. */
const ROW = [127, ...both([126.5, 63.5, 1.5, 0.5, 0.25, 0])];
/** Units: steps of every exponent, values that are rounded up to a step, and what is next to the floor and to the greatest. */
const UNITS = [
  ...times(261, i => 2 ** (i - 140)),
  ...positive(2.6e36, 1 << 8),
  ...[1e-5, 3.4e38, 3.4028234663852886e38].flatMap(most => around(most / 127)),
];

/** Gates next to which eps is so large that r = 1 / √eps, a power of two: y is v but for its exponent. */
function gates(from: number, to: number): Tensors {
  const all = [...argumentsOfExp().rows.data].filter(x => from <= x && x <= to);
  const d = Math.floor(all.length / TOKENS);
  return { x: ones(TOKENS, d), z: f32(all.slice(0, TOKENS * d), TOKENS, d) };
}

/** Zeros whose signs are those of a row of M_K, against it: every term of that row's sum is −0, and so is the sum. */
function againstRows(n: number, inverse: boolean): Tensors {
  const { outer, base, run } = factor(n)!;
  const K = base.length;
  const sign = (row: number, j: number) => (inverse ? base[j][row] : base[row][j]);
  return {
    x: f32By([K, n], i => (sign(Math.floor(i / n), Math.floor((i % (n / outer)) / run)) > 0 ? -0 : 0)),
  };
}

const keptAs = (kept: StateType['dtype'], rows: number, state = 'h') =>
  kept === 'f32'
    ? {}
    : {
        kept: {
          [state]: { dtype: kept, ...(kept === 'i8' && { scale: new Float32Array(rows).fill(1 / 64) }) },
        },
      };
const KEPT = ['f32', 'f16', 'i8'] as const;
const MEASURED =
  'rows of every exponent, whose steps are measured: ties, zeros of both signs, next to the floor, and too large';
const ROWS = 512;

/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const binadeEdges: readonly Edge[] = [
  edge(causalConv1d, 'every-exponent', 'silu of sums of every exponent', () => {
    const { d, rows } = argumentsOfExp();
    return { x: rows, w: f32By([d, 4], i => (i % 4 === 3 ? 1 : 0)) };
  }),
  ...KEPT.flatMap(kept => [
    edge(selectiveScan, 'every-gate', 'silu of gates of every exponent', everyGate,
      keptAs(kept, argumentsOfExp().d)),
    edge(selectiveScan, 'every-decay-of-a-text', 'exp2 over the whole range of f32, from the start of a text',
      decaysOfText, keptAs(kept, 1 << 10)),
  ]),
  edge(selectiveScan, 'every-half', 'values of binary16 and the ties between them, over its whole range',
    () => stored(both(HALVES)), keptAs('f16', 0)),
  edge(selectiveScan, 'every-step', 'all ties between two steps, and saturation on both sides',
    () => stored(STEPPED.map(([, x]) => x)),
    { kept: { h: { dtype: 'i8', scale: Float32Array.from(STEPPED, ([step]) => step) } } }),
  ...KEPT.map(kept =>
    edge(ssdScan, 'every-decay-of-a-text', 'exp2 over the whole range of f32, from the start of a text', decaysOfTextOfHeads,
      { ...STEP_OF_ONE, ...keptAs(kept, HEADS * STATES, 'S') })),
  edge(ssdScan, 'every-step', 'softplus over the whole range of f32', everyStep),
  edge(ssdScan, 'every-step,bias', 'softplus of a sum over the whole range of f32', () => everyStep(-2.5)),
  edge(ssdScan, 'every-step,limits', 'steps below and above both limits, and between them', () => everyStep(0.5),
    { attrs: { lo: 0.001, hi: 0.1 } }),
  edge(ssdScan, 'every-half', 'values of binary16 and the ties between them, over its whole range',
    () => storedInHeads([both(HALVES)]), { ...STEP_OF_ONE, ...keptAs('f16', 0, 'S') }),
  edge(ssdScan, 'every-tie', 'all ties between two steps, and saturation on both sides',
    () => storedInHeads(STEPS.map(ties)),
    { ...STEP_OF_ONE, kept: { S: { dtype: 'i8', scale: Float32Array.from(STEPS.flatMap(step => times(STATES, () => step))) } } }),
  edge(selectiveScan, 'every-measured-step', MEASURED, () => {
    const first = f32By([1, ROW.length], i => (i === 0 ? 1 : 0)); // in sums of all, infinities would meet
    return { ...stored(UNITS), B: f32(ROW), C: first, A: f32By([UNITS.length, ROW.length], () => -1) };
  }, keptAs('i8-dynamic', 0)),
  edge(ssdScan, 'every-measured-step', MEASURED,
    () => ({ ...storedInHeads(UNITS.map(unit => ROW.map(x => x * unit / 2))), B: f32([2, 1, 0.5, 0]) }),
    { ...STEP_OF_ONE, ...keptAs('i8-dynamic', 0, 'S') }),
  edge(gatedRmsNorm, 'every-gate', 'silu of gates up to a million', () => gates(-25, 1e6), { attrs: { eps: 2 ** 80 } }),
  edge(gatedRmsNorm, 'every-gate,small', 'silu of gates of which hardly anything is left', () => gates(-1e30, -20),
    { attrs: { eps: 1 } }),
  edge(gatedRmsNorm, 'every-exponent', 'roots of means of every exponent, in groups of three', () => {
    const x = upTo(1e36, ROWS).flatMap(value => [value, value / -2, 0]);
    return { x: f32(x, ROWS / 2, 6), z: f32By([ROWS / 2, 6], () => 32) };
  }, { attrs: { g: 2 } }),
  edge(rmsNorm, 'every-exponent', 'roots of means of every exponent', () => ({
    x: f32(upTo(1e38, ROWS).flatMap(x => [x, x / -2, 0]), ROWS, 3),
  })),
  edge(absmaxScale, 'every-exponent', 'largest values of every exponent', () => ({
    x: f32(upTo(1e38, ROWS).flatMap(x => [x / 2, x]), ROWS, 2),
  })),
  edge(quantize, 'every-exponent', 'quotients by scales of every exponent, between two integers', () => {
    const scales = positive(1e36, ROWS);
    const x = scales.flatMap((scale, t) => times(16, i => (((t + 17 * i) % 262) - 130.5) * scale));
    return { x: f32(x, ROWS, 16), scale: f32(scales, ROWS) };
  }, { scalesOfTokens: true }),
  edge(quantize, 'every-exponent-of-x', 'values of every exponent by one scale',
    () => ({ x: f32(upTo(1e38, 1 << 12), 4, 1 << 10), scale: f32([0.02], 1) })),
  edge(dequantize, 'every-exponent', 'codes by scales of every exponent',
    () => ({ q: i8By([ROWS, 3], i => (i * 37) % 256 - 128), scale: f32(positive(1e36, ROWS), ROWS) }), { scalesOfTokens: true }),
  edge(linearI8, 'every-exponent', 'sums by scales of every exponent', () => ({
    x: i8By([ROWS, 3], i => (i * 37) % 256 - 128),
    xscale: f32(positive(1e30, ROWS), ROWS),
    w: i8By([2, 3], i => 100 - 31 * i),
    wscale: f32([0.013], 1, 1),
    b: f32([1, -1e-20], 2),
  }), { scalesOfTokens: true }),
  edge(linear, 'every-exponent', 'weights of every exponent',
    () => ({ x: f32(noise(1, 24), 3, 8), w: f32(upTo(1e30, 1 << 12), 1 << 9, 8) })),
  edge(add, 'every-exponent', 'sums of two exponents', () => ({
    x: f32(upTo(1e37, 1 << 12), 4, 1 << 10),
    y: f32(upTo(1e37, 1 << 12).reverse(), 4, 1 << 10),
  })),
  ...[false, true].map(inverse =>
    edge(scaleChannels, `every-exponent,inverse=${inverse}`, 'factors of every exponent',
      () => ({ x: f32(noise(1, 2 * ROWS), 2, ROWS), c: f32(positive(1e30, ROWS).map(x => Math.max(x, 1e-30)), ROWS) }),
      { attrs: { inverse } })),
  ...[8, 12].map(n =>
    edge(fwht, `every-exponent,n=${n}`, 'rows of every exponent', () => {
      const values = noise(3, n);
      return { x: f32(upTo(1e30, ROWS).flatMap(x => values.map(value => value * x)), ROWS, n) };
    })),
  ...[12, 24, 20, 28, 40, 80].flatMap(n => [false, true].map(inverse =>
    edge(fwht, `zeros-against-rows=${n},inverse=${inverse}`, 'a sum that begins with −0, and has only such terms',
      () => againstRows(n, inverse), { attrs: { inverse } }))),
];
