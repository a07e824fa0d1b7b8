// fwht, then the steps, a block a row. Strides below LOCAL are done by warps on 128 neighbours in registers, the others and
// M_K by threads that hold all values that lie LOCAL apart. Between the two, and before the steps, the row lies in shared
// memory.
#include "fused.h"
#include "fwht.cuh"
#include "ops.h"
#include "stored.cuh"

namespace quamba {

namespace {

constexpr int ROW_THREADS = 128, NEIGHBOURS = 128;

/** v[i], v[i + STRIDE] ← their sum and difference. */
template <int STRIDE, int SIZE>
__device__ inline void butterfly(float (&v)[SIZE]) {
#pragma unroll
  for (int i = 0; i < SIZE; i++) {
    if (i / STRIDE % 2 == 1) continue;
    const float a = v[i], b = v[i + STRIDE];
    v[i] = add(a, b);
    v[i + STRIDE] = sub(a, b);
  }
}

/** Strides 1 … LOCAL/2 over the four values of each thread of a warp. The product with ±1 is exact: fma rounds the sum. */
template <int LOCAL>
__device__ inline void transformNeighbours(float (&v)[4]) {
  butterfly<1>(v);
  butterfly<2>(v);
#pragma unroll
  for (int mask = 1; mask < LOCAL / 4; mask *= 2) {
    const float sign = threadIdx.x & mask ? -1.0f : 1.0f;
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = __fmaf_rn(v[i], sign, __shfl_xor_sync(~0u, v[i], mask));
  }
}

/** x ← M_K x. The compiler knows the signs. */
template <int K>
__device__ inline void mixColumn(float (&x)[K], const Signs<K>& signs) {
  float y[K];
#pragma unroll
  for (int i = 0; i < K; i++) {
    y[i] = signs.rows[i] & 1 ? -x[0] : x[0];
#pragma unroll
    for (int j = 1; j < K; j++) y[i] = signs.rows[i] >> j & 1 ? sub(y[i], x[j]) : add(y[i], x[j]);
  }
#pragma unroll
  for (int i = 0; i < K; i++) x[i] = y[i];
}

/** n = OUTER · K · INNER · LOCAL, the run of the butterflies INNER · LOCAL. */
template <int OUTER, int K, int INNER, int LOCAL>
__global__ void __launch_bounds__(ROW_THREADS, 5)
    fwhtQuantizeKernel(const float* __restrict__ x, Stored<int8_t> out, int rows, float norm, NanPlace* nan) {
  constexpr int HELD = OUTER * K * INNER, N = HELD * LOCAL, PARTS = N / NEIGHBOURS, WARPS = ROW_THREADS / 32;
  constexpr int EACH = (PARTS + WARPS - 1) / WARPS;
  __shared__ __align__(16) float row[N];
  const Storer<int8_t> stored(out, nan);
  for (int t = blockIdx.x; t < rows; t += gridDim.x) {
    const size_t start = static_cast<size_t>(t) * N;
    Pack<float, 4> part[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++)
      if (threadIdx.x / 32 + i * WARPS < PARTS) part[i] = loadPack<4>(x + start + 4 * (threadIdx.x + i * ROW_THREADS));
#pragma unroll
    for (int i = 0; i < EACH; i++)
      if (threadIdx.x / 32 + i * WARPS < PARTS) {
        transformNeighbours<LOCAL>(part[i].at);
        storePack(row + 4 * (threadIdx.x + i * ROW_THREADS), part[i]);
      }
    __syncthreads();
    if (threadIdx.x < LOCAL) {
      float v[HELD];
#pragma unroll
      for (int i = 0; i < HELD; i++) v[i] = row[i * LOCAL + threadIdx.x];
      if constexpr (INNER > 1) butterfly<1>(v);
      if constexpr (INNER > 2) butterfly<2>(v);
      if constexpr (INNER > 4) butterfly<4>(v);
      if constexpr (INNER > 8) butterfly<8>(v);
      if constexpr (INNER > 16) butterfly<16>(v);
      if constexpr (K > 1)
#pragma unroll
        for (int c = 0; c < OUTER * INNER; c++) {
          float column[K];
          const int first = c / INNER * K * INNER + c % INNER;
#pragma unroll
          for (int j = 0; j < K; j++) column[j] = v[first + j * INNER];
          if constexpr (K == 12) mixColumn(column, M12);
          else mixColumn(column, M20);
#pragma unroll
          for (int j = 0; j < K; j++) v[first + j * INNER] = column[j];
        }
      if constexpr (OUTER == 2) butterfly<HELD / 2>(v);
#pragma unroll
      for (int i = 0; i < HELD; i++) row[i * LOCAL + threadIdx.x] = mul(v[i], norm);
    }
    __syncthreads();
#pragma unroll 2
    for (int i = 4 * threadIdx.x; i < N; i += 4 * ROW_THREADS) {
      const Pack<float, 4> y = loadPack<4>(row + i);
      Pack<int8_t, 4> q;
#pragma unroll
      for (int v = 0; v < 4; v++) q.at[v] = stored(y.at[v], start + i + v);
      storePack(out.data + start + i, q);
    }
    __syncthreads();  // before the next row comes in
  }
}

/** Any size that fits. */
__global__ void __launch_bounds__(1024) fwhtQuantizeAny(
    const float* x, Stored<int8_t> out, int rows, int n, Factors factors, bool inverse, float norm, NanPlace* nan) {
  extern __shared__ float transformed[];
  const Storer<int8_t> stored(out, nan);
  for (int t = blockIdx.x; t < rows; t += gridDim.x) {
    const size_t start = static_cast<size_t>(t) * n;
    transform(x + start, transformed, n, factors, inverse);
    for (int i = threadIdx.x; i < n; i += blockDim.x) out.data[start + i] = stored(mul(transformed[i], norm), start + i);
    __syncthreads();  // before the next row comes in
  }
}

using Known = void (*)(const float*, Stored<int8_t>, int, float, NanPlace*);

/** The kernel for d_inner of a Mamba, or null. */
Known knownSize(int n, bool inverse) {
  switch (n) {
    case 768: return fwhtQuantizeKernel<1, 12, 1, 64>;
    case 1536: return fwhtQuantizeKernel<1, 12, 1, 128>;
    case 2048: return fwhtQuantizeKernel<1, 1, 16, 128>;
    case 3072: return fwhtQuantizeKernel<1, 12, 2, 128>;
    case 4096: return fwhtQuantizeKernel<1, 1, 32, 128>;
    case 5120: return inverse ? nullptr : fwhtQuantizeKernel<2, 20, 1, 128>;  // M_20 has another inverse
    default: return nullptr;
  }
}

/** What every GPU since sm_80 has for a block that asks. */
constexpr size_t MOST_SHARED = 99 * 1024;

}  // namespace

void fwhtQuantize(cudaStream_t stream, const float* x, Stored<int8_t> out, int rows, int n, bool inverse, NanPlace* nan) {
  const float norm = fwhtNorm(n);
  const auto known = knownSize(n, inverse);
  if (known && packed<4>(x) && packed<4>(out.data)) {
    known<<<blocksFor(rows, 1), ROW_THREADS, 0, stream>>>(x, out, rows, norm, nan);
    return;
  }
  const size_t bytes = sizeof(float) * static_cast<size_t>(n);
  if (bytes > MOST_SHARED) throw Failure(QUAMBA_WRONG_CALL, "fwht-quantize: a row of " + std::to_string(n) + " is too long");
  if (bytes > SHARED_BYTES)
    cudaFuncSetAttribute(fwhtQuantizeAny, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(MOST_SHARED));
  fwhtQuantizeAny<<<blocksFor(rows, 1), fwhtThreads(n), bytes, stream>>>(x, out, rows, n, factor(n), inverse, norm, nan);
}

}  // namespace quamba
