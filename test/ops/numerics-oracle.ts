/**
 * The truth about exp, exp2, log1p, softplus, silu, sin and cos, twice: in 64 decimal digits, and in float64, which is a thousand
 * times faster and wrong by less than 1/1000 of a float32 ulp (numerics.test.ts checks that). Nothing here is shared with
 * src/ops/numerics.ts.
 */
import { createHash } from 'node:crypto';
import { all, type BigNumber, create, type MathJsInstance } from 'mathjs';

const { bignumber } = create(all, { precision: 64 }) as MathJsInstance;

const ONE = bignumber(1);
const TWO = bignumber(2);
const big = (x: number) => bignumber(x);
/** `big` takes the shortest decimal of x, which is off by 10⁻¹⁷ of it: next to a multiple of π that is too much. */
const exactly = (x: number) => bignumber(`${BigInt(x * 2 ** 149)}`).div(TWO.pow(149));

export interface Oracle {
  readonly from: number;
  readonly to: number;
  readonly exact: (x: number) => BigNumber;
  readonly near: (x: number) => number;
  readonly borders: readonly number[];
}
export type Name = 'exp' | 'exp2' | 'log1p' | 'softplus' | 'silu' | 'sin' | 'cos';

/** Multiples of π/4, where sine and cosine change their polynomial, or their sign. */
const EIGHTHS = [...halves(-200, 200), 1e3, 1e4, 1e5, 2 ** 18, 667_540.5].map(n => (n * Math.PI) / 2);
/** Where ours end. */
const MOST_ANGLE = 2 ** 20;

/**
 * `from` … `to` is where a result is neither saturated nor the argument itself, `exact` is the truth there, and `near` the
 * float64 everywhere. `borders` are arguments at which the implementation changes its way.
 */
export const functions: Readonly<Record<Name, Oracle>> = {
  exp: {
    from: -105,
    to: 90,
    exact: x => big(x).exp(),
    near: x => Math.exp(x),
    borders: [-104, -103.97208, -87.33655, 88.72284, 89, ...halves(-150, 128).map(k => k * Math.LN2)],
  },
  exp2: {
    from: -152,
    to: 130,
    exact: x => TWO.pow(big(x)),
    near: x => 2 ** x,
    borders: [-151, -150, -149, -126, 128, 129, ...halves(-150, 128)],
  },
  log1p: {
    from: -1,
    to: 3.4028235e38,
    exact: x => ONE.plus(big(x)).ln(),
    near: x => Math.log1p(x),
    borders: [
      -0.5,
      1,
      2 ** 23,
      2 ** 24,
      2 ** 25,
      ...halves(-23, 127).flatMap(k => [2 ** k - 1, 1 - 2 ** -k]),
    ],
  },
  softplus: {
    from: -105,
    to: 100,
    exact: x =>
      ONE.plus(big(-Math.abs(x)).exp())
        .ln()
        .plus(Math.max(x, 0)),
    near: x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    borders: [-104, -87.33655, 18, 20, ...halves(-150, 28).map(k => k * Math.LN2)],
  },
  silu: {
    from: -130,
    to: 100,
    exact: x => big(x).div(ONE.plus(big(-x).exp())),
    near: x => (x < -700 ? -0 : x / (1 + Math.exp(-x))),
    borders: [-128, -108, -104, -88.72284, -87.33655, 18, 20, ...halves(-184, 26).map(k => k * Math.LN2)],
  },
  sin: angles(x => exactly(x).sin(), Math.sin),
  cos: angles(x => exactly(x).cos(), Math.cos),
};

function angles(exact: Oracle['exact'], near: Oracle['near']): Oracle {
  return {
    from: -MOST_ANGLE,
    to: MOST_ANGLE,
    exact,
    near: x => (Math.abs(x) > MOST_ANGLE ? Number.NaN : near(x)),
    borders: [...EIGHTHS, MOST_ANGLE, -MOST_ANGLE],
  };
}

/** from, from + ½, …, to. */
function halves(from: number, to: number): number[] {
  return Array.from({ length: 2 * (to - from) + 1 }, (_, i) => from + i / 2);
}

