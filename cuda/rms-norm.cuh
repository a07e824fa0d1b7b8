// The reference's bits: its 32 lanes are the 32 threads of a warp. Each adds its squares in ascending k, and shuffles add
// the lanes in the reference's tree (a sum is the same with its terms swapped, so every thread gets the root's bits).
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** 1 / √(mean(x²) + eps) of m values x(k), by one warp; every thread of it gets it. */
template <class X>
__device__ inline float inverseRmsOf(const X& x, int m, float eps) {
  float sum = 0.0f;
#pragma unroll 8
  for (int k = threadIdx.x % 32; k < m; k += 32) {
    const float value = x(k);
    sum = add(sum, mul(value, value));
  }
  for (int half = 16; half >= 1; half /= 2) sum = add(sum, __shfl_xor_sync(~0u, sum, half));
  return divide(1.0f, root(add(divide(sum, static_cast<float>(m)), eps)));
}

__device__ inline float inverseRms(const float* x, int m, float eps) {
  return inverseRmsOf([=](int k) { return x[k]; }, m, eps);
}

/** x · r, then · w where there is one. */
__device__ inline float normed(float x, float r, const float* w, int j) {
  const float y = mul(x, r);
  return w ? mul(y, w[j]) : y;
}

constexpr int NORM_THREADS = 256;

/** A block a row, which all read into shared memory (if it fits), one warp sums, and all write. w may be null: none. */
static __global__ void rmsNormKernel(const float* x, const float* w, float* y, int l, int m, float eps, bool fits) {
  extern __shared__ float staged[];
  __shared__ float shared;
  for (int t = blockIdx.x; t < l; t += gridDim.x) {
    const float* row = x + static_cast<size_t>(t) * m;
    if (fits) {
#pragma unroll 4
      for (int j = threadIdx.x; j < m; j += NORM_THREADS) staged[j] = row[j];
      row = staged;
      __syncthreads();
    }
    if (threadIdx.x < 32) {
      const float r = inverseRms(row, m, eps);
      if (threadIdx.x == 0) shared = r;
    }
    __syncthreads();
    for (int j = threadIdx.x; j < m; j += NORM_THREADS) y[static_cast<size_t>(t) * m + j] = normed(row[j], shared, w, j);
    __syncthreads();  // before the next row comes in
  }
}

inline void rmsNorm(cudaStream_t stream, const float* x, const float* w, float* y, int l, int m, float eps) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(m);
  const bool fits = bytes <= SHARED_BYTES;
  rmsNormKernel<<<blocksFor(l, 1), NORM_THREADS, fits ? bytes : 0, stream>>>(x, w, y, l, m, eps, fits);
}

}  // namespace quamba
