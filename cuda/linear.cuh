// The reference's bits: the four lanes of a dot product are four neighbouring threads, each adds its products in ascending k
// without FMA, and sumLanes adds the lanes in the reference's order. Padded k add ±0, which changes no lane: a sum that
// starts at +0 is never −0.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** Inputs that lie in shared memory at a time. */
constexpr int LINEAR_STEP = 128;
/** Rows of weights are this much longer, so that the 32 threads of a warp read from 32 banks. */
constexpr int LINEAR_PAD = 4;

/** [rows][LINEAR_STEP] of a matrix with `all` rows of i values, from (row, k) on; zeros outside. By a whole block. */
template <int THREADS, int ROWS, int STRIDE, class T>
__device__ void loadTile(float (&tile)[ROWS][STRIDE], const T* from, int row, int all, int k, int i) {
#pragma unroll 16
  for (int e = threadIdx.x; e < ROWS * LINEAR_STEP; e += THREADS) {
    const int r = e / LINEAR_STEP, c = e % LINEAR_STEP;
    tile[r][c] = row + r < all && k + c < i ? widen(from[static_cast<size_t>(row + r) * i + k + c]) : 0.0f;
  }
}

/** A thread has one lane of TOKENS × OUTPUTS dot products; a block has OUTPUTS · 8 · WARPS outputs. b may be null: none. */
template <int TOKENS, int OUTPUTS, int WARPS, class W>
__global__ void linearKernel(const float* x, const W* w, const float* b, float* y, int l, int i, int o) {
  constexpr int QUADS = 8 * WARPS, WIDTH = QUADS * OUTPUTS;
  __shared__ float weights[WIDTH][LINEAR_STEP + LINEAR_PAD];
  __shared__ float inputs[TOKENS][LINEAR_STEP];
  const int lane = threadIdx.x % 4, quad = threadIdx.x / 4;
  for (int row = blockIdx.x * WIDTH; row < o; row += gridDim.x * WIDTH)
    for (int t = blockIdx.y * TOKENS; t < l; t += gridDim.y * TOKENS) {
      float sums[TOKENS][OUTPUTS] = {};
      for (int k = 0; k < i; k += LINEAR_STEP) {
        __syncthreads();  // the tiles before have been read
        loadTile<32 * WARPS>(weights, w, row, o, k, i);
        loadTile<32 * WARPS>(inputs, x, t, l, k, i);
        __syncthreads();
#pragma unroll 4
        for (int c = lane; c < LINEAR_STEP; c += 4)
          for (int p = 0; p < OUTPUTS; p++) {
            const float weight = weights[quad + QUADS * p][c];
            for (int s = 0; s < TOKENS; s++) sums[s][p] = add(sums[s][p], mul(inputs[s][c], weight));
          }
      }
      for (int s = 0; s < TOKENS; s++)
        for (int p = 0; p < OUTPUTS; p++) {
          const float sum = sumLanes(sums[s][p]);
          const int out = row + quad + QUADS * p;
          if (lane == 0 && t + s < l && out < o)
            y[static_cast<size_t>(t + s) * o + out] = b ? add(sum, b[out]) : sum;
        }
    }
}

template <int TOKENS, int OUTPUTS, int WARPS, class W>
void launchLinear(cudaStream_t stream, const float* x, const W* w, const float* b, float* y, int l, int i, int o) {
  const dim3 grid(blocksFor(o, 8 * WARPS * OUTPUTS), blocksFor(l, TOKENS));
  linearKernel<TOKENS, OUTPUTS, WARPS, W><<<grid, 32 * WARPS, 0, stream>>>(x, w, b, y, l, i, o);
}

/** W: float, or __half for values that are f16 in any case. */
template <class W>
void linear(cudaStream_t stream, const float* x, const W* w, const float* b, float* y, int l, int i, int o) {
  if (l == 1) launchLinear<1, 1, 2, W>(stream, x, w, b, y, l, i, o);
  else launchLinear<8, 2, 4, W>(stream, x, w, b, y, l, i, o);
}

}  // namespace quamba
