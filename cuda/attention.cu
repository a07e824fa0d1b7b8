// The reference's bits: a thread has a key, whose product with the query it adds in four lanes; the maximum is exact in any order;
// and then a thread has a channel and a block of 128 keys, whose terms it adds in ascending order. Keys, blocks and channels are
// parallel, and the sums of blocks are added as the text goes.
//
//   first                  the keys and values of the call are kept in their pages, where they are read back rounded (cache.h)
//   a token of each turn   three kernels: the scores; for each block of keys the maximum of all of them, the weights and their
//                          sums; the sums of the blocks. What is between them lies in the text's scratch memory
//   more                   one kernel for eight tokens of a turn, which keeps no score: it makes each once for the maximum and once
//                          for its weight
#include "attention.h"

#include "cache.cuh"
#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

namespace {

__device__ inline int groupOf(const Attention& a, int head) {
  return static_cast<int>(static_cast<int64_t>(head) * a.keys.groups / a.h);
}
/** Of a page and a head: 128 scores, then the sums of the p values and of the weights. */
__device__ inline float* scratchOf(const Attention& a, const Turn& turn, int page, int head) {
  return turn.scratch + (static_cast<size_t>(page) * a.h + head) * (HEAD_SCRATCH + a.keys.p);
}

/** Keys lie in shared memory so many channels at once, with a gap such that the float4 of eight threads have banks of their own. */
constexpr int STAGED_CHANNELS = 16, STAGED_FLOATS = STAGED_CHANNELS + 4;

/**
 * The score of the key `from` + thread for each of ROWS queries; any number where that is not below `all`. By a block of KEYS
 * threads. K: how keys are kept. `queryAt(r)`: where the p values of a query lie.
 */
template <class K, int ROWS, int KEYS, class Q>
__device__ void scoresOf(
    const Attention& a, const Turn& turn, int group, float4* staged, int from, int all, Q queryAt, float (&c)[ROWS]) {
  float lanes[ROWS][4] = {};
  const int own = threadIdx.x, p = a.keys.p;
  for (int channel = 0; channel < p; channel += STAGED_CHANNELS) {
    __syncthreads();  // what was staged has been read
    for (int e = own; e < KEYS * STAGED_CHANNELS / 4; e += KEYS) {
      const int key = e / (STAGED_CHANNELS / 4), i = channel + 4 * (e % (STAGED_CHANNELS / 4)), s = from + key;
      if (s < all && i < p)
        staged[(key * STAGED_FLOATS + i - channel) / 4] = PageRows<K>(a.keys, turn.pages[s / PAGE], group).four(s % PAGE, i);
    }
    __syncthreads();
    if (from + own >= all) continue;
    for (int i = 0; i < min(STAGED_CHANNELS, p - channel); i += 4) {
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

/** The scores of one token. */
template <class K>
__global__ void __launch_bounds__(PAGE, 4) attentionScoresKernel(Attention a) {
  __shared__ float4 staged[PAGE * STAGED_FLOATS / 4];
  eachPage(a, [&](const Turn& turn, int head, int page) {
    const auto queryAt = [&](int) { return a.q + (static_cast<size_t>(turn.row) * a.h + head) * a.keys.p; };
    float c[1];
    scoresOf<K, 1, PAGE>(a, turn, groupOf(a, head), staged, page * PAGE, turn.position + 1, queryAt, c);
    if (page * PAGE + static_cast<int>(threadIdx.x) <= turn.position) scratchOf(a, turn, page, head)[threadIdx.x] = c[0];
  });
}

/** Of each page the sums of the weights and of the values times them. */
template <class V>
__global__ void __launch_bounds__(PART_THREADS) attentionPartsKernel(Attention a) {
  __shared__ float weights[PAGE];
  __shared__ float tops[PART_THREADS / 32];
  eachPage(a, [&](const Turn& turn, int head, int page) {
    float* const scratch = scratchOf(a, turn, page, head);
    const int own = threadIdx.x, p = a.values.p, count = min(PAGE, turn.position + 1 - page * PAGE);
    float top = -INFINITY;
    for (int s = own; s <= turn.position; s += PART_THREADS) {
      const float c = scratchOf(a, turn, s / PAGE, head)[s % PAGE];
      if (c > top) top = c;
    }
    top = warpTop(top);
    __syncthreads();  // the page before is done
    if (own % 32 == 0) tops[own / 32] = top;
    __syncthreads();
    for (int warp = 0; warp < PART_THREADS / 32; warp++) top = fmaxf(top, tops[warp]);
    if (own < count) weights[own] = exp(sub(scratch[own], top));
    __syncthreads();
    const PageRows<V> values(a.values, turn.pages[page], groupOf(a, head));
    const bool isValue = own < PAGE;
    for (int column = isValue ? own : p + own - PAGE; column < (isValue ? p : p + 1); column += PAGE) {
      float part = 0.0f;
#pragma unroll sizeof(V) < 4 ? 8 : 16
      for (int s = 0; s < count; s++)
        part = add(part, mul(weights[s], isValue ? values.at(s, column) : 1.0f));
      scratch[PAGE + column] = part;
    }
  });
}

__global__ void __launch_bounds__(PAGE) attentionSumsKernel(Attention a) {
  const int p = a.values.p;
  for (int item = blockIdx.x; item < a.turns.count * a.h; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / a.h);
    const int head = item % a.h;
    for (int i = threadIdx.x; i < p; i += PAGE) {
      float values = 0.0f, sum = 0.0f;
#pragma unroll 8
      for (int page = 0; page <= turn.position / PAGE; page++) {
        const float* parts = scratchOf(a, turn, page, head) + PAGE;
        values = add(values, parts[i]);
        sum = add(sum, parts[p]);
      }
      a.y[(static_cast<size_t>(turn.row) * a.h + head) * p + i] = divide(values, sum);
    }
  }
}

/** Tokens of one turn and keys that a block of threads has at once, and channels that it sums. */
constexpr int TILE_ROWS = 8, TILE_KEYS = 2 * PAGE, TILE_CHANNELS = 128;
/** Tokens whose sums one thread makes. */
constexpr int TOGETHER = 4;

template <class K, class V>
__global__ void __launch_bounds__(TILE_KEYS, 2) attentionKernel(Attention a, int tiles, int segments) {
  __shared__ float4 staged[TILE_KEYS * STAGED_FLOATS / 4];
  __shared__ float weights[TILE_ROWS][TILE_KEYS];
  __shared__ float tops[TILE_ROWS][TILE_KEYS / 32];
  __shared__ float parts[TILE_KEYS / PAGE][TILE_ROWS][TILE_CHANNELS + 1];
  __shared__ float sums[TILE_ROWS][TILE_CHANNELS + 1];
  const int own = threadIdx.x, p = a.values.p;
  for (int item = blockIdx.x; item < a.turns.count * tiles * a.h * segments; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / (tiles * a.h * segments));
    const int first = item / (a.h * segments) % tiles * TILE_ROWS, head = item / segments % a.h, group = groupOf(a, head);
    if (first >= turn.count) continue;
    const int rows = min(TILE_ROWS, turn.count - first);
    const int seen = turn.position + first + 1, all = seen + rows - 1;  // keys of the first row, of the last
    const auto rowAt = [&](int r) { return (static_cast<size_t>(turn.row + first + min(r, rows - 1)) * a.h + head) * p; };
    const auto queryAt = [&](int r) { return a.q + rowAt(r); };

    float c[TILE_ROWS], top[TILE_ROWS];
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) top[r] = -INFINITY;
    for (int from = 0; from < all; from += TILE_KEYS) {
      scoresOf<K, TILE_ROWS, TILE_KEYS>(a, turn, group, staged, from, all, queryAt, c);
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

    const int begin = item % segments * TILE_CHANNELS, channels = min(TILE_CHANNELS, p - begin);
    const int columns = channels + 1;  // the last is the sum of the weights
    for (int e = own; e < TILE_ROWS * columns; e += TILE_KEYS) sums[e / columns][e % columns] = 0.0f;
    for (int from = 0; from < all; from += TILE_KEYS) {
      scoresOf<K, TILE_ROWS, TILE_KEYS>(a, turn, group, staged, from, all, queryAt, c);
#pragma unroll
      for (int r = 0; r < TILE_ROWS; r++) weights[r][own] = exp(sub(c[r], top[r]));
      __syncthreads();
      for (int e = own; e < TILE_KEYS / PAGE * (TILE_ROWS / TOGETHER) * columns; e += TILE_KEYS) {
        const int column = e % columns, block = e / columns % (TILE_KEYS / PAGE);
        const int row = e / columns / (TILE_KEYS / PAGE) * TOGETHER, key = from + block * PAGE;
        if (key >= all) continue;
        const PageRows<V> values(a.values, turn.pages[key / PAGE], group, begin + column);
        const bool isValue = column < channels;
        float part[TOGETHER] = {};
#pragma unroll sizeof(V) < 4 ? 4 : 8
        for (int s = 0; s < min(PAGE, all - key); s++) {
          const float value = isValue ? values.at(s, 0) : 1.0f;
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

template <class K, class V>
void launch(cudaStream_t stream, const Attention& a) {
  const Turns& turns = a.turns;
  if (turns.longest == 1) {
    const unsigned blocks = blocksFor(turns.count * a.h * SPLITS, 1);
    attentionScoresKernel<K><<<blocks, PAGE, 0, stream>>>(a);
    attentionPartsKernel<V><<<blocks, PART_THREADS, 0, stream>>>(a);
    attentionSumsKernel<<<blocksFor(turns.count * a.h, 1), PAGE, 0, stream>>>(a);
    return;
  }
  const int tiles = (turns.longest + TILE_ROWS - 1) / TILE_ROWS, segments = (a.values.p + TILE_CHANNELS - 1) / TILE_CHANNELS;
  const unsigned blocks = blocksFor(turns.count * tiles * a.h * segments, 1);
  attentionKernel<K, V><<<blocks, TILE_KEYS, 0, stream>>>(a, tiles, segments);
}

template <class K>
void launchFor(cudaStream_t stream, const Attention& a) {
  if (a.values.kept == Kept::f32) launch<K, float>(stream, a);
  else if (a.values.kept == Kept::f16) launch<K, __half>(stream, a);
  else launch<K, int8_t>(stream, a);
}

}  // namespace

void launchAttention(cudaStream_t stream, const Attention& a) {
  storeCaches(stream, a.turns, a.keys, a.k, a.values, a.v);
  if (a.keys.kept == Kept::f32) launchFor<float>(stream, a);
  else if (a.keys.kept == Kept::f16) launchFor<__half>(stream, a);
  else launchFor<int8_t>(stream, a);
}

}  // namespace quamba
