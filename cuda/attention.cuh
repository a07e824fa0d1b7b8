// The reference's bits: a thread has a key, whose product with the query it adds in four lanes; the maximum is exact in any order;
// and then a thread has a channel and a block of 128 keys, whose terms it adds in ascending order. Keys, blocks and channels are
// parallel, and the sums of blocks are added as the text goes.
//
//   a token of each turn   three kernels: the scores; for each block of keys the maximum of all of them, the weights and their
//                          sums; the sums of the blocks. What is between them lies in the text's scratch memory
//   more                   one kernel for eight tokens of a turn, which keeps no score: it makes each once for the maximum and once
//                          for its weight
#pragma once

#include "launch.cuh"
#include "numerics.cuh"
#include "pages.h"

namespace quamba {

struct Attention {
  const float *q, *k, *v;
  float* y;
  float scale;
  Turns turns;  // with their list, for its pages
  int h, groups, p;
  size_t keys, values;  // where those of a page begin

  __device__ int groupOf(int head) const { return static_cast<int>(static_cast<int64_t>(head) * groups / h); }
  /** Where a token's key, or value, of one head lies. */
  __device__ float* at(const Turn& turn, size_t begin, int s, int group) const {
    return turn.pages[s / PAGE] + begin + (static_cast<size_t>(s % PAGE) * groups + group) * p;
  }
  /** Of a page and a head: 128 scores, then the sums of the p values and of the weights. */
  __device__ float* scratch(const Turn& turn, int page, int head) const {
    return turn.scratch + (static_cast<size_t>(page) * h + head) * (HEAD_SCRATCH + p);
  }
};

/** Keys lie in shared memory so many channels at once, with a gap such that the float4 of eight threads have banks of their own. */
constexpr int STAGED_CHANNELS = 16, STAGED_FLOATS = STAGED_CHANNELS + 4;

/**
 * The score of the key `from` + thread for each of ROWS queries; any number where that is not below `all`. By a block of KEYS
 * threads. `keyAt(s)`, `queryAt(r)`: where their p values lie.
 */
template <int ROWS, int KEYS, class K, class Q>
__device__ void scoresOf(const Attention& a, float4* staged, int from, int all, K keyAt, Q queryAt, float (&c)[ROWS]) {
  float lanes[ROWS][4] = {};
  const int own = threadIdx.x;
  for (int channel = 0; channel < a.p; channel += STAGED_CHANNELS) {
    __syncthreads();  // what was staged has been read
    for (int e = own; e < KEYS * STAGED_CHANNELS / 4; e += KEYS) {
      const int key = e / (STAGED_CHANNELS / 4), i = channel + 4 * (e % (STAGED_CHANNELS / 4));
      if (from + key < all && i < a.p)
        staged[(key * STAGED_FLOATS + i - channel) / 4] = *reinterpret_cast<const float4*>(keyAt(from + key) + i);
    }
    __syncthreads();
    if (from + own >= all) continue;
    for (int i = 0; i < min(STAGED_CHANNELS, a.p - channel); i += 4) {
      const float4 key = staged[(own * STAGED_FLOATS + i) / 4];
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const float4 query = *reinterpret_cast<const float4*>(queryAt(r) + channel + i);
        lanes[r][0] = add(lanes[r][0], mul(query.x, key.x));
        lanes[r][1] = add(lanes[r][1], mul(query.y, key.y));
        lanes[r][2] = add(lanes[r][2], mul(query.z, key.z));
        lanes[r][3] = add(lanes[r][3], mul(query.w, key.w));
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) c[r] = mul(a.scale, add(add(lanes[r][0], lanes[r][2]), add(lanes[r][1], lanes[r][3])));
}

/** The largest of a warp's values; NaN is passed over. */
__device__ inline float warpTop(float value) {
  for (int half = 16; half >= 1; half /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, half));
  return value;
}

/** Blocks of threads that share the pages of a text and head, whose number a graph of launches does not know. */
constexpr int SPLITS = 16;
/** A thread for each of 128 channels, and a warp for the sum of the weights. */
constexpr int PART_THREADS = PAGE + 32;

/** f(turn, head, page) for each page of each turn of one token, by all threads of a block. */
template <class F>
__device__ void eachPage(const Attention& a, F f) {
  for (int item = blockIdx.x; item < a.turns.count * a.h * SPLITS; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / (a.h * SPLITS));
    for (int page = item % SPLITS; page * PAGE <= turn.position; page += SPLITS) f(turn, item / SPLITS % a.h, page);
  }
}

