// The elementary functions of src/ops/numerics.ts on four values at once: the same operations in the same order, each
// rounded once, so that every lane has the bits of the scalar function. NaN passes through (pmax and pmin keep it).
//
// Where the reference multiplies by 2ⁿ in one rounding, two multiplications by powers of two do: the first is exact.

@inline export function add(a: v128, b: v128): v128 { return f32x4.add(a, b); }
@inline export function sub(a: v128, b: v128): v128 { return f32x4.sub(a, b); }
@inline export function mul(a: v128, b: v128): v128 { return f32x4.mul(a, b); }
@inline export function splat(x: f32): v128 { return f32x4.splat(x); }
@inline export function zero(): v128 { return i32x4.splat(0); }

/** The bytes of a row of n values of 4 bytes, padded to whole vectors. What the padding holds is never looked at. */
@inline export function rowBytes(n: i32): usize { return <usize>((n + 3) & ~3) << 2; }

// V8 builds a vector constant anew at each use; one in memory costs a load.
const MASKS = memory.data<i32>([-1, -1, -1, -1, 0, 0, 0, 0], 16);
/** All ones in the lanes of a row's last vector that hold values. */
@inline export function lastLanes(n: i32): v128 { return v128.load(MASKS + (<usize>(3 - ((n - 1) & 3)) << 2)); }

const EXP2 = memory.data<f32>([
  12582912, 12582912, 12582912, 12582912,
  -151, -151, -151, -151,
  129, 129, 129, 129,
  0.000155947587, 0.000155947587, 0.000155947587, 0.000155947587,
  0.00134066745, 0.00134066745, 0.00134066745, 0.00134066745,
  0.00961769261, 0.00961769261, 0.00961769261, 0.00961769261,
  0.0555031047, 0.0555031047, 0.0555031047, 0.0555031047,
  0.240226528, 0.240226528, 0.240226528, 0.240226528,
  0.693147215, 0.693147215, 0.693147215, 0.693147215,
  1, 1, 1, 1,
], 16);
/** 1.5 · 2²³: adding and subtracting it rounds to the nearest integer, ties to even. */
@inline export function magic(): v128 { return v128.load(EXP2); }
@inline export function lowest(): v128 { return v128.load(EXP2, 16); }
@inline export function highest(): v128 { return v128.load(EXP2, 32); }
/** The coefficients of exp2, from the highest power (0) to the constant 1 (6). */
@inline export function coefficient(i: usize): v128 { return v128.load(EXP2 + 48 + (i << 4)); }
@inline export function one(): v128 { return v128.load(EXP2, 144); }

/** p · 2ⁿ, rounded once, for the integers n = bits(shifted) − bits(magic). */
@inline export function scaleByPower(p: v128, shifted: v128): v128 {
  const n = i32x4.sub(shifted, magic()), half = i32x4.shr_s(n, 1);
  // adding n << 23 to the bits of 1 makes 2ⁿ
  return mul(mul(p, i32x4.add(i32x4.shl(half, 23), one())), i32x4.add(i32x4.shl(i32x4.sub(n, half), 23), one()));
}

@inline export function exp2(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, lowest()), highest());
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

const LOG2E: f32 = 1.4426950408889634;
const LN2_HI: f32 = 0.693359375;
const LN2_LO: f32 = -2.1219444005469057e-4;

/** t of eˣ = 2ⁿ · (1 + t). */
@inline function expTail(x: v128, n: v128): v128 {
  const r = sub(sub(x, mul(n, splat(LN2_HI))), mul(n, splat(LN2_LO)));
  let p = splat(0.00138145711);
  p = add(mul(p, r), splat(0.00836873018));
  p = add(mul(p, r), splat(0.0416683893));
  p = add(mul(p, r), splat(0.166665205));
  p = add(mul(p, r), splat(0.499999934));
  return add(mul(mul(p, r), r), r);
}

@inline export function exp(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-104)), splat(89));
  const shifted = add(mul(c, splat(LOG2E)), magic());
  return scaleByPower(add(one(), expTail(c, sub(shifted, magic()))), shifted);
}

/** log(1 + x + tail) for x in [0, 1], where the exponent k is 0 or 1. */
@inline function log1pTail(x: v128, tail: v128): v128 {
  const u = add(one(), x);
  const upper = f32x4.ge(u, splat(1.4142135623730951));
  const k = v128.and(upper, one());
  const f = v128.bitselect(sub(mul(u, splat(0.5)), one()), x, upper);
  const c = f32x4.div(v128.bitselect(add(sub(x, sub(u, one())), tail), tail, upper), u);
  const s = f32x4.div(f, add(splat(2), f));
  const z = mul(s, s);
  let p = splat(<f32>(2.0 / 9.0));
  p = add(mul(p, z), splat(<f32>(2.0 / 7.0)));
  p = add(mul(p, z), splat(<f32>(2.0 / 5.0)));
  p = add(mul(p, z), splat(<f32>(2.0 / 3.0)));
  const half = mul(mul(splat(0.5), f), f);
  const rest = add(mul(s, add(half, mul(p, z))), add(mul(k, splat(LN2_LO)), c));
  return add(mul(k, splat(LN2_HI)), sub(f, sub(half, rest)));
}

@inline export function softplus(x: v128): v128 {
  const a = f32x4.pmax(f32x4.neg(f32x4.abs(x)), splat(-104));
  const shifted = add(mul(a, splat(LOG2E)), magic());
  const t = expTail(a, sub(shifted, magic()));
  const hi = add(one(), t), lo = sub(t, sub(hi, one()));
  const y = log1pTail(scaleByPower(hi, shifted), scaleByPower(lo, shifted));
  const positive = v128.bitselect(add(x, y), y, f32x4.gt(x, zero()));
  return v128.bitselect(positive, x, f32x4.le(x, splat(20)));
}

@inline export function silu(x: v128): v128 {
  const unit = splat(5.421010862427522e-20); // 2⁻⁶⁴
  const c = f32x4.pmax(x, splat(-128));
  const shifted = add(f32x4.neg(mul(c, splat(LOG2E))), magic());
  const t = expTail(f32x4.neg(c), sub(shifted, magic()));
  const hi = add(one(), t), lo = sub(t, sub(hi, one()));
  const power = i32x4.shl(i32x4.add(shifted, i32x4.splat(127 - 64 - 0x4b400000)), 23); // 2ⁿ⁻⁶⁴
  const e = mul(hi, power);
  const sum = add(e, unit);
  const rest = sub(sum, e);
  const lost = add(sub(e, sub(sum, rest)), sub(unit, rest));
  const denominator = add(sum, add(lost, mul(lo, power)));
  return v128.bitselect(x, mul(f32x4.div(c, denominator), unit), f32x4.ge(x, splat(18)));
}

/** (lane 0 + lane 2) + (lane 1 + lane 3) of each of four vectors. */
@inline export function sumLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}
