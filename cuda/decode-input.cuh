// The phase `input`: rms-norm → in_proj → the convolution of x, silu of z.
#pragma once

#include "decode-ahead.cuh"
#include "decode-product.cuh"
#include "decode-words.cuh"

namespace quamba {

/** A value of the token's row of the embedding. */
template <class W>
__device__ float embedded(const Decode<W>& g, int j) {
  const size_t row = *g.token, at = row * g.m + j;
  if (g.embeddingType == TableType::f32) return static_cast<const float*>(g.embedding)[at];
  if (g.embeddingType == TableType::f16) return __half2float(static_cast<const __half*>(g.embedding)[at]);
  return mul(g.embeddingScale[row], static_cast<float>(static_cast<const int8_t*>(g.embedding)[at]));
}

/** The residual after `layers` layers → row. By a whole block, which then synchronizes. */
template <class W>
__device__ void hearResidual(const Decode<W>& g, int layers, float* row) {
  if (layers == 0)
#pragma unroll 1
    for (int j = threadIdx.x; j < g.m; j += DECODE_THREADS) row[j] = embedded(g, j);
  else
    hearAll<5>(g.of(g.h, g.m, layers - 1), g.m, g.tagOf(layers - 1), [&](int j, uint32_t a, uint32_t b) {
      *reinterpret_cast<uint2*>(row + j) = make_uint2(a, b);
    });
  __syncthreads();
}

/**
 * 1 / rms of a row in shared memory, by a whole block, which then synchronizes. One warp sums as inverseRms does; it loads eight
 * values while it adds the eight before, zeros after the last one, which change no sum of squares.
 */
__device__ inline float inverseRmsOfAll(const float* row, int m, float eps, float& shared) {
  constexpr int EIGHT = 8;
  if (threadIdx.x < 32) {
    float now[EIGHT], sum = 0.0f;
    const auto load = [&](int k) {
#pragma unroll
      for (int i = 0; i < EIGHT; i++) now[i] = k + 32 * i < m ? row[k + 32 * i] : 0.0f;
    };
    load(threadIdx.x);
#pragma unroll 1
    for (int k = threadIdx.x; k < m; k += 32 * EIGHT) {
      float squares[EIGHT];
#pragma unroll
      for (int i = 0; i < EIGHT; i++) squares[i] = mul(now[i], now[i]);
      load(k + 32 * EIGHT);
#pragma unroll
      for (int i = 0; i < EIGHT; i++) sum = add(sum, squares[i]);
    }
#pragma unroll
    for (int half = 16; half >= 1; half /= 2) sum = add(sum, __shfl_xor_sync(~0u, sum, half));
    if (threadIdx.x == 0) shared = divide(1.0f, root(add(divide(sum, static_cast<float>(m)), eps)));
  }
  __syncthreads();
  return shared;
}

/** The weights of a norm for the fours of this thread, loaded before there is something to norm. */
class NormWeights {
 public:
  __device__ NormWeights(const float* w, int m) {
#pragma unroll
    for (int i = 0; i < FOURS; i++)
      of[i] = w && at(i) < m ? *reinterpret_cast<const float4*>(w + at(i)) : make_float4(1.0f, 1.0f, 1.0f, 1.0f);
  }

  /** put(j, values j … j + 3) of the normed row. A product with 1 is what it was, as without weights. */
  template <class Put>
  __device__ void norm(const float* row, int m, float inverse, Put put) const {
#pragma unroll
    for (int i = 0; i < FOURS; i++) {
      if (at(i) >= m) continue;
      const float4 x = *reinterpret_cast<const float4*>(row + at(i)), w = of[i];
      put(at(i), make_float4(mul(mul(x.x, inverse), w.x), mul(mul(x.y, inverse), w.y), mul(mul(x.z, inverse), w.z),
                             mul(mul(x.w, inverse), w.w)));
    }
  }

 private:
  static constexpr int FOURS = MOST_WIDTH / 4 / DECODE_THREADS;
  float4 of[FOURS];
  static __device__ int at(int i) { return 4 * (threadIdx.x + i * DECODE_THREADS); }
};

/** Copies `count` values; those of the first round can be loaded before others are waited for. */
class EarlyCopy {
 public:
  __device__ EarlyCopy(const float* from, int count) : from(from), count(from ? count : 0) {
    if (threadIdx.x < this->count) first = from[threadIdx.x];
  }
  __device__ void to(float* to) const {
    if (threadIdx.x < count) to[threadIdx.x] = first;
#pragma unroll 1
    for (int i = threadIdx.x + DECODE_THREADS; i < count; i += DECODE_THREADS) to[i] = from[i];
  }

