// The elementary functions of src/ops/numerics.ts on four values at once: the same operations in the same order, each
// rounded once, so that every lane has the bits of the scalar function. NaN passes through (pmax and pmin keep it).
//
// Where the reference multiplies by 2ⁿ in one rounding, two multiplications by powers of two do: the first is exact.

@inline export function add(a: v128, b: v128): v128 { return f32x4.add(a, b); }
@inline export function sub(a: v128, b: v128): v128 { return f32x4.sub(a, b); }
@inline export function mul(a: v128, b: v128): v128 { return f32x4.mul(a, b); }
@inline export function splat(x: f32): v128 { return f32x4.splat(x); }
@inline export function zero(): v128 { return i32x4.splat(0); }

/** The first four int8 of a vector, as f32. */
@inline export function integers(q: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(q)));
}

/** The bytes of a row of n values of 4 bytes, padded to whole vectors. Nothing depends on what the padding holds. */
@inline export function rowBytes(n: i32): usize { return <usize>((n + 3) & ~3) << 2; }
/** The cache lines of so many rows of n values of 4 bytes. */
@inline export function linesOf(n: i32, rows: i32): i32 { return <i32>((rowBytes(n) * rows + 63) >> 6); }

// V8 builds a vector constant anew at each use; one in memory costs a load.
const MASKS = memory.data<i32>([-1, -1, -1, -1, 0, 0, 0, 0], 16);
/** All ones in the lanes of a row's last vector that hold values. */
@inline export function lastLanes(n: i32): v128 { return v128.load(MASKS + (<usize>(3 - ((n - 1) & 3)) << 2)); }

/** The constants, by their places. Exp2_k and Exp_k are the coefficients of the polynomials, of power k. */
enum C {
  Magic, Exp2Low, Exp2High, Exp2_6, Exp2_5, Exp2_4, Exp2_3, Exp2_2, Exp2_1, One, ExpLow, ExpHigh, Log2e, Ln2High,
  Ln2Low, Exp_5, Exp_4, Exp_3, Exp_2, Exp_1, Sqrt2, Half, Two, SoftplusLinear, SiluLinear, Lowest, SiluUnit, Atanh_9,
  Atanh_7, Atanh_5, Atanh_3, Highest, Ordinary,
}
const CONSTANTS = memory.data<f32>([
  /* Magic */ 12582912, 12582912, 12582912, 12582912,
  /* Exp2Low */ -151, -151, -151, -151,
  /* Exp2High */ 129, 129, 129, 129,
  /* Exp2_6 */ 0.000155947587, 0.000155947587, 0.000155947587, 0.000155947587,
  /* Exp2_5 */ 0.00134066745, 0.00134066745, 0.00134066745, 0.00134066745,
  /* Exp2_4 */ 0.00961769261, 0.00961769261, 0.00961769261, 0.00961769261,
  /* Exp2_3 */ 0.0555031047, 0.0555031047, 0.0555031047, 0.0555031047,
  /* Exp2_2 */ 0.240226528, 0.240226528, 0.240226528, 0.240226528,
  /* Exp2_1 */ 0.693147215, 0.693147215, 0.693147215, 0.693147215,
  /* One */ 1, 1, 1, 1,
  /* ExpLow */ -104, -104, -104, -104,
  /* ExpHigh */ 89, 89, 89, 89,
  /* Log2e */ 1.4426950408889634, 1.4426950408889634, 1.4426950408889634, 1.4426950408889634,
  /* Ln2High */ 0.693359375, 0.693359375, 0.693359375, 0.693359375,
  /* Ln2Low */ -2.1219444005469057e-4, -2.1219444005469057e-4, -2.1219444005469057e-4, -2.1219444005469057e-4,
  /* Exp_5 */ 0.00138145711, 0.00138145711, 0.00138145711, 0.00138145711,
  /* Exp_4 */ 0.00836873018, 0.00836873018, 0.00836873018, 0.00836873018,
  /* Exp_3 */ 0.0416683893, 0.0416683893, 0.0416683893, 0.0416683893,
  /* Exp_2 */ 0.166665205, 0.166665205, 0.166665205, 0.166665205,
  /* Exp_1 */ 0.499999934, 0.499999934, 0.499999934, 0.499999934,
  /* Sqrt2 */ 1.4142135623730951, 1.4142135623730951, 1.4142135623730951, 1.4142135623730951,
  /* Half */ 0.5, 0.5, 0.5, 0.5,
  /* Two */ 2, 2, 2, 2,
  /* SoftplusLinear */ 20, 20, 20, 20,
  /* SiluLinear */ 18, 18, 18, 18,
  /* Lowest */ -128, -128, -128, -128,
  /* SiluUnit */ 5.421010862427522e-20, 5.421010862427522e-20, 5.421010862427522e-20, 5.421010862427522e-20,
  /* Atanh_9 */ 0.2222222222222222, 0.2222222222222222, 0.2222222222222222, 0.2222222222222222,
  /* Atanh_7 */ 0.2857142857142857, 0.2857142857142857, 0.2857142857142857, 0.2857142857142857,
  /* Atanh_5 */ 0.4, 0.4, 0.4, 0.4,
  /* Atanh_3 */ 0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 0.6666666666666666,
  /* Highest */ 127, 127, 127, 127,
  /* Ordinary */ 125, 125, 125, 125,
], 16);
@inline function constant(i: C): v128 { return v128.load(CONSTANTS + (<usize>i << 4)); }
/** 1.5 · 2²³: adding and subtracting it rounds to the nearest integer, ties to even. */
@inline export function magic(): v128 { return constant(C.Magic); }
/** The coefficients of exp2, from the highest power (0) to the constant 1 (6). */
@inline export function coefficient(i: i32): v128 { return constant(C.Exp2_6 + i); }
@inline export function one(): v128 { return constant(C.One); }
/** −128 and 127. */
@inline export function lowestI8(): v128 { return constant(C.Lowest); }
@inline export function highestI8(): v128 { return constant(C.Highest); }
/** Where |x| is at most this, 2ˣ is no denormal and no infinity: a sum of exponents is the product by 2ⁿ. */
@inline export function ordinary(): v128 { return constant(C.Ordinary); }

