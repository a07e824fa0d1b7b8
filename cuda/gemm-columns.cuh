// What the sums of a product become: the reference's f32 operations, then steps of a segment's scale, f16, or f32 as it is.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "fused.h"
#include "numerics.cuh"
#include "quantize.cuh"

namespace quamba {

/** What a sum is times. */
__device__ inline float factorOf(const GemmI8& a, int column) {
  return mul(*a.xscale, a.wscale[a.scaleEachOutput ? column : 0]);
}
__device__ inline float factorOf(const GemmF16&, int) { return 1.0f; }
__device__ inline float valueOf(int sum, float factor) { return mul(__int2float_rn(sum), factor); }
__device__ inline float valueOf(float sum, float) { return sum; }

template <class G>
using SumOf = std::conditional_t<std::is_same_v<G, GemmI8>, int, float>;
template <class G>
using ValueOf = std::conditional_t<std::is_same_v<G, GemmI8>, int8_t, __half>;

/** What one instruction stores. */
template <int BYTES, class Else>
using Word = std::conditional_t<
    BYTES == 16, int4, std::conditional_t<BYTES == 8, int2, std::conditional_t<BYTES == 4, int, Else>>>;

/** N neighbouring columns of the product: what each sum in them becomes, and where it goes. */
template <class G, class Out, int N>
class Columns {
 public:
  __device__ Columns(const G& a, int column) {
#pragma unroll
    for (int e = 0; e < N; e++) place(a, column + e, e);
    bool one = size[0] % N == 0 && reinterpret_cast<uintptr_t>(to[0]) % (N * sizeof(Out)) == 0;
#pragma unroll
    for (int e = 1; e < N; e++) one = one && part[e] == part[0];
    together = one;
  }

  __device__ void store(const G& a, int row, const SumOf<G> (&sums)[N]) const {
    float values[N];
#pragma unroll
    for (int e = 0; e < N; e++) values[e] = add(valueOf(sums[e], factor[e]), bias[e]);
    Out out[N];
    convert(a, row, values, out);
    if (together) {
      Word<sizeof out, Out> word;
      memcpy(&word, out, sizeof word);
      if (part[0] >= 0) *reinterpret_cast<decltype(word)*>(to[0] + static_cast<size_t>(row) * size[0]) = word;
    } else {
#pragma unroll
      for (int e = 0; e < N; e++)
        if (part[e] >= 0) to[e][static_cast<size_t>(row) * size[e]] = out[e];
    }
  }

 private:
  float factor[N], bias[N], scale[N], inverse[N], by[N];  // by: what a value is divided by before it becomes steps
  int part[N], local[N], size[N];  // the segment, the column in it, its columns
  Out* to[N];
  bool together;  // one store writes all of them
  bool divided = false;

  __device__ void place(const G& a, int column, int e) {
    part[e] = -1;
    factor[e] = bias[e] = 0.0f;
    scale[e] = inverse[e] = by[e] = 1.0f;
    local[e] = size[e] = 0;
    to[e] = nullptr;
    if (column >= a.o) return;
    if constexpr (std::is_same_v<Out, float>) {
      part[e] = 0;
      size[e] = a.o;
      to[e] = a.y + column;
    } else {
#pragma unroll
      for (int s = 0; s < 4; s++)
        if (s < a.segments && column >= a.segment[s].start && column < a.segment[s].start + a.segment[s].size) {
          part[e] = s;
          local[e] = column - a.segment[s].start;
          size[e] = a.segment[s].size;
          to[e] = a.segment[s].out.data + local[e];
          if constexpr (std::is_same_v<Out, int8_t>) {
            scale[e] = *a.segment[s].out.scale;
            inverse[e] = inverseOf(scale[e]);
            if (a.segment[s].out.channels) by[e] = a.segment[s].out.channels[local[e]], divided = true;
          }
        }
      if (part[e] < 0) return;
    }
    factor[e] = factorOf(a, column);
    bias[e] = a.b ? a.b[column] : -0.0f;  // x + −0 is x
  }

  __device__ void convert(const GemmI8& a, int row, float (&values)[N], int8_t (&out)[N]) const {
    bool sure = true;
    if (divided)
#pragma unroll
      for (int e = 0; e < N; e++) values[e] = divide(values[e], by[e]);
#pragma unroll
    for (int e = 0; e < N; e++) sure &= quantizeByProduct(values[e], inverse[e], out[e]);
    if (!sure) {
#pragma unroll
      for (int e = 0; e < N; e++)
        out[e] = quantizeValue(values[e], scale[e], static_cast<size_t>(row) * size[e] + local[e], a.nan);
    }
  }
  __device__ void convert(const GemmF16&, int, const float (&values)[N], __half (&out)[N]) const {
#pragma unroll
    for (int e = 0; e < N; e++) out[e] = __float2half_rn(values[e]);
  }
  __device__ void convert(const G&, int, const float (&values)[N], float (&out)[N]) const {
#pragma unroll
    for (int e = 0; e < N; e++) out[e] = values[e];
  }
};

}  // namespace quamba