 private:
  const float* from;
  const int count;
  float first = 0.0f;
};

/** One channel of x goes through the convolution, and moves its state on. */
__device__ inline float convolved(float x, const float* w, const float* past, const float* b, float* state, int k) {
  float factor[MOST_TAPS], value[MOST_TAPS];
#pragma unroll
  for (int j = 0; j < MOST_TAPS; j++)
    if (j < k) {
      factor[j] = w[j];
      value[j] = j < k - 1 ? past[j] : x;
    }
  float sum = mul(factor[0], value[0]);
#pragma unroll
  for (int j = 1; j < MOST_TAPS; j++)
    if (j < k) {
      sum = add(sum, mul(factor[j], value[j]));
      state[j - 1] = value[j];
    }
  return b ? add(sum, *b) : sum;
}

/** What this phase would wait for otherwise, in the layer before. */
template <class W>
__device__ void prefetchInput(const Decode<W>& g, const Prepared<W>& layer, const Own<W>& own) {
  const Slab& slab = own.slab[INPUT];
  const int channels = slab.rows / 2, past = g.k - 1;
  if (layer.norm) prefetchAll(layer.norm, g.m * sizeof(float));
  prefetchAll(layer.convW + slab.first * g.k, channels * g.k * sizeof(float));
  prefetchAll(layer.convState + slab.first * past, channels * past * sizeof(float));
}

template <class W, class Weights>
__device__ void inputPhase(const Decode<W>& g, int i, Own<W>& own, char* memory, Weights& weights) {
  using Sum = typename Operand<W>::Sum;
  const Prepared<W>& layer = own.layer[i & 1];
  const Slab& slab = own.slab[INPUT];
  const int channels = slab.rows / 2, first = slab.first, past = g.k - 1;
  float* row = reinterpret_cast<float*>(memory + g.at.values);
  float* taps = reinterpret_cast<float*>(memory + g.at.taps);
  Sum* sums = reinterpret_cast<Sum*>(memory + g.at.sums);
  Operand<W> x(memory + g.at.operand);

  const NormWeights norm(layer.norm, g.m);
  const EarlyCopy w(layer.convW + first * g.k, channels * g.k), state(layer.convState + first * past, channels * past);
  const EarlyCopy b(layer.convB ? layer.convB + first : nullptr, channels);
#pragma unroll 1
  for (int chunk = blockIdx.x; chunk < g.d / CHUNK; chunk += g.blocks) {  // what the scan would wait for otherwise
    const size_t c = static_cast<size_t>(chunk) * CHUNK;
    prefetchAll(layer.A + c * g.n, CHUNK * g.n * sizeof(float));
    prefetchAll(layer.ssmState + c * g.n, CHUNK * g.n * sizeof(float));
    prefetchAll(layer.dtProj + c * g.r, CHUNK * g.r * sizeof(W));
  }
  hearResidual(g, i, row);
  prefetchMatrix(g, own, memory, i, SELECT);
  prefetchMatrix(g, own, memory, i, OUTPUT);
  float* const pastTaps = taps + channels * g.k;
  float* const biases = pastTaps + channels * past;
  w.to(taps), state.to(pastTaps), b.to(biases);
  const Slab& rows = own.slab[OUTPUT];
#pragma unroll 1
  for (int r = threadIdx.x; r < rows.rows; r += DECODE_THREADS) g.residual[rows.first + r] = row[rows.first + r];
  const float inverse = inverseRmsOfAll(row, g.m, layer.eps, own.inverse);
  const Site<W> in(layer.in, g.nan);
  norm.norm(row, g.m, inverse, [&](int j, float4 values) { x.putFour(j, values, in); });
  __syncthreads();
  multiply(own, INPUT, weights, x, sums);

  // The first half of the threads has the rows of x, the other those of z.
  constexpr int HALF = DECODE_THREADS / 2;
  const bool gate = threadIdx.x >= HALF;
  const Site<W> read(gate ? layer.gate : layer.convIn, g.nan), u(layer.u, g.nan);
  const uint32_t tag = g.tagOf(i);
#pragma unroll 1
  for (int c = threadIdx.x % HALF; c < channels; c += HALF) {
    const int channel = first + c;
    const float value = Operand<W>::real(sumOf(slab, gate ? channels + c : c, sums), layer.inReal);
    float y = read.passed(value, channel);
    if (!gate)
      y = convolved(y, taps + c * g.k, pastTaps + c * past, layer.convB ? biases + c : nullptr,
                    layer.convState + channel * past, g.k);
    y = silu(y);
    if (gate) {
      tell(g.of(g.z, g.d, i) + channel, y, tag);
    } else {
      const uint32_t word = packWord(u.stored(y, channel));
      if (channel % PACKED<W> == 0) tell(g.of(g.u, g.d / PACKED<W>, i) + channel / PACKED<W>, word, tag);
    }
  }
}

}  // namespace quamba
