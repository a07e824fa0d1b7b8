// The end: the final norm and the head. f32 and f16 tables: the four lanes of `linear`, in its order, are the four threads of a
// row. They read their pieces of it side by side and then exchange what belongs to each other's lanes.
#pragma once

#include "decode-input.cuh"

namespace quamba {

/** The words of four threads as a square, turned over: thread t gets word t of each. */
__device__ inline void transposeFour(uint32_t (&w)[4]) {
  const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
  const auto swap = [](bool keepSecond, uint32_t& a, uint32_t& b, int other) {
    const uint32_t got = __shfl_xor_sync(~0u, keepSecond ? a : b, other);
    (keepSecond ? a : b) = got;
  };
  swap(odd, w[0], w[1], 1), swap(odd, w[2], w[3], 1);
  swap(high, w[0], w[2], 2), swap(high, w[1], w[3], 2);
}

/** The values of a table in a piece of 16 bytes, and where their factors lie in shared memory: those of a lane in order. */
template <class T>
struct LanePieces;

template <>
struct LanePieces<float> {
  static constexpr int EACH = 4;  // of a lane in a piece of all four
  static __device__ void unpack(const int4& piece, float (&lane)[EACH]) {
    uint32_t w[4] = {static_cast<uint32_t>(piece.x), static_cast<uint32_t>(piece.y), static_cast<uint32_t>(piece.z),
                     static_cast<uint32_t>(piece.w)};
    transposeFour(w);
#pragma unroll
    for (int i = 0; i < 4; i++) lane[i] = __uint_as_float(w[i]);
  }
};

template <>
struct LanePieces<__half> {
  static constexpr int EACH = 8;
  static __device__ void unpack(const int4& piece, float (&lane)[EACH]) {
    // Values e and e + 4 of the piece are of lane e.
    uint32_t w[4] = {__byte_perm(piece.x, piece.z, 0x5410), __byte_perm(piece.x, piece.z, 0x7632),
                     __byte_perm(piece.y, piece.w, 0x5410), __byte_perm(piece.y, piece.w, 0x7632)};
    transposeFour(w);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&w[i]));
      lane[2 * i] = pair.x, lane[2 * i + 1] = pair.y;
    }
  }
};

/** Where value j of the row lies: those that a lane multiplies by a piece follow each other. */
template <class T>
__device__ int lanePlace(int j) {
  constexpr int EACH = LanePieces<T>::EACH, ALL = 4 * EACH;
  return j / ALL * ALL + j % 4 * EACH + j % ALL / 4;
}

template <class W>
__device__ void tellLogit(const Decode<W>& g, int row, float value) {
  g.logits[row] = g.headBias ? add(value, g.headBias[row]) : value;
}

template <class T, class W, class Weights>
__device__ void floatHead(const Decode<W>& g, const Own<W>& own, const float* x, Weights& weights) {
  constexpr int EACH = LanePieces<T>::EACH;
  const int lane = threadIdx.x % 4, batches = g.m / (4 * EACH * BATCH);
  const Share& share = own.head[threadIdx.x / 4];
  const int most = own.flow[HEAD].batches / batches;
#pragma unroll 1
  for (int row = 0; row < most; row++) {
    float sum = 0.0f;
    const float* factors = x + lane * EACH;
#pragma unroll 1
    for (int b = 0; b < batches; b++) {
      int4 pieces[1][BATCH];
      weights.template take<1>(pieces);
#pragma unroll
      for (int p = 0; p < BATCH; p++) {
        float w[EACH];
        LanePieces<T>::unpack(pieces[0][p], w);
#pragma unroll
        for (int i = 0; i < EACH; i += 4) {
          const float4 f = *reinterpret_cast<const float4*>(factors + i);
          sum = add(sum, mul(f.x, w[i]));
          sum = add(sum, mul(f.y, w[i + 1]));
          sum = add(sum, mul(f.z, w[i + 2]));
          sum = add(sum, mul(f.w, w[i + 3]));
        }
        factors += 4 * EACH;
      }
    }
    sum = sumLanes(sum);
    if (lane == 0 && row < share.count) tellLogit(g, share.first + row, sum);
  }
}

template <class W, class Weights>
__device__ void i8Head(const Decode<W>& g, const Own<W>& own, const Operand<int8_t>& x, Weights& weights) {
  const int lane = threadIdx.x % 32, last = g.m / SEGMENT - 1;
  const Share& share = own.head[threadIdx.x / 32];
  const int spans = own.flow[HEAD].spans, groups = own.flow[HEAD].batches / spans;
#pragma unroll 1
  for (int row = 0; row < groups * BATCH; row += BATCH) {
    int sums[BATCH] = {};
#pragma unroll 1
    for (int span = 0; span < spans; span++) {
      int4 pieces[1][BATCH];
      weights.template take<1>(pieces);
      const int4 factors = x.piece(min(4 * span + lane / 8, last), lane % 8);
#pragma unroll
      for (int p = 0; p < BATCH; p++) sums[p] += Operand<int8_t>::product(pieces[0][p], factors);
    }
    const int4 four = Sums::of(sums);
    const int sum = lane == 0 ? four.x : lane == 1 ? four.y : lane == 2 ? four.z : four.w;
    const int o = share.first + row + lane;
    if (lane < BATCH && row + lane < share.count) {
      const float size = mul(g.headIn.scale, g.headWeight[g.headWeightEachRow ? o : 0]);
      tellLogit(g, o, Operand<int8_t>::real(sum, size));
    }
  }
}

template <class W, class Weights>
__device__ void headPhase(const Decode<W>& g, Own<W>& own, char* memory, Weights& weights) {
  float* row = reinterpret_cast<float*>(memory + g.at.values);
  char* operand = memory + g.at.operand;
  const NormWeights norm(g.finalNorm, g.m);
  hearResidual(g, g.layers, row);
  const float inverse = inverseRmsOfAll(row, g.m, g.finalEps, own.inverse);
  if (g.headType == TableType::i8) {
    Operand<int8_t> x(operand);
    const Site<int8_t> in(g.headIn, g.nan);
    norm.norm(row, g.m, inverse, [&](int j, float4 values) { x.putFour(j, values, in); });
    __syncthreads();
    i8Head(g, own, x, weights);
    return;
  }
  float* x = reinterpret_cast<float*>(operand);
  const auto place = [&](int j) { return g.headType == TableType::f16 ? lanePlace<__half>(j) : lanePlace<float>(j); };
  norm.norm(row, g.m, inverse, [&](int j, float4 values) {
    x[place(j)] = values.x, x[place(j + 1)] = values.y, x[place(j + 2)] = values.z, x[place(j + 3)] = values.w;
  });
  __syncthreads();
  if (g.headType == TableType::f16) floatHead<__half>(g, own, x, weights);
  else floatHead<float>(g, own, x, weights);
}

}  // namespace quamba
