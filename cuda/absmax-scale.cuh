// The reference's bits: a maximum is the same in any order. It is taken over the bits of |x|, which are in the order of the
// values with NaN above all, so that a NaN passes on as in Math.max.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** The bits of max |x| over n values, by a whole block; every thread gets it. `warps`: shared, one for each warp. */
__device__ inline unsigned absmaxBits(const float* x, int n, unsigned* warps) {
  unsigned most = 0;
  for (int j = threadIdx.x; j < n; j += blockDim.x) most = max(most, __float_as_uint(x[j]) & 0x7fffffffu);
  most = __reduce_max_sync(~0u, most);
  __syncthreads();  // those of the row before have been read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = most;
  __syncthreads();
  for (unsigned w = 0; w < blockDim.x / 32; w++) most = max(most, warps[w]);
  return most;
}

/** The size of one step when a range, by its bits, is to map to 127. */
__device__ inline float scaleOf(unsigned range) {
  return divide(__uint_as_float(max(range, __float_as_uint(1e-5f))), 127.0f);
}

constexpr int ABSMAX_THREADS = 256;

__global__ void absmaxScaleKernel(const float* x, float* scale, int l, int n) {
  __shared__ unsigned warps[ABSMAX_THREADS / 32];
  for (int t = blockIdx.x; t < l; t += gridDim.x) {
    const unsigned range = absmaxBits(x + static_cast<size_t>(t) * n, n, warps);
    if (threadIdx.x == 0) scale[t] = scaleOf(range);
  }
}

inline void absmaxScale(cudaStream_t stream, const float* x, float* scale, int l, int n) {
  absmaxScaleKernel<<<blocksFor(l, 1), ABSMAX_THREADS, 0, stream>>>(x, scale, l, n);
}

}  // namespace quamba
