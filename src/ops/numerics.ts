/**
 * The elementary functions of the f32 path: exp, exp2, log1p, and by them silu and softplus; sin and cos.
 *
 * `Math.exp` differs between engines, so it is not used. These are f32 polynomials after a range reduction, built from
 * + − × ÷ (each rounded once, in the order written) and exact moves of the exponent; WebAssembly, CUDA or any other
 * machine that repeats the same operations gets the same bits. Worst errors are in docs/numerics.md (at most 2 ulp).
 *
 *   exp   n = round(x · log2 e), r = x − n · ln 2 in two parts,   eˣ = 2ⁿ · (1 + t),  t = r + r² · p(r)
 *   exp2  n = round(x),          r = x − n (exact),               2ˣ = 2ⁿ · (1 + r · p(r))
 *   log1p u = 1 + x = 2ᵏ · (1 + f), s = f / (2 + f),              log u = k · ln 2 + 2 atanh s
 *   sin   n = round(x · 2/π), r = x − n · π/2 in two parts,       sin or cos of r, by n mod 4; in f64, rounded to f32 once
 *
 * Source: Cody & Waite, Software Manual for the Elementary Functions (reductions); the polynomials are minimax fits
 * checked over every float of the reduced interval.
 */

/**
 * One rounding to binary32: `f(a * b)` is the correctly rounded f32 product of two f32 values. Each file that computes has this
 * line of its own: where a test runner or a bundler makes a look-up of every imported name, an imported `f` was measured to make
 * the reference four times slower.
 */
const f = Math.fround;

/** 1.5 · 2²³: adding and subtracting it rounds |v| < 2²² to the nearest integer, ties to even. */
const MAGIC = 12582912;
export const roundEven = (v: number): number => f(f(v + MAGIC) - MAGIC);

/** One value in steps of `scale`, an integer in −128 … 127 (clamped first, which changes nothing: the bounds are integers). */
export const quantizeValue = (x: number, scale: number): number =>
  roundEven(Math.min(Math.max(f(x / scale), -128), 127));

/** 2ⁿ for |n| ≤ 320, exact: made by doubling and halving. */
const POWERS = new Float64Array(641).fill(1);
for (let n = 1; n <= 320; n++) {
  POWERS[320 + n] = POWERS[319 + n] * 2;
  POWERS[320 - n] = POWERS[321 - n] / 2;
}
const pow2 = (n: number): number => POWERS[n + 320];

const LOG2E = f(Math.LOG2E);
const LN2_HI = 0.693359375; // 355/512: n · LN2_HI is exact for |n| < 2¹⁴
const LN2_LO = f(-2.1219444005469057e-4); // ln 2 − LN2_HI

const EXP = [0.00138145711, 0.00836873018, 0.0416683893, 0.166665205, 0.499999934].map(f);

/** t of eˣ = 2ⁿ · (1 + t), for |x| < 2²⁰. */
function expTail(x: number, n: number): number {
  const r = f(f(x - f(n * LN2_HI)) - f(n * LN2_LO));
  let p = EXP[0];
  for (let i = 1; i < 5; i++) p = f(f(p * r) + EXP[i]);
  return f(f(f(p * r) * r) + r);
}

/** eˣ. Overflows to inf, underflows through the denormals to 0; NaN stays NaN. */
export function exp(x: number): number {
  const c = Math.min(Math.max(x, -104), 89);
  const n = roundEven(f(c * LOG2E));
  return Number.isNaN(n) ? n : f(f(1 + expTail(c, n)) * pow2(n));
}

const EXP2 = [0.000155947587, 0.00134066745, 0.00961769261, 0.0555031047, 0.240226528, 0.693147215].map(f);

/** 2ˣ. Overflows to inf, underflows through the denormals to 0; never above 1 for x ≤ 0; NaN stays NaN. */
export function exp2(x: number): number {
  const c = Math.min(Math.max(x, -151), 129);
  const n = roundEven(c);
  const r = f(c - n);
  let p = EXP2[0];
  p = f(f(p * r) + EXP2[1]);
  p = f(f(p * r) + EXP2[2]);
  p = f(f(p * r) + EXP2[3]);
  p = f(f(p * r) + EXP2[4]);
  p = f(f(p * r) + EXP2[5]);
  p = f(f(p * r) + 1);
  return Number.isNaN(n) ? n : f(p * pow2(n));
}

const SQRT2 = f(Math.SQRT2);
const ATANH = [2 / 9, 2 / 7, 2 / 5, 2 / 3].map(f);

/**
 * log(1 + x + tail) for x > −1 and a tail below half an ulp of x: what the roundings of 1 + x and of x itself lost comes
 * back as a first-order correction c.
 */
