// A row of values times a block's rows of a matrix, whose weights come from the stream; and what a value is on both sides of it.
#pragma once

#include "decode-stream.cuh"
#include "numerics.cuh"
#include "quantize.cuh"

namespace quamba {

/** What is rare is not copied to each place that may need it. */
__device__ __noinline__ static int8_t quantizeSlowly(float x, float scale, int place, NanPlace* nan) {
  return quantizeValue(x, scale, place, nan);
}

/** How the values of a site are kept: as steps of its scale, or as they are. */
template <class W>
struct Site;

template <>
struct Site<int8_t> {
  Quantum quantum;
  NanPlace* nan;

  __device__ Site(Quantum quantum, NanPlace* nan) : quantum(quantum), nan(nan) {}
  __device__ int8_t stored(float x, int place) const {
    int8_t q;
    return quantizeByProduct(x, quantum.inverse, q) ? q : quantizeSlowly(x, quantum.scale, place, nan);
  }
  __device__ float restored(int8_t q) const { return mul(quantum.scale, static_cast<float>(q)); }
  __device__ float passed(float x, int place) const { return restored(stored(x, place)); }
  /** In a word of its own. */
  __device__ uint32_t word(float x, int place) const { return static_cast<uint8_t>(stored(x, place)); }
  __device__ float restoredWord(uint32_t word) const { return restored(static_cast<int8_t>(word)); }
};

template <>
struct Site<__half> {
  __device__ Site(Quantum, NanPlace*) {}
  __device__ __half stored(float x, int) const { return __float2half_rn(x); }
  __device__ float restored(__half x) const { return __half2float(x); }
  __device__ float passed(float x, int) const { return x; }
  __device__ uint32_t word(float x, int) const { return __float_as_uint(x); }
  __device__ float restoredWord(uint32_t word) const { return __uint_as_float(word); }
};

__device__ inline uint32_t bitsOf(int8_t q) { return static_cast<uint8_t>(q); }
__device__ inline uint32_t bitsOf(__half x) { return __half_as_ushort(x); }

/** The values of a word of PACKED neighbours, of which each has a thread; all of these threads get it. */
template <class W>
__device__ uint32_t packWord(W value) {
  constexpr int N = PACKED<W>;
  const int place = threadIdx.x % N;
  const unsigned mask = ((1u << N) - 1) << (threadIdx.x % 32 - place);
  uint32_t word = bitsOf(value) << (8 * sizeof(W) * place);
#pragma unroll
  for (int other = 1; other < N; other *= 2) word |= __shfl_xor_sync(mask, word, other);
  return word;
}

/** What a matrix of W is multiplied by, in shared memory. */
template <class W>
struct Operand;

template <>
struct Operand<int8_t> {
  using Sum = int;
  using Piece = int4;  // the factors of 16 bytes of weights
  int8_t* at;

  __device__ explicit Operand(char* memory) : at(reinterpret_cast<int8_t*>(memory)) {}
  static __host__ __device__ constexpr int bytes(int size) { return size; }

  __device__ void putFour(int j, float4 x, const Site<int8_t>& site) {
    char4 q;
    q.x = site.stored(x.x, j), q.y = site.stored(x.y, j + 1), q.z = site.stored(x.z, j + 2), q.w = site.stored(x.w, j + 3);
    *reinterpret_cast<char4*>(at + j) = q;
  }
  /** Two words of packed values, from j on. */
  __device__ void putWords(int j, uint32_t a, uint32_t b) { *reinterpret_cast<uint2*>(at + j) = make_uint2(a, b); }

  __device__ Piece piece(int segment, int eighth) const {
    return *reinterpret_cast<const int4*>(at + segment * SEGMENT + eighth * 16);
  }
  static __device__ int product(const int4& w, const Piece& x) {
    return __dp4a(x.w, w.w, __dp4a(x.z, w.z, __dp4a(x.y, w.y, __dp4a(x.x, w.x, 0))));
  }
  static __device__ float real(int sum, float size) { return mul(__int2float_rn(sum), size); }
};

template <>
struct Operand<__half> {
  using Sum = float;
  struct Piece {
    float4 a, b;
  };
  float* at;

  __device__ explicit Operand(char* memory) : at(reinterpret_cast<float*>(memory)) {}
  static __host__ __device__ constexpr int bytes(int size) { return 4 * size; }

  /** Of the 64 values of a segment the first fours of all eighths lie before the second ones: threads read all banks. */
  static __device__ int place(int j) { return (j & ~63) + (j / 4 % 2) * 32 + j % 64 / 8 * 4 + j % 4; }
  __device__ void putFour(int j, float4 x, const Site<__half>&) { *reinterpret_cast<float4*>(at + place(j)) = x; }
  __device__ void putWords(int j, uint32_t a, uint32_t b) {
    const auto pair = [](uint32_t word) { return __half22float2(*reinterpret_cast<const __half2*>(&word)); };
    const float2 x = pair(a), y = pair(b);
    *reinterpret_cast<float4*>(at + place(j)) = make_float4(x.x, x.y, y.x, y.y);
  }

