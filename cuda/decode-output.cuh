// The phase `output`: the rest of the Hadamard transform → out_proj → the residual of the next layer.
#pragma once

#include "decode-input.cuh"
#include "decode-rotate.cuh"

namespace quamba {

/** y of a layer → x, rotated where it is to be. By a whole block, which then synchronizes. */
template <class W>
__device__ void hearOutput(const Decode<W>& g, int i, const Prepared<W>& layer, float* row, Operand<W>& x) {
  const Site<W> y(layer.y, g.nan);
  const Word* words = g.of(g.y, g.d, i);
  const uint32_t tag = g.tagOf(i);
  if (!g.ahead) awaitOne(words + min(2 * static_cast<int>(threadIdx.x), g.d - 2), tag);
  if (g.hadamard && g.local == 64 && g.factors.run > 64) {  // the butterflies of stride 64 on the way
    hearHalves<2>(words, g.d, tag, [&](int j, uint2 a, uint2 b) {
      const float a0 = __uint_as_float(a.x), a1 = __uint_as_float(a.y), b0 = __uint_as_float(b.x), b1 = __uint_as_float(b.y);
      *reinterpret_cast<float2*>(row + j) = make_float2(add(a0, b0), add(a1, b1));
      *reinterpret_cast<float2*>(row + j + 64) = make_float2(sub(a0, b0), sub(a1, b1));
    });
    __syncthreads();
    finishTransform(row, g.d, g.factors, 128);
  } else {
    hearAll<5>(words, g.d, tag, [&](int j, uint32_t a, uint32_t b) {
      *reinterpret_cast<uint2*>(row + j) = make_uint2(a, b);
    });
    __syncthreads();
    if (g.hadamard) finishTransform(row, g.d, g.factors, g.local);
  }
  const bool outer = g.hadamard && g.factors.outer == 2;
  const int half = g.d / 2;
#pragma unroll 2
  for (int j = 4 * threadIdx.x; j < g.d; j += 4 * DECODE_THREADS) {
    float4 a = *reinterpret_cast<const float4*>(row + j);
    if (outer) {
      const bool second = j >= half;
      const float4 b = *reinterpret_cast<const float4*>(second ? row + (j - half) : row + (j + half));
      const auto butterfly = [&](float own, float other) { return second ? sub(other, own) : add(own, other); };
      a = make_float4(butterfly(a.x, b.x), butterfly(a.y, b.y), butterfly(a.z, b.z), butterfly(a.w, b.w));
    }
    if (g.hadamard) a = make_float4(mul(a.x, g.norm), mul(a.y, g.norm), mul(a.z, g.norm), mul(a.w, g.norm));
    x.putFour(j, a, y);
  }
  __syncthreads();
}

template <class W, class Weights>
__device__ void outputPhase(const Decode<W>& g, int i, Own<W>& own, char* memory, Weights& weights) {
  using Sum = typename Operand<W>::Sum;
  const Prepared<W>& layer = own.layer[i & 1];
  const Slab& slab = own.slab[OUTPUT];
  Sum* sums = reinterpret_cast<Sum*>(memory + g.at.sums);
  Operand<W> x(memory + g.at.operand);
  const float before = threadIdx.x < slab.rows ? g.residual[slab.first + threadIdx.x] : 0.0f;
  if (i + 1 < g.layers) prefetchMatrix(g, own, memory, i + 1, INPUT);
  hearOutput(g, i, layer, reinterpret_cast<float*>(memory + g.at.values), x);
  if (i + 1 < g.layers) prefetchInput(g, own.layer[(i + 1) & 1], own);
  multiply(own, OUTPUT, weights, x, sums);
#pragma unroll 1
  for (int r = threadIdx.x; r < slab.rows; r += DECODE_THREADS) {
    const int j = slab.first + r;
    const float h = r < DECODE_THREADS ? before : g.residual[j];
    tell(g.of(g.h, g.m, i) + j, add(h, Operand<W>::real(sumOf(slab, r, sums), layer.outReal)), g.tagOf(i));
  }
}

}  // namespace quamba
