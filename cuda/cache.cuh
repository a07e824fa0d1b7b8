// Rows of a state that grows, as the real values that they stand for.
#pragma once

#include "cache.h"
#include "stored.cuh"

namespace quamba {

/** Those of one page and group, from channel `first` on. T: float, __half, or int8_t for steps. */
template <class T>
struct PageRows {
  const T* values;
  const float* steps;  // of int8_t
  int groups, apart;   // rows of a token, and its values: an int counts those of a page

  __device__ PageRows(const Cache& cache, const char* page, int group, int first = 0) : groups(cache.groups), apart(cache.groups * cache.p) {
    values = reinterpret_cast<const T*>(page + cache.begin) + static_cast<size_t>(group) * cache.p + first;
    steps = reinterpret_cast<const float*>(page + cache.begin + static_cast<size_t>(PAGE) * apart) + group;
  }

  __device__ float step(int s) const {
    if constexpr (sizeof(T) == 1) return steps[s * groups];
    else return 1.0f;
  }
  __device__ const T* row(int s) const { return values + s * apart; }
  __device__ float at(int s, int i) const { return restored(row(s)[i], step(s)); }
  /** Those of i … i + 3, for i a multiple of 4. */
  __device__ float4 four(int s, int i) const {
    const Pack<T, 4> x = loadPack<4>(row(s) + i);
    const float size = step(s);
    return make_float4(restored(x.at[0], size), restored(x.at[1], size), restored(x.at[2], size), restored(x.at[3], size));
  }
};

}  // namespace quamba
