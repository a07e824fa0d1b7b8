// Weights of four bits, two in a byte. Plain: a warp for each output and token, whatever their number; the f32 operations are
// those of linear-i8.cuh.
#pragma once

#include "linear-i8.cuh"

namespace quamba {

/** Σ x · w over the columns k … k + n − 1 of a row of packed pairs, by one warp; every thread of it gets it. */
__device__ inline int dotI4(const int8_t* x, const int8_t* w, int k, int n) {
  int acc = 0;
  for (int c = k + static_cast<int>(threadIdx.x % 32); c < k + n; c += 32) {
    const int pair = w[c / 2];
    acc += x[c] * (c % 2 ? pair >> 4 : ((pair & 15) ^ 8) - 8);
  }
  return __reduce_add_sync(~0u, acc);
}

__global__ void linearI4Rows(LinearI8 a) {
  const int run = a.i / a.g, h = (a.i + 1) / 2;
  for (int t = blockIdx.y; t < a.l; t += gridDim.y)
    for (int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32; row < a.o; row += gridDim.x * ROW_WARPS) {
      float sum = 0.0f;
      for (int group = 0; group < a.g; group++) {
        const int acc = dotI4(a.x + static_cast<size_t>(t) * a.i, a.w + static_cast<size_t>(row) * h, group * run, run);
        sum = a.withGroup(sum, acc, t, row, group);
      }
      if (threadIdx.x % 32 == 0) a.store(sum, t, row);
    }
}

inline void linearI4(cudaStream_t stream, const LinearI8& a) {
  if (a.l == 0 || a.o == 0) return;
  linearI4Rows<<<dim3(blocksFor(a.o, ROW_WARPS), blocksFor(a.l, 1)), 32 * ROW_WARPS, 0, stream>>>(a);
}

}  // namespace quamba
