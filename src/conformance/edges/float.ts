/** The edges of the ops on floats. */
import { ops } from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import type { Tensors } from '../named.ts';
import type { Edge } from './edge.ts';
import {
  around,
  both,
  ENDS,
  edge,
  everyExponent,
  f32,
  f32By,
  f32Rows,
  noise,
  ones,
  times,
  uniform,
} from './edge.ts';

const { softplus, silu, negExp, selectiveScan, ssdScan, causalConv1d, fwht, rmsNorm, gatedRmsNorm } = ops;

const INFINITE = Number.POSITIVE_INFINITY;

interface Scan {
  readonly l?: number;
  readonly dt: readonly [from: number, to: number];
  readonly A: readonly [from: number, to: number];
  readonly sign?: 'positive';
  readonly z?: readonly [from: number, to: number];
}
const D = 5;
const N = 16;
/** A scan whose dt and A are drawn from these intervals. `positive`: no term can cancel an infinity. */
function scan({ l = 6, dt, A, sign, z }: Scan): Tensors {
  const values = (seed: number, size: number) => {
    const drawn = noise(seed, size);
    return sign ? drawn.map(Math.abs) : drawn;
  };
  return {
    u: f32(values(1, l * D), l, D),
    dt: f32(uniform(2, l * D, ...dt), l, D),
    A: f32(uniform(3, D * N, ...A), D, N),
    B: f32(values(4, l * N), l, N),
    C: f32(values(5, l * N), l, N),
    D: f32(values(6, D), D),
    h: f32(values(7, D * N), D, N),
    ...(z && { z: f32(uniform(8, l * D, ...z), l, D) }),
  };
}

interface HeadsOf {
  readonly l?: number;
  readonly h?: number;
  /** Before softplus. */
  readonly dt: readonly [from: number, to: number];
  readonly A?: readonly [from: number, to: number];
  readonly sign?: 'positive';
}
const P = 5;
/** A scan of heads whose dt and A are drawn from these intervals, in up to eight groups. */
function heads({ l = 6, h = 8, dt, A = [-16, 0], sign }: HeadsOf): Tensors {
  const values = (seed: number, size: number) => {
    const drawn = noise(seed, size);
    return sign ? drawn.map(Math.abs) : drawn;
  };
  return {
    dt: f32(uniform(2, l * h, ...dt), l, h),
    x: f32(values(1, l * h * P), l, h * P),
    A: f32(uniform(3, h, ...A), h, 1),
    B: f32(values(4, l * N), l, N),
    C: f32(values(5, l * N), l, N),
    D: f32(values(6, h), h),
    S: f32(values(7, h * N * P), h, N, P),
  };
}
/** The same with the states of each of `g` groups: N in all. */
const grouped = (g: number) => ({
  ...heads({ dt: [-6, 0] }),
  S: f32(noise(7, 8 * (N / g) * P), 8, N / g, P),
});

/** Decays whose exponents run through f32, of heads. x is 0, so that the state shows the decay alone. */
function everyDecayOfHeads(): Tensors {
  const h = 1 << 12;
  const still = f32By([1, h], () => 0);
  return {
    dt: still,
    x: still,
    A: f32(everyExponent(h), h, 1),
    B: ones(1, 4),
    C: ones(1, 4),
    S: ones(h, 4, 1),
  };
}

/** Decays whose exponents run through f32. u is 0, so that the state shows the decay alone. */
function everyDecay(): Tensors {
  const d = 1 << 12;
  const [u, A] = [f32By([1, d], () => 0), f32(everyExponent(d * N), d, N)];
  return { u, dt: ones(1, d), A, B: ones(1, N), C: ones(1, N), h: ones(d, N) };
}
const conv = (l: number, k: number): Tensors => ({
  x: f32(noise(1, 3 * l), l, 3),
  w: f32(noise(2, 3 * k), 3, k),
  b: f32(noise(3, 3), 3),
  past: f32(noise(4, 3 * (k - 1)), 3, k - 1),
});

const identity = (n: number): Tensor<'f32'> => f32By([n, n], i => (i % (n + 1) === 0 ? 1 : 0));

const norms = (what: string, says: string, rows: readonly (readonly number[])[]): Edge =>
  edge(rmsNorm, what, says, () => ({ x: f32Rows(rows), w: f32(noise(9, rows[0].length), rows[0].length) }));

/** Rows whose gate hardly changes them: silu(20) is 20 but for a rounding. */
const gatedNorms = (what: string, says: string, g: number, rows: readonly (readonly number[])[]): Edge => {
  const d = rows[0].length;
  return edge(
    gatedRmsNorm,
    what,
    says,
    () => ({ x: f32Rows(rows), z: f32By([rows.length, d], i => 20 - (i % 7)), w: f32(noise(9, d), d) }),
    { attrs: { g } },
  );
};

