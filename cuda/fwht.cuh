// The reference's bits: the same butterflies in ascending stride, the same left-to-right sums of M_K, whose ±1 only flip
// signs, and one product at the end. Strides below 32 are shuffles of a warp, the others go through shared memory.
#pragma once

#include <cmath>

#include "hadamard.cuh"
#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** row[i], row[i + stride] ← their sum and difference, by a whole block. The caller synchronizes. */
__device__ inline void butterflies(float* row, int n, int stride) {
  for (int p = threadIdx.x; p < n / 2; p += blockDim.x) {
    const int i = p / stride * 2 * stride + p % stride;
    const float a = row[i], b = row[i + stride];
    row[i] = add(a, b);
    row[i + stride] = sub(a, b);
  }
}

/** Threads that share a column of M_K: each holds all of it and makes this part of the results. */
constexpr int MIX_SHARE = 4;

/** Every column of K values, `run` apart, is multiplied by M_K, by a whole block. */
template <int K>
__device__ void mix(float* row, int n, int run, const Signs<K>& signs) {
  constexpr int PART = K / MIX_SHARE;
  const int columns = n / K, together = blockDim.x / MIX_SHARE, part = threadIdx.x / together;
  for (int first = 0; first < columns; first += together) {
    const int c = first + threadIdx.x % together;
    float* column = row + c / run * K * run + c % run;
    float y[PART];
    if (c < columns) {
      float x[K];
#pragma unroll
      for (int j = 0; j < K; j++) x[j] = column[j * run];
#pragma unroll
      for (int i = 0; i < PART; i++) {
        const uint32_t negative = signs.rows[part * PART + i];
        const auto term = [&](int j) { return __uint_as_float(__float_as_uint(x[j]) ^ (negative >> j << 31)); };
        y[i] = term(0);
#pragma unroll
        for (int j = 1; j < K; j++) y[i] = add(y[i], term(j));
      }
    }
    __syncthreads();  // all have read the columns
#pragma unroll
    for (int i = 0; i < PART; i++)
      if (c < columns) column[(part * PART + i) * run] = y[i];
  }
}

/** x → row, transformed but for the last product, by a whole block of whole warps. Synchronized when it returns. */
__device__ inline void transform(const float* x, float* row, int n, Factors factors, bool inverse) {
  const auto [outer, K, run] = factors;
  for (int i = threadIdx.x; i < (n + 31) / 32 * 32; i += blockDim.x) {  // whole warps, for the shuffles
    float value = i < n ? x[i] : 0.0f;
    for (int stride = 1; stride < min(run, 32); stride *= 2) {
      const float other = __shfl_xor_sync(~0u, value, stride);
      value = i & stride ? sub(other, value) : add(value, other);
    }
    if (i < n) row[i] = value;
  }
  __syncthreads();
  for (int stride = 32; stride < run; stride *= 2) {
    butterflies(row, n, stride);
    __syncthreads();
  }
  if (K == 12) mix(row, n, run, M12);
  else if (K == 20) mix(row, n, run, inverse ? M20_TRANSPOSE : M20);
  else if (K == 28) mix(row, n, run, M28);
  if (K > 1) __syncthreads();
  if (outer == 2) {
    butterflies(row, n, n / 2);
    __syncthreads();
  }
}

/** A block a row, which lies in shared memory, or in y where it is too long for that. */
static __global__ void __launch_bounds__(1024)
    fwhtKernel(const float* x, float* y, int l, int n, Factors factors, bool inverse, float norm, bool fits) {
  extern __shared__ float shared[];
  for (int t = blockIdx.x; t < l; t += gridDim.x) {
    float* out = y + static_cast<size_t>(t) * n;
    float* row = fits ? shared : out;
    transform(x + static_cast<size_t>(t) * n, row, n, factors, inverse);
    for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = mul(row[i], norm);
    __syncthreads();  // before the next row comes in
  }
}

inline float fwhtNorm(int n) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(n))); }

inline int fwhtThreads(int n) {
  int threads = 32;
  while (threads < 1024 && 4 * threads < n) threads *= 2;
  return threads;
}

inline void fwht(cudaStream_t stream, const float* x, float* y, int l, int n, bool inverse) {
  const size_t bytes = sizeof(float) * static_cast<size_t>(n);
  const bool fits = bytes <= SHARED_BYTES;
  const unsigned blocks = blocksFor(l, 1);
  fwhtKernel<<<blocks, fwhtThreads(n), fits ? bytes : 0, stream>>>(x, y, l, n, factor(n), inverse, fwhtNorm(n), fits);
}

}  // namespace quamba