const bits = new Int32Array(1);
const float = new Float32Array(bits.buffer);

/** The float32 whose bits are `i`. */
export function fromBits(i: number): number {
  bits[0] = i;
  return float[0];
}

/** The float32 that is `steps` representable values above x (below, where negative). */
export function nextFloat(x: number, steps: number): number {
  float[0] = x;
  const order = bits[0] < 0 ? -2147483648 - bits[0] : bits[0]; // integers in the order of the floats
  return fromBits(order + steps < 0 ? -2147483648 - (order + steps) : order + steps);
}

/** The distance between float32 values at x. */
export function ulp(x: number): number {
  const size = Math.abs(x);
  if (size < 2 ** -126) return 2 ** -149;
  let step = 2 ** Math.max(Math.floor(Math.log2(size)) - 23, -149);
  if (step * 2 ** 24 <= size) step *= 2;
  if (step * 2 ** 23 > size) step /= 2;
  return Math.min(step, 2 ** 104);
}

/** An infinity counts as the value after the largest. */
const finite = (y: number) => (Math.abs(y) === Infinity ? Math.sign(y) * 2 ** 128 : y);

/** |y − f(x)| in ulps of f(x), by float64. */
export function nearError({ near }: Oracle, x: number, y: number): number {
  const truth = near(x);
  if (Math.abs(truth) >= 2 ** 128) return Math.abs(y) === Infinity ? 0 : Infinity;
  return Math.abs(finite(y) - truth) / ulp(truth);
}

/** |y − f(x)| in ulps of f(x), for from < x < to, by 64 digits. */
export function exactError({ exact }: Oracle, x: number, y: number): number {
  const truth = exact(x);
  const size = truth.toNumber();
  if (Math.abs(size) >= 2 ** 128) return Math.abs(y) === Infinity ? 0 : Infinity;
  return truth.minus(finite(y)).abs().toNumber() / ulp(size);
}

/** Whether the function has a value at x. */
export const isDefined = (name: Name, x: number): boolean => !Number.isNaN(functions[name].near(x));

/** Whether `exactError` is defined at x. */
export const isActive = ({ from, to }: Oracle, x: number): boolean => x > from && x < to;

/** `count` arguments of every exponent and sign of float32: the mantissas evenly spaced, and at both ends. */
export function* everyExponent(count: number): Generator<number> {
  for (const sign of [0, -2147483648])
    for (let exponent = 0; exponent < 255; exponent++)
      for (let i = 0; i < count; i++)
        yield fromBits(sign | (exponent << 23) | Math.round((i * 0x7fffff) / (count - 1)));
}

/** Every float32 whose size is from 2^from up to below 2^to. */
export function* everyFloat(from: number, to: number): Generator<number> {
  for (const sign of [0, -2147483648])
    for (let i = (127 + from) << 23; i < (127 + to) << 23; i++) yield fromBits(sign | i);
}

/** `count` arguments evenly spaced over the part of the domain in which something happens. */
export function* evenly({ from, to }: Oracle, count: number): Generator<number> {
  const end = Math.min(to, 130);
  for (let i = 1; i < count; i++) yield Math.fround(from + ((end - from) * i) / count);
}

/** The float32 values around every border, `reach` to each side. */
export function* aroundBorders({ borders }: Oracle, reach: number): Generator<number> {
  for (const border of borders) for (let i = -reach; i <= reach; i++) yield nextFloat(Math.fround(border), i);
}

/**
 * The first half of sha256 over the float32 results, little-endian, for 200 arguments of every exponent and sign (see
 * `everyExponent`), every NaN as 7fc00000: another implementation has the same bits if it has the same fingerprint.
 */
export function fingerprint(ours: (x: number) => number): string {
  const results = Float32Array.from(everyExponent(200), ours);
  const words = new Uint32Array(results.buffer);
  results.forEach((y, i) => {
    if (Number.isNaN(y)) words[i] = 0x7fc00000;
  });
  return createHash('sha256').update(words).digest('hex').slice(0, 32);
}
