// The reference's bits: its 32 lanes are the 32 threads of a warp. Each adds its squares in ascending k, and shuffles add
// the lanes in the reference's tree (a sum is the same with its terms swapped, so every thread gets the root's bits).
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** 1 / √(mean(x²) + eps) of m values, by one warp; every thread of it gets it. */
__device__ inline float inverseRms(const float* x, int m, float eps) {
  float sum = 0.0f;
#pragma unroll 8
  for (int k = threadIdx.x % 32; k < m; k += 32) sum = add(sum, mul(x[k], x[k]));
  for (int half = 16; half >= 1; half /= 2) sum = add(sum, __shfl_xor_sync(~0u, sum, half));
  return divide(1.0f, root(add(divide(sum, static_cast<float>(m)), eps)));
}

/** x · r, then · w where there is one. */
__device__ inline float normed(float x, float r, const float* w, int j) {
  const float y = mul(x, r);
  return w ? mul(y, w[j]) : y;
}

constexpr int NORM_THREADS = 256;

/**
 * A block for each of the groups of m channels of a row. Their values, which z gates where it is not null, go into shared memory,
 * or into y where they do not fit; one warp sums, and all write. w may be null: none.
 */
static __global__ void normKernel(
    const float* x, const float* z, const float* w, float* y, int l, int groups, int m, float eps, bool fits) {
  extern __shared__ float staged[];
  __shared__ float shared;
  for (int item = blockIdx.x; item < l * groups; item += gridDim.x) {
    const size_t first = static_cast<size_t>(item) * m;
    float* v = fits ? staged : y + first;
#pragma unroll 4
    for (int j = threadIdx.x; j < m; j += NORM_THREADS) v[j] = z ? mul(x[first + j], silu(z[first + j])) : x[first + j];
    __syncthreads();
    if (threadIdx.x < 32) {
      const float r = inverseRms(v, m, eps);
      if (threadIdx.x == 0) shared = r;
    }
    __syncthreads();
    for (int j = threadIdx.x; j < m; j += NORM_THREADS) y[first + j] = normed(v[j], shared, w, item % groups * m + j);
    __syncthreads();  // before the next row comes in
  }
}

inline void normGroups(cudaStream_t stream, const float* x, const float* z, const float* w, float* y, int l, int groups, int m,
                       float eps) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(m);
  const bool fits = bytes <= SHARED_BYTES;
  normKernel<<<blocksFor(l * groups, 1), NORM_THREADS, fits ? bytes : 0, stream>>>(x, z, w, y, l, groups, m, eps, fits);
}

inline void rmsNorm(cudaStream_t stream, const float* x, const float* w, float* y, int l, int m, float eps) {
  normGroups(stream, x, nullptr, w, y, l, 1, m, eps);
}

}  // namespace quamba
