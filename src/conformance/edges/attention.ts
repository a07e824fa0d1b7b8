/** The edges of the ops that stand around attention and the gated MLP of hybrids. */
import { ops } from '../../ops/index.ts';
import { ropeFrequencies } from '../../ops/rope-table.ts';
import type { StateType } from '../../state.ts';
import type { Tensors } from '../named.ts';
import { argumentsOfExp, upTo } from './binades.ts';
import { both, type Edge, ENDS, edge, everyExponent, f32, f32By, noise, times } from './edge.ts';

const { attention, rope, ropeTable, squaredRelu, swiglu } = ops;
const INFINITE = Number.POSITIVE_INFINITY;

/** Two query heads on one head of keys, four values each. */
const [H, G, P] = [2, 1, 4];
interface Look {
  readonly l?: number;
  /** Tokens before the call. */
  readonly t?: number;
  /** Value i of the queries, of the keys and of the values; noise where nothing is said. */
  readonly q?: (i: number) => number;
  readonly k?: (i: number) => number;
  readonly v?: (i: number) => number;
}
/** Keys and values run on from the tokens before to those of the call. */
function look({ l = 3, t = 0, q, k, v }: Look): Tensors {
  const row = G * P;
  const of = (seed: number, made?: (i: number) => number) =>
    made ? times((t + l) * row, made) : noise(seed, (t + l) * row);
  const [keys, values] = [of(2, k), of(3, v)];
  return {
    q: q ? f32By([l, H * P], q) : f32(noise(1, l * H * P), l, H * P),
    k: f32(keys.slice(t * row), l, row),
    v: f32(values.slice(t * row), l, row),
    K: f32(keys.slice(0, t * row), t, G, P),
    V: f32(values.slice(0, t * row), t, G, P),
  };
}
/** The first of the four numbers of a key, and zeros. */
const first = (of: (s: number) => number) => (i: number) => (i % P === 0 ? of(i / P) : 0);

const heads = { h: H, g: G, scale: 1 };
const looking = (what: string, says: string, inputs: Look, scale = 1): Edge =>
  edge(attention, what, says, () => look(inputs), { attrs: { ...heads, scale } });

/** A token for each of these scores below the largest, which is 0; the query is 1. */
const scores = (list: readonly number[]): Look => ({
  l: 1,
  t: list.length,
  q: first(() => 1),
  k: first(s => list[s] ?? 0),
});

const kept = (dtype: StateType['dtype']) => ({ attrs: heads, kept: { K: { dtype }, V: { dtype } } });

/** Two channels a head: an angle for each token and frequency. */
const turned = (x: readonly number[], angles: readonly number[]): Tensors => ({
  x: f32By([angles.length, x.length], i => x[i % x.length]),
  cos: f32(angles.map(Math.cos), angles.length, 1),
  sin: f32(angles.map(Math.sin), angles.length, 1),
});

/** Tables from some position on; each of the sines has one of the cosines beside it. */
const table = (what: string, says: string, fed: number, freq: readonly number[], l = 5): readonly Edge[] =>
  [false, true].map(sine =>
    edge(
      ropeTable,
      `${what},sine=${sine}`,
      says,
      () => ({
        tokens: { dtype: 'i32', shape: [l], data: new Int32Array(l) },
        freq: f32(freq, freq.length),
        fed: f32([fed], 1),
      }),
      { attrs: { sine } },
    ),
  );
/** Next to the multiples of π/4, where the reduction goes from one quarter to the next, and where a sine or cosine is 0. */
const QUARTERS = times(17, i => (i * Math.PI) / 4).flatMap(x => [x, x * (1 + 2 ** -23), x * (1 - 2 ** -23)]);