/** The scores of one token, whose key and value it writes to their page. */
static __global__ void __launch_bounds__(PAGE, 4) attentionScoresKernel(Attention a) {
  __shared__ float4 staged[PAGE * STAGED_FLOATS / 4];
  eachPage(a, [&](const Turn& turn, int head, int page) {
    const int group = a.groupOf(head), s = page * PAGE + static_cast<int>(threadIdx.x);
    const size_t own = (static_cast<size_t>(turn.row) * a.groups + group) * a.p;
    const auto keyAt = [&](int at) { return at < turn.position ? a.at(turn, a.keys, at, group) : a.k + own; };
    const auto queryAt = [&](int) { return a.q + (static_cast<size_t>(turn.row) * a.h + head) * a.p; };
    float c[1];
    scoresOf<1, PAGE>(a, staged, page * PAGE, turn.position + 1, keyAt, queryAt, c);
    if (s <= turn.position) a.scratch(turn, page, head)[threadIdx.x] = c[0];
    if (page != turn.position / PAGE || (head > 0 && a.groupOf(head - 1) == group)) return;
    for (int i = threadIdx.x; i < a.p; i += PAGE) {
      a.at(turn, a.keys, turn.position, group)[i] = a.k[own + i];
      a.at(turn, a.values, turn.position, group)[i] = a.v[own + i];
    }
  });
}

/** Of each page the sums of the weights and of the values times them. */
static __global__ void __launch_bounds__(PART_THREADS) attentionPartsKernel(Attention a) {
  __shared__ float weights[PAGE];
  __shared__ float tops[PART_THREADS / 32];
  eachPage(a, [&](const Turn& turn, int head, int page) {
    float* const scratch = a.scratch(turn, page, head);
    const int own = threadIdx.x, count = min(PAGE, turn.position + 1 - page * PAGE);
    float top = -INFINITY;
    for (int s = own; s <= turn.position; s += PART_THREADS) {
      const float c = a.scratch(turn, s / PAGE, head)[s % PAGE];
      if (c > top) top = c;
    }
    top = warpTop(top);
    __syncthreads();  // the page before is done
    if (own % 32 == 0) tops[own / 32] = top;
    __syncthreads();
    for (int warp = 0; warp < PART_THREADS / 32; warp++) top = fmaxf(top, tops[warp]);
    if (own < count) weights[own] = exp(sub(scratch[own], top));
    __syncthreads();
    const float* values = a.at(turn, a.values, page * PAGE, a.groupOf(head));
    const bool isValue = own < PAGE;
    for (int column = isValue ? own : a.p + own - PAGE; column < (isValue ? a.p : a.p + 1); column += PAGE) {
      float part = 0.0f;
#pragma unroll 16
      for (int s = 0; s < count; s++)
        part = add(part, mul(weights[s], isValue ? values[static_cast<size_t>(s) * a.groups * a.p + column] : 1.0f));
      scratch[PAGE + column] = part;
    }
  });
}

static __global__ void __launch_bounds__(PAGE) attentionSumsKernel(Attention a) {
  for (int item = blockIdx.x; item < a.turns.count * a.h; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / a.h);
    const int head = item % a.h;
    for (int i = threadIdx.x; i < a.p; i += PAGE) {
      float values = 0.0f, sum = 0.0f;
#pragma unroll 8
      for (int page = 0; page <= turn.position / PAGE; page++) {
        const float* parts = a.scratch(turn, page, head) + PAGE;
        values = add(values, parts[i]);
        sum = add(sum, parts[a.p]);
      }
      a.y[(static_cast<size_t>(turn.row) * a.h + head) * a.p + i] = divide(values, sum);
    }
  }
}

/** Tokens of one turn and keys that a block of threads has at once, and channels that it sums. */
constexpr int TILE_ROWS = 8, TILE_KEYS = 2 * PAGE, TILE_CHANNELS = 128;
/** Tokens whose sums one thread makes. */
constexpr int TOGETHER = 4;

