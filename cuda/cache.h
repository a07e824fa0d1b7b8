// How a state that grows is kept in the pages of a text (pages.h): for each token so many rows, each of p values.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "batch.h"

namespace quamba {

/** Tokens of a page: those whose terms attention sums before their sum is added. */
constexpr int PAGE = 128;

/** As in src/state.ts. `steps` is its i8-dynamic: int8 steps, whose size is measured for each row when it is written. */
enum class Kept { f32, f16, steps };

struct Cache {
  Kept kept;
  size_t begin;   // bytes from where a page begins
  int groups, p;  // rows of a token, values of a row

  size_t values() const { return static_cast<size_t>(PAGE) * groups * p; }
  /** Of a page. The sizes of the steps lie behind the steps. */
  size_t bytes() const {
    return kept == Kept::f32   ? values() * sizeof(float)
           : kept == Kept::f16 ? values() * sizeof(float) / 2
                               : values() + static_cast<size_t>(PAGE) * groups * sizeof(float);
  }
};

/** Keeps keys and values f32[rows, groups · p] of each turn, rounded, in the pages of its text. */
void storeCaches(cudaStream_t stream, const Turns& turns, const Cache& keys, const float* k, const Cache& values, const float* v);
/** The same for the first `turn.count` tokens of one text: f32[tokens, groups · p], in memory of the GPU. */
void storeCache(cudaStream_t stream, const Turn& turn, const Cache& cache, const float* from);
/** What is kept of them, read back. */
void loadCache(cudaStream_t stream, const Turn& turn, const Cache& cache, float* to);

}  // namespace quamba
