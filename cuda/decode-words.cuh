// What blocks tell each other, in words that carry a tag: a reader looks at a word until its tag is the layer's. This takes one
// way through L2 and back; a barrier of the grid takes three: for the data, for its counter, and for the data again.
#pragma once

#include "decode-shape.cuh"
#include "ptx.cuh"

namespace quamba {

__device__ inline void tell(Word* word, uint32_t value, uint32_t tag) { storeWord(word, make_uint2(value, tag)); }
__device__ inline void tell(Word* word, float value, uint32_t tag) { tell(word, __float_as_uint(value), tag); }

/** A word that was asked for before it is needed. */
class Hearing {
 public:
  __device__ Hearing(const Word* word, uint32_t tag) : word(word), tag(tag), heard(loadWord(word)) {}
  __device__ uint32_t value() {
    while (heard.y != tag) {
      nap();
      heard = loadWord(word);
    }
    return heard.x;
  }

 private:
  const Word* word;
  uint32_t tag;
  uint2 heard;
};

/** The pairs of words at(0), at(1), … that lie below `count`, all on their way at once until each is there. */
template <int PAIRS, class At>
__device__ void hear(uint4 (&pair)[PAIRS], const Word* words, int count, uint32_t tag, At at) {
  bool wanted[PAIRS];
#pragma unroll
  for (int p = 0; p < PAIRS; p++) wanted[p] = at(p) < count;
  for (bool again = true; again;) {
    again = false;
#pragma unroll
    for (int p = 0; p < PAIRS; p++)
      if (wanted[p]) pair[p] = loadWords(words + at(p));
#pragma unroll
    for (int p = 0; p < PAIRS; p++) {
      wanted[p] = wanted[p] && (pair[p].y != tag || pair[p].w != tag);
      again |= wanted[p];
    }
    if (again) nap();
  }
}

/**
 * A thread of each warp looks at one word until it is there: the looks of all would slow down others. At 130m this gains 2 %; where
 * matrices go into L2 ahead (Decode::ahead) it costs as much.
 */
__device__ inline void awaitOne(const Word* word, uint32_t tag) {
  if (threadIdx.x % 32 == 0) Hearing(word, tag).value();
  __syncwarp();
}

/** use(i, value i, value i + 1) for each even i below `count`, which is even, by a whole block: PAIRS of a thread at once. */
template <int PAIRS, class Use>
__device__ void hearAll(const Word* words, int count, uint32_t tag, Use use) {
#pragma unroll 1
  for (int first = 2 * threadIdx.x; first < count; first += 2 * DECODE_THREADS * PAIRS) {
    uint4 pair[PAIRS];
    const auto at = [&](int p) { return first + p * 2 * DECODE_THREADS; };
    hear(pair, words, count, tag, at);
#pragma unroll
    for (int p = 0; p < PAIRS; p++)
      if (at(p) < count) use(at(p), pair[p].x, pair[p].z);
  }
}

/**
 * use(i, values i and i + 1, values i + 64 and i + 65) for each even i of the first half of 128 words, and of the next 128 … `count`
 * is a multiple of 128. By a whole block: 2 · FOURS pairs of a thread at once.
 */
template <int FOURS, class Use>
__device__ void hearHalves(const Word* words, int count, uint32_t tag, Use use) {
  const int thread = threadIdx.x / 32 * 128 + threadIdx.x % 32 * 2;
#pragma unroll 1
  for (int first = thread; first < count; first += 4 * DECODE_THREADS * FOURS) {
    uint4 pair[2 * FOURS];
    const auto at = [&](int p) { return first + p / 2 * 4 * DECODE_THREADS + p % 2 * 64; };
    hear(pair, words, count, tag, at);
#pragma unroll
    for (int p = 0; p < 2 * FOURS; p += 2)
      if (at(p) < count) use(at(p), make_uint2(pair[p].x, pair[p].z), make_uint2(pair[p + 1].x, pair[p + 1].z));
  }
}

}  // namespace quamba
