// The elementary functions of src/ops/numerics.ts: the same operations, of f32 and in sin and cos of f64, in the same order, each
// rounded once. NaN passes through. The intrinsics keep the compiler from contracting a product and a sum whatever its flags are.
//
// Where the reference multiplies by 2ⁿ in one rounding, two multiplications by powers of two do: the first is exact.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace quamba {

__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ inline float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float divide(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline float root(float a) { return __fsqrt_rn(a); }
__device__ inline double add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline double sub(double a, double b) { return __dsub_rn(a, b); }
__device__ inline double mul(double a, double b) { return __dmul_rn(a, b); }

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__half x) { return __half2float(x); }

/** max and min that keep a NaN of x, which fmaxf and fminf do not. */
__device__ inline float atLeast(float x, float low) { return x < low ? low : x; }
__device__ inline float atMost(float x, float high) { return x > high ? high : x; }

/** 1.5 · 2²³: adding it rounds to the nearest integer, ties to even, and leaves that integer in the lowest bits. */
constexpr float MAGIC = 12582912.0f;
constexpr int MAGIC_BITS = 0x4b400000;
constexpr float LOG2E = 1.4426950408889634f;

/** n of MAGIC + n. */
__device__ inline int integerOf(float shifted) { return __float_as_int(shifted) - MAGIC_BITS; }
/** 2ⁿ for the n of normal numbers. */
__device__ inline float pow2(int n) { return __int_as_float((n + 127) << 23); }

/** p · 2ⁿ, rounded once, for p between ½ and 2 and |n| ≤ 151. */
__device__ inline float scaleByPower(float p, int n) {
  const int half = n >> 1;
  return mul(mul(p, pow2(half)), pow2(n - half));
}

/** 2ʳ for |r| ≤ ½. */
__device__ inline float exp2Fraction(float r) {
  float p = 0.000155947587f;
  p = add(mul(p, r), 0.00134066745f);
  p = add(mul(p, r), 0.00961769261f);
  p = add(mul(p, r), 0.0555031047f);
  p = add(mul(p, r), 0.240226528f);
  p = add(mul(p, r), 0.693147215f);
  return add(mul(p, r), 1.0f);
}

__device__ inline float exp2(float x) {
  const float c = atMost(atLeast(x, -151.0f), 129.0f);
  const float shifted = add(c, MAGIC);
  return scaleByPower(exp2Fraction(sub(c, sub(shifted, MAGIC))), integerOf(shifted));
}

/** t of eˣ = 2ⁿ · (1 + t). */
__device__ inline float expTail(float x, float n) {
  const float r = sub(sub(x, mul(n, 0.693359375f)), mul(n, -2.1219444005469057e-4f));
  float p = 0.00138145711f;
  p = add(mul(p, r), 0.00836873018f);
  p = add(mul(p, r), 0.0416683893f);
  p = add(mul(p, r), 0.166665205f);
  p = add(mul(p, r), 0.499999934f);
  return add(mul(mul(p, r), r), r);
}

__device__ inline float exp(float x) {
  const float c = atMost(atLeast(x, -104.0f), 89.0f);
  const float shifted = add(mul(c, LOG2E), MAGIC);
  return scaleByPower(add(1.0f, expTail(c, sub(shifted, MAGIC))), integerOf(shifted));
}

/** log(1 + x + tail) for x in [0, 1], where the exponent k is 0 or 1. */
__device__ inline float log1pTail(float x, float tail) {
  const float u = add(1.0f, x);
  const bool upper = u >= 1.4142135623730951f;
  const float k = upper ? 1.0f : 0.0f;
  const float f = upper ? sub(mul(u, 0.5f), 1.0f) : x;
  const float c = divide(upper ? add(sub(x, sub(u, 1.0f)), tail) : tail, u);
  const float s = divide(f, add(2.0f, f));
  const float z = mul(s, s);
  float p = 0.2222222222222222f;
  p = add(mul(p, z), 0.2857142857142857f);
  p = add(mul(p, z), 0.4f);
  p = add(mul(p, z), 0.6666666666666666f);
  const float half = mul(mul(0.5f, f), f);
  const float rest = add(mul(s, add(half, mul(p, z))), add(mul(k, -2.1219444005469057e-4f), c));
  return add(mul(k, 0.693359375f), sub(f, sub(half, rest)));
}

__device__ inline float softplus(float x) {
  if (!(x <= 20.0f)) return x;
  const float a = atLeast(-fabsf(x), -104.0f);
  const float shifted = add(mul(a, LOG2E), MAGIC);
  const float t = expTail(a, sub(shifted, MAGIC));
  const float hi = add(1.0f, t), lo = sub(t, sub(hi, 1.0f));
  const int n = integerOf(shifted);
  const float y = log1pTail(scaleByPower(hi, n), scaleByPower(lo, n));
  return x > 0.0f ? add(x, y) : y;
}

__device__ inline float silu(float x) {
  if (x >= 18.0f) return x;
  const float unit = pow2(-64);
  const float c = atLeast(x, -128.0f);
  const float shifted = add(-mul(c, LOG2E), MAGIC);
  const float t = expTail(-c, sub(shifted, MAGIC));
  const float hi = add(1.0f, t), lo = sub(t, sub(hi, 1.0f));
  const float power = pow2(integerOf(shifted) - 64);
  const float e = mul(hi, power);
  const float sum = add(e, unit);
  const float one = sub(sum, e);
  const float lost = add(sub(e, sub(sum, one)), sub(unit, one));
  const float denominator = add(sum, add(lost, mul(lo, power)));
  return mul(divide(c, denominator), unit);
}

/** sin(x + quarter · π/2) */
__device__ inline float sine(float angle, int quarter) {
  if (!(fabsf(angle) <= 1048576.0f)) return __int_as_float(0x7fffffff);
  constexpr double MAGIC64 = 6755399441055744.0, TWO_OVER_PI = 0.6366197723675814;
  const double x = angle, n = sub(add(mul(x, TWO_OVER_PI), MAGIC64), MAGIC64);
  const double r = sub(sub(x, mul(n, 1.5707963267341256)), mul(n, 6.077100506506192e-11)), z = mul(r, r);
  const int turn = static_cast<int>(n) + quarter;
  const bool cosine = turn & 1;
  double p = cosine ? 1.0 / 20922789888000.0 : 0.0;
  const auto next = [&](double even, double odd) { p = add(mul(p, z), cosine ? even : odd); };
  next(-1.0 / 87178291200.0, -1.0 / 1307674368000.0);
  next(1.0 / 479001600.0, 1.0 / 6227020800.0);
  next(-1.0 / 3628800.0, -1.0 / 39916800.0);
  next(1.0 / 40320.0, 1.0 / 362880.0);
  next(-1.0 / 720.0, -1.0 / 5040.0);
  next(1.0 / 24.0, 1.0 / 120.0);
  next(-1.0 / 2.0, -1.0 / 6.0);
  next(1.0, 1.0);
  if (!cosine) p = mul(p, r);
  return __double2float_rn(turn & 2 ? -p : p);
}

/** (lane 0 + lane 2) + (lane 1 + lane 3) of four neighbouring threads; each of them gets it. */
__device__ inline float sumLanes(float lane) {
  lane = add(lane, __shfl_xor_sync(~0u, lane, 2));
  return add(lane, __shfl_xor_sync(~0u, lane, 1));
}

}  // namespace quamba