const TINY_ROWS = [1e-2, 3e-3, 1e-5, 1e-20, 1e-41, 0].map(size => noise(5, 35, size));
const HUGE_ROWS = [1e5, 1e15, 1e18, 1e20].map(size => noise(6, 35, size));
const STEPS = [1, 1 / 64, 0.37];
const QUOTIENTS = [0.5, 1.5, -2.5, 126.5, -127.5, 128, -129, INFINITE, -INFINITE, -0];

/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const floatEdges: readonly Edge[] = [
  edge(softplus, 'threshold', 'at 20, above which x is its own softplus, and next to it', () => ({
    x: f32([...around(20), 19, 19.5, 20.5, 21, 15, 16.6, 17, 18, 30, 88, 89]),
  })),
  ...[softplus, silu, negExp].flatMap(op => [
    edge(op, 'ends', 'both zeros, infinities, denormals, and where an exp overflows and underflows',
      () => ({ x: f32(both([0, ...ENDS, 3.4028235e38, INFINITE])) })),
    edge(op, 'every-exponent', 'over the whole range of f32',
      () => ({ x: f32(everyExponent(1 << 16), 4, 1 << 14) })),
  ]),
  edge(selectiveScan, 'every-decay', 'exp2 over the whole range of f32, as the decay of a state', everyDecay),
  edge(selectiveScan, 'dt-zero', 'a step of zero leaves the state', () => scan({ dt: [0, 0], A: [-16, 0] })),
  edge(selectiveScan, 'dt-tiny', 'denormal steps', () => scan({ dt: [0, 1e-38], A: [-16, 0] })),
  edge(selectiveScan, 'dt-huge', 'steps after which nothing is left of the state',
    () => scan({ dt: [1e3, 1e9], A: [-16, -1] })),
  edge(selectiveScan, 'decay-denormal', 'decays among the denormals and below them',
    () => scan({ dt: [1, 1], A: [-106, -86] })),
  edge(selectiveScan, 'decay-overflow', 'a positive A: decays up to infinity',
    () => scan({ l: 2, dt: [0.5, 2], A: [0, 90], sign: 'positive' })),
  edge(selectiveScan, 'decay-extreme', 'A from −1e30 to 0', () => scan({ dt: [0, 1], A: [-1e30, 0] })),
  edge(selectiveScan, 'no-decay', 'a state that forgets nothing',
    () => scan({ l: 40, dt: [0, 1], A: [0, 0] })),
  edge(selectiveScan, 'gate-extreme', 'gates from where silu is 0 to where it is z',
    () => scan({ dt: [0, 1], A: [-16, 0], z: [-130, 60] })),
  edge(selectiveScan, 'long', '700 tokens of slow decay',
    () => scan({ l: 700, dt: [0.001, 0.1], A: [-1, 0], z: [-2, 2] })),
  edge(selectiveScan, 'steps',
    'given states on ties, beyond the range on both sides, infinite, and −0; a step of zero leaves them',
    () => ({
      u: f32By([2, 3], () => 0),
      dt: f32By([2, 3], () => 0),
      A: f32By([3, 10], () => -1),
      B: f32(noise(1, 20), 2, 10),
      C: ones(2, 10),
      h: f32(STEPS.flatMap(step => QUOTIENTS.map(x => x * step)), 3, 10),
    }),
    { kept: { h: { dtype: 'i8', scale: Float32Array.from(STEPS) } } }),
  edge(ssdScan, 'every-decay', 'exp2 over the whole range of f32, as the decay of a state', everyDecayOfHeads,
    { attrs: { lo: 1, hi: 1 } }),
  edge(ssdScan, 'dt-zero', 'a step of zero leaves the state', () => heads({ dt: [-1e4, -200] })),
  edge(ssdScan, 'dt-tiny', 'denormal steps', () => heads({ dt: [-104, -87] })),
  edge(ssdScan, 'dt-huge', 'steps after which nothing is left of the state', () => heads({ dt: [1e3, 1e9], A: [-16, -1] })),
  edge(ssdScan, 'dt-infinite', 'infinite steps before their limit', () => ({
    ...heads({ dt: [0, 1] }),
    dt: f32By([6, 8], i => [INFINITE, -INFINITE, 0][i % 3]),
  }), { attrs: { lo: 0.01, hi: 2 } }),
  edge(ssdScan, 'threshold', 'sums of dt and bias at 20, above which x is its own softplus, and next to it', () => ({
    ...heads({ l: 5, dt: [0, 1] }),
    dt: f32(around(20).flatMap(x => [x, x - 1, x - 0.1, x + 1, x - 7, x + 100, x / 2, 3 * x]), 5, 8),
    bias: f32([0, 1, 0.1, -1, 7, -100, 10, -40], 8),
  })),
  edge(ssdScan, 'limits', 'steps below the lower limit, between both, and above the upper',
    () => heads({ l: 40, dt: [-9, 3] }), { attrs: { lo: 0.01, hi: 0.5 } }),
  edge(ssdScan, 'one-limit', 'both limits are one value, which is every step', () => heads({ dt: [-9, 3] }),
    { attrs: { lo: 0.1, hi: 0.1 } }),
  edge(ssdScan, 'decay-denormal', 'decays among the denormals and below them',
    () => heads({ dt: [0, 0], A: [-106, -86] }), { attrs: { lo: 1, hi: 1 } }),
  edge(ssdScan, 'decay-overflow', 'a positive A: decays up to infinity',
    () => heads({ l: 2, dt: [0, 2], A: [0, 90], sign: 'positive' })),
  edge(ssdScan, 'no-decay', 'a state that forgets nothing', () => heads({ l: 40, dt: [-6, 0], A: [0, 0] })),
  edge(ssdScan, 'infinite-input', 'an input that is infinite, and stays so in the state', () => {
    const made = heads({ dt: [-6, 0], A: [-1, 0], sign: 'positive' });
    return { ...made, x: f32By([6, 8 * P], i => (i === 3 ? INFINITE : 1 + (i % 5))) };
  }),
  edge(ssdScan, 'long', '700 tokens of slow decay', () => heads({ l: 700, dt: [-6, -2], A: [-1, 0] })),
  ...[1, 2, 4].map(g =>
    edge(ssdScan, `groups=${g}`, 'each group of heads has its own B and C', () => grouped(g), { attrs: { g } })),
  edge(ssdScan, 'groups=8', 'each head has its own B and C', () => ({
    ...heads({ dt: [-6, 0] }),
    ...{ B: f32(noise(4, 6 * 8 * N), 6, 8 * N), C: f32(noise(5, 6 * 8 * N), 6, 8 * N) },
  }), { attrs: { g: 8 } }),
  edge(ssdScan, 'steps',
    'given states on ties, beyond the range on both sides, infinite, and −0; a step of zero leaves them',
    () => ({
      ...{ dt: f32By([2, 3], () => -200), x: f32By([2, 30], () => 0), A: f32By([3, 1], () => -1) },
      ...{ B: f32(noise(1, 8), 2, 4), C: ones(2, 4) },
      S: f32(STEPS.flatMap(step => times(4, () => QUOTIENTS).flat().map(x => x * step)), 3, 4, 10),
    }),
    { kept: { S: { dtype: 'i8', scale: Float32Array.from(STEPS.flatMap(step => times(4, () => step))) } } }),
  ...[2, 3, 4, 5].flatMap(k => times(k, l =>
    edge(causalConv1d, `l=${l},k=${k}`, 'a text no longer than the state: old inputs stay in it',
      () => conv(l, k)))),
  edge(causalConv1d, 'taps', 'an impulse in each channel: the taps, in their order',
    () => ({ x: f32By([6, 4], i => (i % 4 === Math.floor(i / 4) ? 1 : 0)), w: f32By([4, 4], i => i + 1) }),
    { attrs: { activation: 'none' } }),
  ...[12, 20, 28, 40].flatMap(base => [false, true].flatMap(inverse => [
    edge(fwht, `identity=${base},inverse=${inverse}`, 'the matrix itself, by its action on unit vectors',
      () => ({ x: identity(base) }), { attrs: { inverse } }),
    // 40 · 2 is 20 · 4
    ...(base === 40 ? [4, 16, 128] : [2, 4, 16, 128]).map(run => [run, base * run]).map(([run, n]) =>
      edge(fwht, `n=${n},inverse=${inverse}`, `${base} · ${run}, an outlier and noise`, () => ({
        x: f32([...noise(n, n), ...times(n, i => (i === n >> 1 ? 100 : 0.01)), ...noise(n + 1, n)], 3, n),
      }), { attrs: { inverse } })),
  ])),
  norms('tiny', 'rows so small that eps decides', TINY_ROWS),
  norms('huge', 'rows whose squares are large, and one whose squares overflow', HUGE_ROWS),
  ...[1, 5, 7].flatMap(g => [
    gatedNorms(`tiny,g=${g}`, 'groups so small that eps decides, and groups of zeros', g, TINY_ROWS),
    gatedNorms(`huge,g=${g}`, 'groups whose squares are large, and one whose squares overflow', g, HUGE_ROWS),
    gatedNorms(`apart,g=${g}`, 'neighbours that differ a millionfold from group to group', g,
      [times(35, i => (i % 3 + 1) * 10 ** (6 * (Math.floor((i * g) / 35) % 2) - 3))]),
  ]),
  norms('outlier', 'one channel that is the whole of the sum',
    [0, 17, 34].map(at => times(35, i => (i === at ? 3000 : 0.01)))),
];
