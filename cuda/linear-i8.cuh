// Exact in any order: int32 sums. Few tokens: a warp for each output, which reads its row of weights once from front to back
// (dp4a). Many: tiles on the tensor cores (mma m16n8k32). Both hand the sum of each group to the same f32 operations.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"
#include "ptx.cuh"

namespace quamba {

struct LinearI8 {
  const int8_t* x;
  const float* xscale;
  const int8_t* w;
  const float* wscale;
  const float* b;  // may be null: none
  float* y;
  int l, i, o, g;
  bool scaleEachToken, scaleEachOutput;

  /** The sum of the groups before and this one. */
  __device__ float withGroup(float sum, int acc, int t, int row, int group) const {
    const float sx = xscale[scaleEachToken ? t : 0];
    const float sw = wscale[static_cast<size_t>(scaleEachOutput ? row : 0) * g + group];
    const float part = mul(__int2float_rn(acc), mul(sx, sw));
    return group == 0 ? part : add(sum, part);
  }
  __device__ void store(float sum, int t, int row) const {
    y[static_cast<size_t>(t) * o + row] = b ? add(sum, b[row]) : sum;
  }
};

/** Σ x · w over n, by one warp; every thread of it gets it. */
__device__ inline int dotI8(const int8_t* x, const int8_t* w, int n) {
  int acc = 0;
  const int lane = threadIdx.x % 32;
  const bool vectors = ((reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(w) | n) & 15) == 0;
  if (vectors) {
    const int4* xs = reinterpret_cast<const int4*>(x);
    const int4* ws = reinterpret_cast<const int4*>(w);
#pragma unroll 4
    for (int k = lane; k < n / 16; k += 32) {
      const int4 p = xs[k], q = ws[k];
      acc = __dp4a(p.x, q.x, __dp4a(p.y, q.y, __dp4a(p.z, q.z, __dp4a(p.w, q.w, acc))));
    }
  } else {
    for (int k = lane; k < n; k += 32) acc += x[k] * w[k];
  }
  return __reduce_add_sync(~0u, acc);
}

constexpr int ROW_WARPS = 4;

__global__ void linearI8Rows(LinearI8 a) {
  const int run = a.i / a.g;
  for (int t = blockIdx.y; t < a.l; t += gridDim.y)
    for (int row = blockIdx.x * ROW_WARPS + threadIdx.x / 32; row < a.o; row += gridDim.x * ROW_WARPS) {
      float sum = 0.0f;
      for (int group = 0; group < a.g; group++) {
        const int k = group * run;
        const int acc = dotI8(a.x + static_cast<size_t>(t) * a.i + k, a.w + static_cast<size_t>(row) * a.i + k, run);
        sum = a.withGroup(sum, acc, t, row, group);
      }
      if (threadIdx.x % 32 == 0) a.store(sum, t, row);
    }
}

/** A block has TILE tokens × TILE outputs and reads TILE inputs at a time; each of its four warps has a quarter. */
constexpr int TILE = 64;
/** Rows in shared memory are this many bytes apart, so that the threads of a warp read from different banks. */
constexpr int TILE_STRIDE = TILE + 16;
constexpr int TILE_THREADS = 128;

/** TILE rows × TILE bytes of a matrix with `all` rows of i bytes, a multiple of 16; zeros outside. */
__device__ inline void loadTileI8(int8_t (*tile)[TILE_STRIDE], const int8_t* from, int row, int all, int k, int i) {
  for (int e = threadIdx.x; e < TILE * (TILE / 16); e += TILE_THREADS) {
    const int r = e / (TILE / 16), c = e % (TILE / 16) * 16;
    int4 values = make_int4(0, 0, 0, 0);
    if (row + r < all && k + c < i)
      values = *reinterpret_cast<const int4*>(from + static_cast<size_t>(row + r) * i + k + c);
    *reinterpret_cast<int4*>(&tile[r][c]) = values;
  }
}

/** i is a multiple of 16; a group is all of it, or a multiple of TILE. */
__global__ void __launch_bounds__(TILE_THREADS) linearI8Tiles(LinearI8 a) {
  __shared__ __align__(16) int8_t xs[TILE][TILE_STRIDE];
  __shared__ __align__(16) int8_t ws[TILE][TILE_STRIDE];
  constexpr int HALF = TILE / 2, M = HALF / 16, N = HALF / 8;
  const int warp = threadIdx.x / 32, part = threadIdx.x % 32 / 4, four = threadIdx.x % 4;
  const int warpT = warp / 2 * HALF, warpO = warp % 2 * HALF, run = a.i / a.g;
  // Element e of acc[m][n] is that of this token and this output.
  const auto token = [&](int t, int m, int e) { return t + warpT + 16 * m + part + 8 * (e / 2); };
  const auto output = [&](int row, int n, int e) { return row + warpO + 8 * n + 2 * four + e % 2; };
  const auto word = [](const int8_t* at) { return *reinterpret_cast<const uint32_t*>(at); };

  for (int row = blockIdx.x * TILE; row < a.o; row += gridDim.x * TILE)
    for (int t = blockIdx.y * TILE; t < a.l; t += gridDim.y * TILE) {
      int acc[M][N][4] = {};
      float sums[M][N][4] = {};
      const auto eachSum = [&](auto f) {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
          for (int n = 0; n < N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
              if (token(t, m, e) < a.l && output(row, n, e) < a.o)
                f(acc[m][n][e], sums[m][n][e], token(t, m, e), output(row, n, e));
      };
      for (int k = 0; k < a.i; k += TILE) {
        __syncthreads();  // the tiles before have been read
        loadTileI8(xs, a.x, t, a.l, k, a.i);
        loadTileI8(ws, a.w, row, a.o, k, a.i);
        __syncthreads();
#pragma unroll
        for (int c = 0; c < TILE; c += 32) {
          uint32_t left[M][4], right[N][2];
#pragma unroll
          for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < 4; e++)
              left[m][e] = word(&xs[warpT + 16 * m + part + e % 2 * 8][c + 4 * four + e / 2 * 16]);
#pragma unroll
          for (int n = 0; n < N; n++)
#pragma unroll
            for (int e = 0; e < 2; e++) right[n][e] = word(&ws[warpO + 8 * n + part][c + 4 * four + e * 16]);
#pragma unroll
          for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < N; n++) mmaI8(acc[m][n], left[m], right[n]);
        }
        const int end = k + TILE;
        if (end >= a.i || end % run == 0)
          eachSum([&](int& group, float& sum, int s, int out) {
            sum = a.withGroup(sum, group, s, out, k / run);
            group = 0;
          });
      }
      eachSum([&](int, float sum, int s, int out) { a.store(sum, s, out); });
    }
}

inline void linearI8(cudaStream_t stream, const LinearI8& a) {
  const bool tiles = a.l >= 16 && a.i % 16 == 0 && (a.g == 1 || a.i / a.g % TILE == 0);
  if (tiles)
    linearI8Tiles<<<dim3(blocksFor(a.o, TILE), blocksFor(a.l, TILE)), TILE_THREADS, 0, stream>>>(a);
  else
    linearI8Rows<<<dim3(blocksFor(a.o, ROW_WARPS), blocksFor(a.l, 1)), 32 * ROW_WARPS, 0, stream>>>(a);
}

}  // namespace quamba
