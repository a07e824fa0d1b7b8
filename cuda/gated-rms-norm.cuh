// The reference's bits: those of rms-norm, for x · silu(z) and each group of channels. A block a group of a row.
#pragma once

#include "fused.h"
#include "rms-norm.cuh"
#include "stored.cuh"

namespace quamba {

/** `fits`: the gated values of a group lie in shared memory; else they are made again where they are needed. */
template <class Z, class Y>
__global__ void __launch_bounds__(NORM_THREADS) gatedNormKernel(GatedNorm<Z, Y> a, bool fits) {
  extern __shared__ float staged[];
  __shared__ float inverse;
  const Restored<Z> z = restoredOf(a.z);
  const Storer<Y> stored(a.out, a.nan);
  const int m = a.d / a.groups;
  for (int item = blockIdx.x; item < a.rows * a.groups; item += gridDim.x) {
    const int from = item % a.groups * m;
    const size_t start = static_cast<size_t>(item) * m;
    const auto gated = [&](int j) { return mul(a.x[start + j], silu(z.at(start + j, from + j))); };
    const auto value = [&](int j) { return fits ? staged[j] : gated(j); };
    if (fits)
      for (int j = threadIdx.x; j < m; j += NORM_THREADS) staged[j] = gated(j);
    __syncthreads();
    if (threadIdx.x < 32) {
      const float r = inverseRmsOf(value, m, a.eps);
      if (threadIdx.x == 0) inverse = r;
    }
    __syncthreads();
    for (int j = threadIdx.x; j < m; j += NORM_THREADS)
      a.out.data[start + j] = stored(normed(value(j), inverse, a.w, from + j), start + j);
    __syncthreads();  // before the next group comes in
  }
}

template <class Z, class Y>
void launchGatedNorm(cudaStream_t stream, const GatedNorm<Z, Y>& a) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(a.d / a.groups);
  const bool fits = bytes <= SHARED_BYTES;
  gatedNormKernel<Z, Y><<<blocksFor(a.rows * a.groups, 1), NORM_THREADS, fits ? bytes : 0, stream>>>(a, fits);
}

}  // namespace quamba
