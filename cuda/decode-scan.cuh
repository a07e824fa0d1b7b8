// The phase `scan`: dt_proj, softplus, a token of the recurrence with four threads a channel, and the first stages of the
// Hadamard transform, whose butterflies lie within what one block has.
#pragma once

#include "decode-product.cuh"
#include "decode-words.cuh"
#include "selective-scan.cuh"

namespace quamba {

/** Bytes of a row of dt_proj that a thread reads at once. */
constexpr int LOW_UNIT = 8;

/** Four threads multiply one row of dt_proj, each a quarter of its units. */
template <class W>
class LowProduct;

template <>
class LowProduct<int8_t> {
 public:
  __device__ LowProduct(const int8_t* row, int r) : r(r) {
#pragma unroll
    for (int u = 0; u < UNITS; u++)
      if (at(u) < r) w[u] = *reinterpret_cast<const int2*>(row + at(u));
  }
  static __device__ void put(float* low, int j, uint32_t word) { reinterpret_cast<int8_t*>(low)[j] = static_cast<int8_t>(word); }
  /** Every one of the four gets the sum. */
  __device__ int sum(const float* low) const {
    int sum = 0;
#pragma unroll
    for (int u = 0; u < UNITS; u++)
      if (at(u) < r) {
        const int2 x = *reinterpret_cast<const int2*>(reinterpret_cast<const int8_t*>(low) + at(u));
        sum = __dp4a(x.y, w[u].y, __dp4a(x.x, w[u].x, sum));
      }
    sum += __shfl_xor_sync(~0u, sum, 1);
    return sum + __shfl_xor_sync(~0u, sum, 2);
  }

 private:
  static constexpr int UNITS = MOST_LOW / LOW_UNIT / 4;
  const int r;
  int2 w[UNITS];
  static __device__ int at(int u) { return LOW_UNIT * (4 * u + threadIdx.x % 4); }
};

template <>
class LowProduct<__half> {
 public:
  __device__ LowProduct(const __half* row, int r) : r(r) {
#pragma unroll
    for (int u = 0; u < UNITS; u++)
      if (at(u) < r) w[u] = *reinterpret_cast<const int2*>(row + at(u));
  }
  static __device__ void put(float* low, int j, uint32_t word) { low[j] = __uint_as_float(word); }
  __device__ float sum(const float* low) const {
    float sum = 0.0f;
#pragma unroll
    for (int u = 0; u < UNITS; u++)
      if (at(u) < r) {
        const float4 x = *reinterpret_cast<const float4*>(low + at(u));
        const float2 a = __half22float2(*reinterpret_cast<const __half2*>(&w[u].x));
        const float2 b = __half22float2(*reinterpret_cast<const __half2*>(&w[u].y));
        sum = __fmaf_rn(x.w, b.y, __fmaf_rn(x.z, b.x, __fmaf_rn(x.y, a.y, __fmaf_rn(x.x, a.x, sum))));
      }
    return sumLanes(sum);
  }