  __device__ Piece piece(int segment, int eighth) const {
    const float* from = at + segment * 64 + eighth * 4;
    return {*reinterpret_cast<const float4*>(from), *reinterpret_cast<const float4*>(from + 32)};
  }
  static __device__ float product(const int4& w, const Piece& x) {
    const auto pair = [](int word) { return __half22float2(*reinterpret_cast<const __half2*>(&word)); };
    const float2 w0 = pair(w.x), w1 = pair(w.y), w2 = pair(w.z), w3 = pair(w.w);
    const float left = __fmaf_rn(x.a.w, w1.y, __fmaf_rn(x.a.z, w1.x, __fmaf_rn(x.a.y, w0.y, x.a.x * w0.x)));
    const float right = __fmaf_rn(x.b.w, w3.y, __fmaf_rn(x.b.z, w3.x, __fmaf_rn(x.b.y, w2.y, x.b.x * w2.x)));
    return left + right;
  }
  static __device__ float real(float sum, float) { return sum; }
};

/** The four sums over a warp, in its first lane. */
struct Sums {
  __device__ static int4 of(const int (&part)[BATCH]) {
    return make_int4(__reduce_add_sync(~0u, part[0]), __reduce_add_sync(~0u, part[1]), __reduce_add_sync(~0u, part[2]),
                     __reduce_add_sync(~0u, part[3]));
  }
  __device__ static float4 of(const float (&part)[BATCH]) {
    const int lane = threadIdx.x % 32;
    // Half of the lanes go on with two of the sums, and half of these with one of them.
    const auto halved = [&](float a, float b, int other) {
      const bool second = lane & other;
      return (second ? b : a) + __shfl_xor_sync(~0u, second ? a : b, other);
    };
    float sum = halved(halved(part[0], part[1], 16), halved(part[2], part[3], 16), 8);
#pragma unroll
    for (int other = 4; other >= 1; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
    return make_float4(sum, __shfl_sync(~0u, sum, 16), __shfl_sync(~0u, sum, 8), __shfl_sync(~0u, sum, 24));
  }
};

/** The sums of each unit of a slab: sums[4 · unit + row of the group]. By a whole block, which then synchronizes. */
template <class W, class Weights>
__device__ void multiply(const Own<W>& own, int phase, Weights& weights, const Operand<W>& x,
                         typename Operand<W>::Sum* sums) {
  using Sum = typename Operand<W>::Sum;
  const Slab& slab = own.slab[phase];
  const WarpUnits units = own.units[phase][threadIdx.x / 32];
  const int spans = slab.spans(), last = slab.segments - 1, batches = slab.batches();
  const int part = threadIdx.x % 32 / 8, eighth = threadIdx.x % 8;
  int span = units.span, unit = 0;
  const auto some = [&](auto& pieces) {
    constexpr int COUNT = sizeof(pieces) / sizeof(pieces[0]);
    weights.template take<COUNT>(pieces);
    Sum products[COUNT][BATCH];
#pragma unroll
    for (int b = 0; b < COUNT; b++) {
      const auto factors = x.piece(min(4 * span + part, last), eighth);  // after the last one: times zeros
#pragma unroll
      for (int p = 0; p < BATCH; p++) products[b][p] = Operand<W>::product(pieces[b][p], factors);
      if (++span == spans) span = 0;
    }
#pragma unroll
    for (int b = 0; b < COUNT; b++, unit++) {
      const auto four = Sums::of(products[b]);
      if (unit < units.count && threadIdx.x % 32 == 0)
        *reinterpret_cast<decltype(Sums::of(products[b]))*>(sums + BATCH * (units.first + unit)) = four;
    }
  };
  // Two at once, whose latencies overlap: 8 warps alone do not hide them.
#pragma unroll 1
  for (int b = 0; b + 1 < batches; b += 2) {
    int4 pieces[2][BATCH];
    some(pieces);
  }
  if (batches % 2) {
    int4 pieces[1][BATCH];
    some(pieces);
  }
  __syncthreads();
}

/** The sum of a row of the slab. */
template <class Sum>
__device__ Sum sumOf(const Slab& slab, int row, const Sum* sums) {
  const int spans = slab.spans();
  const Sum* part = sums + row / BATCH * spans * BATCH + row % BATCH;
  Sum sum = 0;
#pragma unroll 4
  for (int s = 0; s < spans; s++) sum += part[BATCH * s];
  return sum;
}

}  // namespace quamba
