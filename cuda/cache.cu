// The reference's bits (src/state.ts): a row is rounded by one warp, whose maximum is exact in any order.
#include "cache.cuh"
#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

namespace {

constexpr int ROW_THREADS = 256, ROW_WARPS = ROW_THREADS / 32;

/** Beyond the largest value of binary16 a value saturates; NaN stays NaN. */
__device__ inline __half halfOf(float x) { return __float2half_rn(atMost(atLeast(x, -65504.0f), 65504.0f)); }

/** The size of a row's steps, with 16 binary digits: its product with a step is exact. NaN is passed over. */
__device__ inline float measuredStep(const float* row, int p) {
  float most = 1e-5f;
  for (int i = threadIdx.x % 32; i < p; i += 32)
    if (fabsf(row[i]) > most) most = fabsf(row[i]);
  for (int half = 16; half >= 1; half /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, half));
  return __int_as_float((__float_as_int(divide(fminf(most, 3.4e38f), 127.0f)) + 0xff) & ~0xff);
}

/** Of NaN, which int8 does not have, 0 is kept. */
__device__ inline int8_t stepsOf(float x, float step) {
  return static_cast<int8_t>(x == x ? integerOf(add(atMost(atLeast(divide(x, step), -128.0f), 127.0f), MAGIC)) : 0);
}

/** By a warp: the row of a token and group. */
__device__ void storeRow(const Cache& cache, const Turn& turn, int s, int group, const float* from) {
  char* const begin = turn.pages[s / PAGE] + cache.begin;
  const size_t row = static_cast<size_t>(s % PAGE) * cache.groups + group, first = row * cache.p;
  const int lane = threadIdx.x % 32;
  if (cache.kept == Kept::f32) {
    float* const to = reinterpret_cast<float*>(begin) + first;
    for (int i = lane; i < cache.p; i += 32) to[i] = from[i];
  } else if (cache.kept == Kept::f16) {
    __half* const to = reinterpret_cast<__half*>(begin) + first;
    for (int i = lane; i < cache.p; i += 32) to[i] = halfOf(from[i]);
  } else {
    int8_t* const to = reinterpret_cast<int8_t*>(begin) + first;
    const float step = measuredStep(from, cache.p);
    for (int i = lane; i < cache.p; i += 32) to[i] = stepsOf(from[i], step);
    if (lane == 0) reinterpret_cast<float*>(begin + static_cast<size_t>(PAGE) * cache.groups * cache.p)[row] = step;
  }
}

/** f(item) for each of so many rows, by a warp. */
template <class F>
__device__ inline void eachRow(int64_t rows, F f) {
  const int64_t apart = static_cast<int64_t>(gridDim.x) * ROW_WARPS;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * ROW_WARPS + threadIdx.x / 32; row < rows; row += apart) f(row);
}

__global__ void __launch_bounds__(ROW_THREADS)
    storeKernel(Turns turns, Cache keys, const float* k, Cache values, const float* v) {
  const int groups = keys.groups;
  eachRow(int64_t{2} * turns.count * turns.longest * groups, [=](int64_t item) {
    const bool isKey = item % 2 == 0;
    const int group = item / 2 % groups, t = item / (2 * groups) % turns.longest;
    const Turn turn = turnOf(turns, item / (2 * groups) / turns.longest);
    if (t >= turn.count) return;
    const size_t row = (static_cast<size_t>(turn.row) + t) * groups + group;
    const Cache cache{isKey ? keys.kept : values.kept, isKey ? keys.begin : values.begin, groups, keys.p};
    storeRow(cache, turn, turn.position + t, group, (isKey ? k : v) + row * cache.p);
  });
}

__global__ void __launch_bounds__(ROW_THREADS) storeTextKernel(Turn turn, Cache cache, const float* from) {
  eachRow(static_cast<int64_t>(turn.count) * cache.groups, [=](int64_t item) {
    storeRow(cache, turn, item / cache.groups, item % cache.groups, from + item * cache.p);
  });
}

template <class T>
__global__ void __launch_bounds__(ROW_THREADS) loadTextKernel(Turn turn, Cache cache, float* to) {
  eachRow(static_cast<int64_t>(turn.count) * cache.groups, [=](int64_t item) {
    const int s = item / cache.groups;
    const PageRows<T> rows(cache, turn.pages[s / PAGE], item % cache.groups);
    for (int i = threadIdx.x % 32; i < cache.p; i += 32) to[item * cache.p + i] = rows.at(s % PAGE, i);
  });
}

}  // namespace

void storeCaches(cudaStream_t stream, const Turns& turns, const Cache& keys, const float* k, const Cache& values, const float* v) {
  storeKernel<<<blocksFor(turns.count * turns.longest, 1), ROW_THREADS, 0, stream>>>(turns, keys, k, values, v);
}

void storeCache(cudaStream_t stream, const Turn& turn, const Cache& cache, const float* from) {
  storeTextKernel<<<blocksFor(turn.count, 1), ROW_THREADS, 0, stream>>>(turn, cache, from);
}

void loadCache(cudaStream_t stream, const Turn& turn, const Cache& cache, float* to) {
  const unsigned blocks = blocksFor(turn.count, 1);
  if (cache.kept == Kept::f32) loadTextKernel<float><<<blocks, ROW_THREADS, 0, stream>>>(turn, cache, to);
  else if (cache.kept == Kept::f16) loadTextKernel<__half><<<blocks, ROW_THREADS, 0, stream>>>(turn, cache, to);
  else loadTextKernel<int8_t><<<blocks, ROW_THREADS, 0, stream>>>(turn, cache, to);
}

}  // namespace quamba