static __global__ void __launch_bounds__(TILE_KEYS, 2) attentionKernel(Attention a, int tiles, int segments) {
  __shared__ float4 staged[TILE_KEYS * STAGED_FLOATS / 4];
  __shared__ float weights[TILE_ROWS][TILE_KEYS];
  __shared__ float tops[TILE_ROWS][TILE_KEYS / 32];
  __shared__ float parts[TILE_KEYS / PAGE][TILE_ROWS][TILE_CHANNELS + 1];
  __shared__ float sums[TILE_ROWS][TILE_CHANNELS + 1];
  const int own = threadIdx.x;
  for (int item = blockIdx.x; item < a.turns.count * tiles * a.h * segments; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / (tiles * a.h * segments));
    const int first = item / (a.h * segments) % tiles * TILE_ROWS, head = item / segments % a.h, group = a.groupOf(head);
    if (first >= turn.count) continue;
    const int rows = min(TILE_ROWS, turn.count - first);
    const int seen = turn.position + first + 1, all = seen + rows - 1;  // keys of the first row, of the last
    const auto rowAt = [&](int r) { return (static_cast<size_t>(turn.row + first + min(r, rows - 1)) * a.h + head) * a.p; };
    const auto keyAt = [&](int s) { return a.at(turn, a.keys, s, group); };
    const auto queryAt = [&](int r) { return a.q + rowAt(r); };

    float c[TILE_ROWS], top[TILE_ROWS];
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) top[r] = -INFINITY;
    for (int from = 0; from < all; from += TILE_KEYS) {
      scoresOf<TILE_ROWS, TILE_KEYS>(a, staged, from, all, keyAt, queryAt, c);
#pragma unroll
      for (int r = 0; r < TILE_ROWS; r++)
        if (from + own < seen + r && c[r] > top[r]) top[r] = c[r];
    }
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) {
      top[r] = warpTop(top[r]);
      if (own % 32 == 0) tops[r][own / 32] = top[r];
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++)
      for (int warp = 0; warp < TILE_KEYS / 32; warp++) top[r] = fmaxf(top[r], tops[r][warp]);

    const int begin = item % segments * TILE_CHANNELS, channels = min(TILE_CHANNELS, a.p - begin);
    const int columns = channels + 1;  // the last is the sum of the weights
    for (int e = own; e < TILE_ROWS * columns; e += TILE_KEYS) sums[e / columns][e % columns] = 0.0f;
    for (int from = 0; from < all; from += TILE_KEYS) {
      scoresOf<TILE_ROWS, TILE_KEYS>(a, staged, from, all, keyAt, queryAt, c);
#pragma unroll
      for (int r = 0; r < TILE_ROWS; r++) weights[r][own] = exp(sub(c[r], top[r]));
      __syncthreads();
      for (int e = own; e < TILE_KEYS / PAGE * (TILE_ROWS / TOGETHER) * columns; e += TILE_KEYS) {
        const int column = e % columns, block = e / columns % (TILE_KEYS / PAGE);
        const int row = e / columns / (TILE_KEYS / PAGE) * TOGETHER, key = from + block * PAGE;
        if (key >= all) continue;
        const float* values = column < channels ? a.at(turn, a.values, key, group) + begin + column : nullptr;
        float part[TOGETHER] = {};
#pragma unroll 8
        for (int s = 0; s < min(PAGE, all - key); s++) {
          const float value = values ? values[static_cast<size_t>(s) * a.groups * a.p] : 1.0f;
#pragma unroll
          for (int r = 0; r < TOGETHER; r++)
            if (key + s < seen + row + r) part[r] = add(part[r], mul(weights[row + r][block * PAGE + s], value));
        }
#pragma unroll
        for (int r = 0; r < TOGETHER; r++) parts[block][row + r][column] = part[r];
      }
      __syncthreads();
      for (int e = own; e < TILE_ROWS * columns; e += TILE_KEYS) {
        const int r = e / columns, column = e % columns;
        for (int block = 0; block < TILE_KEYS / PAGE; block++)
          if (from + block * PAGE < seen + r) sums[r][column] = add(sums[r][column], parts[block][r][column]);
      }
    }
    __syncthreads();
    for (int e = own; e < rows * channels; e += TILE_KEYS) {
      const int r = e / channels, channel = e % channels;
      a.y[rowAt(r) + begin + channel] = divide(sums[r][channel], sums[r][channels]);
    }
  }
}

/** The pages have room for the keys and values of this call, which are written there. */
inline void launchAttention(cudaStream_t stream, const Attention& a) {
  const Turns& turns = a.turns;
  if (turns.longest == 1) {
    const unsigned blocks = blocksFor(turns.count * a.h * SPLITS, 1);
    attentionScoresKernel<<<blocks, PAGE, 0, stream>>>(a);
    attentionPartsKernel<<<blocks, PART_THREADS, 0, stream>>>(a);
    attentionSumsKernel<<<blocksFor(turns.count * a.h, 1), PAGE, 0, stream>>>(a);
    return;
  }
  each(stream, turns.count * turns.longest, a.groups * a.p, [=] __device__(int item, int c) {
    const Turn turn = turnOf(a.turns, item / a.turns.longest);
    const int t = item % a.turns.longest;
    if (t >= turn.count) return;
    const size_t from = (static_cast<size_t>(turn.row) + t) * a.groups * a.p + c;
    a.at(turn, a.keys, turn.position + t, 0)[c] = a.k[from];
    a.at(turn, a.values, turn.position + t, 0)[c] = a.v[from];
  });
  const int tiles = (turns.longest + TILE_ROWS - 1) / TILE_ROWS, segments = (a.p + TILE_CHANNELS - 1) / TILE_CHANNELS;
  attentionKernel<<<blocksFor(turns.count * tiles * a.h * segments, 1), TILE_KEYS, 0, stream>>>(a, tiles, segments);
}

}  // namespace quamba
