// The reference's bits: a real division, the clamp, and the same addition of 1.5 · 2²³, which rounds half to even.
#pragma once

#include "launch.cuh"
#include "nan-place.h"
#include "numerics.cuh"

namespace quamba {

/** x in steps of `scale`. `place`: where x lies, for the error. */
__device__ inline int8_t quantizeValue(float x, float scale, size_t place, NanPlace* nan) {
  const float steps = divide(x, scale);
  if (steps != steps) atomicMin(nan, static_cast<NanPlace>(place));
  return static_cast<int8_t>(integerOf(add(atMost(atLeast(steps, -128.0f), 127.0f), MAGIC)));
}

/** 1 / scale for the functions below. NaN, which sends each value to the division, where products may be far from it. */
__device__ inline float inverseOf(float scale) {
  const float size = fabsf(scale);
  return size >= 0x1p-126f && size <= 0x1p+126f ? divide(1.0f, scale) : divide(0.0f, 0.0f);
}

/**
 * Whether x · inverse tells what quantizeValue makes of x: it is q then. Within the clamp the product is less than 2⁻¹⁵ from
 * the quotient, so that both round to one integer unless a half is as near as 2⁻¹⁴, as it is for one value in 8000.
 */
__device__ inline bool quantizeByProduct(float x, float inverse, int8_t& q) {
  const float product = mul(x, inverse);
  const float steps = fminf(fmaxf(product, -128.0f), 127.0f);
  const float shifted = add(steps, MAGIC);
  q = static_cast<int8_t>(integerOf(shifted));
  return fabsf(sub(steps, sub(shifted, MAGIC))) < 0.5f - 0x1p-14f && product == product;
}

/** quantizeValue, nearly always without its division. inverse = inverseOf(scale). */
__device__ inline int8_t quantizeFast(float x, float scale, float inverse, size_t place, NanPlace* nan) {
  int8_t q;
  return quantizeByProduct(x, inverse, q) ? q : quantizeValue(x, scale, place, nan);
}

/** One scale for all, or one for each row. */
inline void quantize(
    cudaStream_t stream, const float* x, const float* scale, bool eachRow, int8_t* q, int l, int n, NanPlace* nan) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    q[at] = quantizeValue(x[at], scale[eachRow ? t : 0], at, nan);
  });
}

}  // namespace quamba