/** p · 2ⁿ, rounded once, for the integers n = bits(shifted) − bits(magic). */
@inline export function scaleByPower(p: v128, shifted: v128): v128 {
  const n = i32x4.sub(shifted, magic()), half = i32x4.shr_s(n, 1);
  // adding n << 23 to the bits of 1 makes 2ⁿ
  return mul(mul(p, i32x4.add(i32x4.shl(half, 23), one())), i32x4.add(i32x4.shl(i32x4.sub(n, half), 23), one()));
}

@inline export function exp2(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, constant(C.Exp2Low)), constant(C.Exp2High));
  const shifted = add(c, magic());
  const r = sub(c, sub(shifted, magic()));
  let p = coefficient(0);
  p = add(mul(p, r), coefficient(1));
  p = add(mul(p, r), coefficient(2));
  p = add(mul(p, r), coefficient(3));
  p = add(mul(p, r), coefficient(4));
  p = add(mul(p, r), coefficient(5));
  p = add(mul(p, r), coefficient(6));
  return scaleByPower(p, shifted);
}

/** t of eˣ = 2ⁿ · (1 + t). */
@inline function expTail(x: v128, n: v128): v128 {
  const r = sub(sub(x, mul(n, constant(C.Ln2High))), mul(n, constant(C.Ln2Low)));
  let p = constant(C.Exp_5);
  p = add(mul(p, r), constant(C.Exp_4));
  p = add(mul(p, r), constant(C.Exp_3));
  p = add(mul(p, r), constant(C.Exp_2));
  p = add(mul(p, r), constant(C.Exp_1));
  return add(mul(mul(p, r), r), r);
}

@inline export function exp(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, constant(C.ExpLow)), constant(C.ExpHigh));
  const shifted = add(mul(c, constant(C.Log2e)), magic());
  return scaleByPower(add(one(), expTail(c, sub(shifted, magic()))), shifted);
}

/** log(1 + x + tail) for x in [0, 1], where the exponent k is 0 or 1. */
@inline function log1pTail(x: v128, tail: v128): v128 {
  const u = add(one(), x);
  const upper = f32x4.ge(u, constant(C.Sqrt2));
  const k = v128.and(upper, one());
  const f = v128.bitselect(sub(mul(u, constant(C.Half)), one()), x, upper);
  const c = f32x4.div(v128.bitselect(add(sub(x, sub(u, one())), tail), tail, upper), u);
  const s = f32x4.div(f, add(constant(C.Two), f));
  const z = mul(s, s);
  let p = constant(C.Atanh_9);
  p = add(mul(p, z), constant(C.Atanh_7));
  p = add(mul(p, z), constant(C.Atanh_5));
  p = add(mul(p, z), constant(C.Atanh_3));
  const half = mul(mul(constant(C.Half), f), f);
  const low = add(mul(s, add(half, mul(p, z))), add(mul(k, constant(C.Ln2Low)), c));
  return add(mul(k, constant(C.Ln2High)), sub(f, sub(half, low)));
}

@inline export function softplus(x: v128): v128 {
  const a = f32x4.pmax(f32x4.neg(f32x4.abs(x)), constant(C.ExpLow));
  const shifted = add(mul(a, constant(C.Log2e)), magic());
  const t = expTail(a, sub(shifted, magic()));
  const hi = add(one(), t), lo = sub(t, sub(hi, one()));
  const y = log1pTail(scaleByPower(hi, shifted), scaleByPower(lo, shifted));
  const positive = v128.bitselect(add(x, y), y, f32x4.gt(x, zero()));
  return v128.bitselect(positive, x, f32x4.le(x, constant(C.SoftplusLinear)));
}

@inline export function silu(x: v128): v128 {
  const unit = constant(C.SiluUnit); // 2⁻⁶⁴
  const c = f32x4.pmax(x, constant(C.Lowest));
  const shifted = add(f32x4.neg(mul(c, constant(C.Log2e))), magic());
  const t = expTail(f32x4.neg(c), sub(shifted, magic()));
  const hi = add(one(), t), lo = sub(t, sub(hi, one()));
  const power = i32x4.shl(i32x4.add(shifted, i32x4.splat(127 - 64 - 0x4b400000)), 23); // 2ⁿ⁻⁶⁴
  const e = mul(hi, power);
  const sum = add(e, unit);
  const added = sub(sum, e);
  const lost = add(sub(e, sub(sum, added)), sub(unit, added));
  const denominator = add(sum, add(lost, mul(lo, power)));
  return v128.bitselect(x, mul(f32x4.div(c, denominator), unit), f32x4.ge(x, constant(C.SiluLinear)));
}

/** (lane 0 + lane 2) + (lane 1 + lane 3) of each of four vectors. */
@inline export function sumLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}