function log1pTail(x: number, tail: number): number {
  const u = f(1 + x);
  const k = exponentOf(u);
  const f1 = k === 0 ? x : f(f(u * pow2(-k)) - 1);
  const c = f((k === 0 ? tail : f(f(x - f(u - 1)) + tail)) / u);
  const s = f(f1 / f(2 + f1));
  const z = f(s * s);
  let p = ATANH[0];
  for (let i = 1; i < 4; i++) p = f(f(p * z) + ATANH[i]);
  const half = f(f(0.5 * f1) * f1);
  const rest = f(f(s * f(half + f(p * z))) + f(f(k * LN2_LO) + c));
  return f(f(k * LN2_HI) + f(f1 - f(half - rest)));
}

const BITS = new Int32Array(1);
const FLOAT = new Float32Array(BITS.buffer);

/** k with u = 2ᵏ · m, m in [√½, √2). */
function exponentOf(u: number): number {
  FLOAT[0] = u;
  const k = ((BITS[0] >> 23) & 255) - 127;
  return f(u * pow2(-k)) >= SQRT2 ? k + 1 : k;
}

/** log(1 + x), accurate near 0. −inf at −1, NaN below. */
export function log1p(x: number): number {
  if (x <= -1) return x < -1 ? Number.NaN : Number.NEGATIVE_INFINITY;
  return x < Number.POSITIVE_INFINITY && x !== 0 ? log1pTail(x, 0) : x;
}

/** x > 20 is its own softplus to the last bit: log1p(e⁻²⁰) is 2·10⁻⁹. */
const SOFTPLUS_LINEAR = 20;

/** log(1 + eˣ) = max(x, 0) + log1p(e^−|x|), with the exponential in two parts so that its rounding is not paid. */
export function softplus(x: number): number {
  if (!(x <= SOFTPLUS_LINEAR)) return x;
  const a = Math.max(-Math.abs(x), -104);
  const n = roundEven(f(a * LOG2E));
  const t = expTail(a, n);
  const hi = f(1 + t);
  const lo = f(t - f(hi - 1));
  const y = log1pTail(f(hi * pow2(n)), f(lo * pow2(n)));
  return x > 0 ? f(x + y) : y;
}

/** x above this is its own silu to the last bit. */
const SILU_LINEAR = 18;

/** The 1 of 1 + e⁻ˣ, scaled like the rest. */
const ONE = pow2(-64);

/** x / (1 + e⁻ˣ), with the exponential in two parts, and scaled by 2⁻⁶⁴ so that it overflows nowhere. */
export function silu(x: number): number {
  if (x >= SILU_LINEAR) return x;
  const c = Math.max(x, -128);
  const n = roundEven(f(-f(c * LOG2E)));
  if (Number.isNaN(n)) return n;
  const t = expTail(-c, n);
  const hi = f(1 + t);
  const lo = f(t - f(hi - 1));
  const e = f(hi * pow2(n - 64));
  const sum = f(e + ONE);
  const one = f(sum - e);
  const lost = f(f(e - f(sum - one)) + f(ONE - one)); // Knuth's two-sum: e + ONE = sum + lost, exactly
  const denominator = f(sum + f(lost + f(lo * pow2(n - 64))));
  return f(f(c / denominator) * ONE);
}

/** The first 33 bits of π/2: n · PIO2_HI is exact in f64 for |n| < 2²⁰. */
const PIO2_HI = 1.5707963267341256;
const PIO2_LO = 6.077100506506192e-11; // π/2 − PIO2_HI
/** 1.5 · 2⁵²: `MAGIC` of f64. */
const MAGIC64 = 6755399441055744;
const SIN = [-1 / 1307674368000, 1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1];
const COS = [
  1 / 20922789888000,
  -1 / 87178291200,
  1 / 479001600,
  -1 / 3628800,
  1 / 40320,
  -1 / 720,
  1 / 24,
  -1 / 2,
  1,
];
/** Beyond it the reduction would not be exact. A text is far shorter. */
const MOST_ANGLE = 1 << 20;

/** Of x + quarter · π/2, in f64 until the last rounding: it is asked for a few times a token, not for each of its values. */
function sine(x: number, quarter: number): number {
  if (!(Math.abs(x) <= MOST_ANGLE)) return Number.NaN;
  const n = x * (2 / Math.PI) + MAGIC64 - MAGIC64;
  const r = x - n * PIO2_HI - n * PIO2_LO;
  const z = r * r;
  const turn = (n + quarter) & 3;
  let p = 0;
  for (const c of turn & 1 ? COS : SIN) p = p * z + c;
  if (!(turn & 1)) p *= r;
  return f(turn & 2 ? -p : p);
}

/** sin x; NaN beyond |x| = 2²⁰. */
export const sin = (x: number): number => sine(x, 0);

/** cos x; NaN beyond |x| = 2²⁰. */
export const cos = (x: number): number => sine(x, 1);
