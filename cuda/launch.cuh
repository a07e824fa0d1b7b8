// How kernels are started. Every kernel walks over what its grid does not cover, so that no size is too large for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "batch.h"

namespace quamba {

constexpr int MAX_GRID = 65535;
/** What a block may have of shared memory without asking for more, less a kilobyte for what a kernel declares itself. */
constexpr size_t SHARED_BYTES = 47 * 1024;

/** Blocks for `size` things, `each` in a block. An empty grid is an error to CUDA, so it is at least one. */
inline unsigned blocksFor(int size, int each) {
  return static_cast<unsigned>(std::clamp((static_cast<int64_t>(size) + each - 1) / each, int64_t{1}, int64_t{MAX_GRID}));
}

__device__ inline Turn turnOf(const Turns& turns, int i) {
  return turns.list ? turns.list[i] : Turn{0, 0, turns.longest};
}

constexpr int EACH_THREADS = 256;

template <class F>
__global__ void eachKernel(int rows, int columns, F f) {
  for (int t = blockIdx.y; t < rows; t += gridDim.y)
    for (int j = blockIdx.x * blockDim.x + threadIdx.x; j < columns; j += gridDim.x * blockDim.x) f(t, j);
}

/** f(t, j) for every element of rows × columns, each by a thread. */
template <class F>
void each(cudaStream_t stream, int rows, int columns, F f) {
  const dim3 grid(blocksFor(columns, EACH_THREADS), blocksFor(rows, 1));
  eachKernel<<<grid, EACH_THREADS, 0, stream>>>(rows, columns, f);
}

}  // namespace quamba