/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const attentionEdges: readonly Edge[] = [
  looking('one-key', 'a token that sees itself alone gives its value', { l: 1 }),
  ...[127, 128, 129, 300].map(t =>
    looking(`equal-scores=${t}`, 'all weights are 1: the mean of the values, added in blocks', { l: 2, t, q: () => 0 })),
  looking('ascending', 'each key fits better than all before it, so that the maximum always moves', {
    l: 3, t: 260, q: first(() => 1), k: first(s => s / 16),
  }),
  looking('descending', 'the first key fits best, and blocks later hardly anything is left', {
    l: 3, t: 260, q: first(() => 1), k: first(s => -s / 3),
  }),
  looking('best-in-another-block', 'what fits best is far above the rest and two blocks back, or in the last block', {
    l: 2, t: 300, q: i => (i % P === 0 ? (i % (2 * P) ? -1 : 1) : 0), k: first(s => (s === 5 ? 60 : s === 290 ? -60 : Math.sin(s))),
  }),
  looking('large-scores', 'scores in the hundreds: without their maximum an exp overflows', { l: 3, t: 130, q: i => 40 * Math.sin(i), k: i => 10 * Math.cos(i) }),
  looking('low-scores', 'all scores below −100: without their maximum nothing is left of any', {
    l: 3, t: 130, q: first(() => -1), k: first(s => 150 + (s % 7)),
  }),
  looking('weights', 'weights from 1 down through the denormals to 0', scores(both(ENDS).filter(c => c <= 0 && c > -1e30))),
  looking('never', 'keys whose score is −∞ weigh nothing', { l: 2, t: 5, q: () => 1, k: i => (i % (2 * P) === 5 ? -INFINITE : Math.sin(i)) }),
  looking('zeros', 'zeros of both signs as values: a sum of −0 is +0', { l: 3, t: 130, v: i => (i % 3 ? -0 : 0) }),
  looking('huge-values', 'values near the largest f32, one of them in each block', { l: 2, t: 257, v: i => (i % (129 * P) < P ? 3e38 : 0) }),
  ...[0.3, -0.3, 0].map(scale =>
    looking(`scale=${scale}`, 'a scale that is no power of two, one that is negative, and none', { l: 3, t: 130 }, scale)),
  edge(attention, 'halves', 'keys and values on ties of binary16, and beyond its range',
    () => look({ l: 3, t: 3, k: i => [1 + 2 ** -11, 1 + 3 * 2 ** -11, 7e4, 3e-8][i % 4], v: i => [7e4, -1e6, 2 ** -25, 3 * 2 ** -25][(i >> 1) % 4] }),
    kept('f16')),
  edge(attention, 'steps', 'keys and values on ties of their steps, and heads and tokens of very different sizes',
    () => look({ l: 3, t: 3, k: i => [127, 0.5, 1.5, -2.5][i % 4] * 10 ** ((i >> 2) % 3), v: i => [1e-7, 1e-6, -1e-3, 1e4][(i >> 1) % 4] }),
    kept('i8-dynamic')),

  edge(rope, 'quarters', 'turns by multiples of an eighth', () => turned([1, 2], times(9, i => (i * Math.PI) / 4))),
  edge(rope, 'cancels', 'two products that nearly cancel, in each of the two channels', () => turned([1, 1, 3], [Math.PI / 4, 3 * Math.PI / 4])),
  edge(rope, 'not-turned', 'channels behind 2r are copied, also what is infinite or denormal', () => ({
    x: f32([1, 2, INFINITE, -INFINITE, -0, 1e-41], 1, 6), cos: f32([0.6], 1, 1), sin: f32([0.8], 1, 1),
  })),

  ...table('start', 'the first tokens of a text', 0, [1, 0.5, 0]),
  ...table('angles', 'angles at and next to multiples of a quarter', 1, QUARTERS, 1),
  ...table('position=4095', 'θ = 10⁴', 4095, [...ropeFrequencies(1e4, 8)]),
  ...table('position=2^18', 'θ = 10¹¹, far into a text: angles are rounded to f32', 2 ** 18 - 2, [...ropeFrequencies(1e11, 32)]),
  ...table('position=2^20', 'the largest angles that there are', 2 ** 20 - 4, [1, 0.75, 1e-3, 2 ** -20]),
  ...table('position=2^24', 'the largest positions that f32 counts', 2 ** 24 - 5, [2 ** -5, 2 ** -24, 1e-6]),

  edge(swiglu, 'gates', 'gates at the ends of an exp, by a factor of 3', () => {
    const gate = both([0, ...ENDS, INFINITE]);
    return { gate: f32(gate), up: f32By([1, gate.length], () => 3) };
  }),
  edge(swiglu, 'zeros', 'zeros of both signs on either side', () => ({ gate: f32([0, -0, 0, -0, 1, -1]), up: f32([0, 0, -0, -0, -0, -0]) })),
  edge(squaredRelu, 'ends', 'both zeros, infinities, denormals, and the roots of the least and the largest f32', () => ({
    x: f32(both([0, ...ENDS, 3.4028235e38, INFINITE, 2 ** -75, 2 ** -74.5, 2 ** -63, 1.8446743e19, 1.8446744e19, 1.8446746e19])),
  })),
];

/** A walk over every exponent of f32. */
/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const attentionBinades: readonly Edge[] = [
  edge(swiglu, 'every-gate', 'silu of gates of every exponent', () => {
    const { rows } = argumentsOfExp();
    return { gate: rows, up: f32By(rows.shape, () => 1) };
  }),
  edge(swiglu, 'every-exponent', 'products of two exponents', () => ({
    gate: f32(upTo(1e18, 1 << 10).map(Math.abs), 4, 1 << 8),
    up: f32(upTo(1e19, 1 << 10).reverse(), 4, 1 << 8),
  })),
  edge(squaredRelu, 'every-exponent', 'squares over the whole range of f32', () => ({ x: f32(everyExponent(1 << 12), 4, 1 << 10) })),
  edge(rope, 'every-exponent', 'pairs of two exponents', () => {
    const x = upTo(1e37, 1 << 10);
    return { x: f32(x, 1 << 8, 4), cos: f32(noise(1, 1 << 9), 1 << 8, 2), sin: f32(noise(2, 1 << 9), 1 << 8, 2) };
  }),
  edge(ropeTable, 'every-exponent', 'frequencies of every exponent, up to 1', () => ({
    tokens: { dtype: 'i32', shape: [3], data: new Int32Array(3) },
    freq: f32(upTo(1, 1 << 10), 1 << 10),
  })),
  edge(attention, 'every-exponent', 'values of every exponent, under nearly equal weights', () => {
    const l = 24;
    return { q: f32(noise(1, l * 8), l, 8), k: f32(noise(2, l * 8), l, 8), v: f32(upTo(1e36, l * 8), l, 8) };
  }, { attrs: { h: 2, g: 2, scale: 0.1 } }),
];
