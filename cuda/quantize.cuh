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

/** One scale for all, or one for each row. */
inline void quantize(
    cudaStream_t stream, const float* x, const float* scale, bool eachRow, int8_t* q, int l, int n, NanPlace* nan) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    q[at] = quantizeValue(x[at], scale[eachRow ? t : 0], at, nan);
  });
}

}  // namespace quamba