 private:
  static constexpr int UNITS = 2 * MOST_LOW / LOW_UNIT / 4;
  const int r;
  int2 w[UNITS];
  static __device__ int at(int u) { return LOW_UNIT / 2 * (4 * u + threadIdx.x % 4); }
};

/** Butterflies of strides below `local` over CHUNK values, by one warp: it has value lane + 32 j in v[j]. */
__device__ inline void firstButterflies(float (&v)[CHUNK / 32], int local) {
  const int lane = threadIdx.x % 32;
  for (int stride = 1; stride < min(local, 32); stride *= 2)
#pragma unroll
    for (float& value : v) {
      const float other = __shfl_xor_sync(~0u, value, stride);
      value = lane & stride ? sub(other, value) : add(value, other);
    }
#pragma unroll
  for (int stride = 1; stride < CHUNK / 32; stride *= 2)
    if (32 * stride < local)
#pragma unroll
      for (int j = 0; j < CHUNK / 32; j++)
        if (!(j & stride)) {
          const float a = v[j], b = v[j + stride];
          v[j] = add(a, b);
          v[j + stride] = sub(a, b);
        }
}

template <class W>
__device__ void scanPhase(const Decode<W>& g, int i, Own<W>& own) {
  constexpr bool STEPS = sizeof(W) == 1;  // dt has 256 values
  constexpr int STATES = MOST_STATES / 4;
  const Prepared<W>& layer = own.layer[i & 1];
  const uint32_t tag = g.tagOf(i);
  const int lane = threadIdx.x % 4, channel = threadIdx.x / 4;
  const Site<W> u(layer.u, g.nan), dtSite(layer.dt, g.nan);

#pragma unroll 1
  for (int chunk = blockIdx.x; chunk < g.d / CHUNK; chunk += g.blocks) {
    const bool isFirst = chunk == blockIdx.x;
    const int c = chunk * CHUNK + channel;
    const LowProduct<W> low(layer.dtProj + static_cast<size_t>(c) * g.r, g.r);
    const float bias = layer.dtBias ? layer.dtBias[c] : 0.0f, D = layer.D ? layer.D[c] : 0.0f;
    float h[STATES], a[STATES];
    float* const state = layer.ssmState + static_cast<size_t>(c) * g.n + lane;
#pragma unroll
    for (int s = 0; s < STATES; s++)
      if (4 * s < g.n) {
        h[s] = state[4 * s];
        a[s] = mul(layer.A[c * g.n + lane + 4 * s], LOG2E);
      }
    if (STEPS && isFirst && threadIdx.x < 256)
      own.softplus[threadIdx.x] = softplus(mul(layer.dt.scale, static_cast<float>(static_cast<int>(threadIdx.x) - 128)));
    Hearing packedInput(g.of(g.u, g.d / PACKED<W>, i) + c / PACKED<W>, tag), gate(g.of(g.z, g.d, i) + c, tag);
    if (isFirst) {
      hearAll<1>(g.of(g.low, g.r + 2 * g.n, i), g.r + 2 * g.n, tag, [&](int j, uint32_t a, uint32_t b) {
        if (j < g.r) return LowProduct<W>::put(own.low, j, a), LowProduct<W>::put(own.low, j + 1, b);
        const bool isB = j < g.r + g.n;
        const Site<W> site(isB ? layer.B : layer.C, g.nan);
        float* to = isB ? own.B + (j - g.r) : own.C + (j - g.r - g.n);
        to[0] = site.restoredWord(a), to[1] = site.restoredWord(b);
      });
    }
    __syncthreads();

    float dt = Operand<W>::real(low.sum(own.low), layer.dtReal);
    if (layer.dtBias) dt = add(dt, bias);
    const auto stored = dtSite.stored(dt, c);
    float step;
    if constexpr (STEPS) step = own.softplus[stored + 128];
    else step = softplus(dt);
    const uint32_t packed = packedInput.value();
    float input;
    if constexpr (STEPS) input = u.restored(static_cast<int8_t>(packed >> 8 * (c % 4)));
    else input = __half2float(__ushort_as_half(static_cast<unsigned short>(packed >> 16 * (c % 2))));
    const float x = mul(step, input);
    float sum = 0.0f;
#pragma unroll
    for (int s = 0; s < STATES; s++)
      if (4 * s < g.n) {
        sum = advance(h[s], a[s], step, x, own.B[lane + 4 * s], own.C[lane + 4 * s], sum);
        state[4 * s] = h[s];
      }
    sum = sumLanes(sum);
    if (layer.D) sum = add(sum, mul(D, input));
    if (lane == 0) own.y[channel] = mul(sum, __uint_as_float(gate.value()));
    __syncthreads();
    if (threadIdx.x < 32) {
      float v[CHUNK / 32];
#pragma unroll
      for (int j = 0; j < CHUNK / 32; j++) v[j] = own.y[threadIdx.x + 32 * j];
      if (g.hadamard) firstButterflies(v, g.local);
#pragma unroll
      for (int j = 0; j < CHUNK / 32; j++)
        tell(g.of(g.y, g.d, i) + chunk * CHUNK + threadIdx.x + 32 * j, v[j], tag);
    }
    __syncthreads();
  }
}

}  // namespace quamba
