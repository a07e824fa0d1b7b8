// The last stages of the Hadamard transform, by every block for itself: those that need values of all blocks.
#pragma once

#include <utility>

#include "decode-shape.cuh"
#include "numerics.cuh"

namespace quamba {

/** Butterflies of this stride, and for R = 4 of the next, in place. By a whole block, which then synchronizes. */
template <int R>
__device__ void butterflyPass(float* row, int n, int stride) {
#pragma unroll 1
  for (int p = threadIdx.x; p < n / R; p += DECODE_THREADS) {
    const int low = p & (stride - 1);
    float* at = row + (p - low) * R + low;
    const float a = at[0], b = at[stride];
    const float sum = add(a, b), difference = sub(a, b);
    if constexpr (R == 2) {
      at[0] = sum, at[stride] = difference;
    } else {
      const float c = at[2 * stride], e = at[3 * stride];
      const float sum2 = add(c, e), difference2 = sub(c, e);
      at[0] = add(sum, sum2), at[stride] = add(difference, difference2);
      at[2 * stride] = sub(sum, sum2), at[3 * stride] = sub(difference, difference2);
    }
  }
  __syncthreads();
}

template <int K>
constexpr Signs<K> baseSigns() {
  if constexpr (K == 12) return paley2<5>();
  else if constexpr (K == 20) return paley1<19>(false);
  else return paley2<13>();
}
/** Where the signs of a row of M_K are negative. */
template <int K, int ROW>
constexpr uint32_t NEGATIVE = baseSigns<K>().rows[ROW];

/** A row of M_K times a column, left to right. */
template <int K, int ROW>
__device__ float mixed(const float (&x)[K]) {
  constexpr uint32_t negative = NEGATIVE<K, ROW>;
  float y = negative & 1 ? -x[0] : x[0];
#pragma unroll
  for (int j = 1; j < K; j++) y = negative >> j & 1 ? sub(y, x[j]) : add(y, x[j]);
  return y;
}
template <int K, int... ROWS>
__device__ void mixColumn(float* column, int run, std::integer_sequence<int, ROWS...>) {
  float x[K];
#pragma unroll
  for (int j = 0; j < K; j++) x[j] = column[j * run];
  ((column[ROWS * run] = mixed<K, ROWS>(x)), ...);
}

/** M_K times every column of K values, `run` apart, in place: a thread has a column, and so all have the same code. */
template <int K>
__device__ void mixAll(float* row, int n, int run) {
#pragma unroll 1
  for (int c = threadIdx.x; c < n / K; c += DECODE_THREADS)
    mixColumn<K>(row + c / run * K * run + c % run, run, std::make_integer_sequence<int, K>());
  __syncthreads();
}

/** The row after the butterflies of strides below `local` → the row before that of `outer`, if any, and before the last product. */
__device__ inline void finishTransform(float* row, int n, Factors factors, int local) {
  const auto [outer, K, run] = factors;
  int stride = local;
  if (__ffs(run / stride) % 2 == 0) {
    butterflyPass<2>(row, n, stride);
    stride *= 2;
  }
  for (; stride < run; stride *= 4) butterflyPass<4>(row, n, stride);
  if (K == 12) mixAll<12>(row, n, run);
  else if (K == 20) mixAll<20>(row, n, run);
  else if (K == 28) mixAll<28>(row, n, run);
}

}  // namespace quamba
