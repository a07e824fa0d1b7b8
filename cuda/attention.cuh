// The reference's bits: a thread has a key, whose product with the query it adds in four lanes; the maximum is exact in any order; and
// then a thread has a channel and a block of 128 keys, whose terms it adds in ascending order. Keys, blocks and channels are
// parallel, and the sums of blocks are added as the text goes. No score is kept: each is made once for the maximum and once for
// its weight, so that a text may be of any length.
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

  /** Where a token's key, or value, of one head lies. */
  __device__ float* at(const Turn& turn, size_t begin, int s, int group) const {
    return turn.pages[s / PAGE] + begin + (static_cast<size_t>(s % PAGE) * groups + group) * p;
  }
};

/** Channels that a block of threads sums, and of keys, how many lie in shared memory at once. */
constexpr int SUMMED_CHANNELS = 128, STAGED_CHANNELS = 16;
/** Of a key in shared memory, so that the float4 of eight threads lie in banks of their own. */
constexpr int STAGED_FLOATS = STAGED_CHANNELS + 4;

/** For ROWS tokens of one turn and one head, BLOCKS · 128 keys at once. */
template <int ROWS, int BLOCKS>
__global__ void __launch_bounds__(BLOCKS* PAGE, 4 / BLOCKS) attentionKernel(Attention a) {
  constexpr int THREADS = BLOCKS * PAGE, TOGETHER = ROWS < 4 ? ROWS : 4;
  __shared__ float4 staged[THREADS * STAGED_FLOATS / 4];
  __shared__ float weights[ROWS][THREADS];
  __shared__ float tops[ROWS][THREADS / 32];
  __shared__ float parts[BLOCKS][ROWS][SUMMED_CHANNELS + 1];
  __shared__ float sums[ROWS][SUMMED_CHANNELS + 1];
  const int tiles = (a.turns.longest + ROWS - 1) / ROWS, segments = (a.p + SUMMED_CHANNELS - 1) / SUMMED_CHANNELS;
  for (int item = blockIdx.x; item < a.turns.count * tiles * a.h * segments; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / (tiles * a.h * segments));
    const int first = item / (a.h * segments) % tiles * ROWS, head = item / segments % a.h;
    if (first >= turn.count) continue;
    const int group = static_cast<int>(static_cast<int64_t>(head) * a.groups / a.h);
    const int rows = min(ROWS, turn.count - first);
    const int seen = turn.position + first + 1, all = seen + rows - 1;  // keys of the first row, of the last
    const auto rowAt = [&](int r) { return (static_cast<size_t>(turn.row + first + min(r, rows - 1)) * a.h + head) * a.p; };

    /** c of the key `from` + thread for each row; any number where there is no such key. */
    const auto score = [&](int from, float(&c)[ROWS]) {
      float lanes[ROWS][4] = {};
      for (int channel = 0; channel < a.p; channel += STAGED_CHANNELS) {
        __syncthreads();  // what was staged has been read
        for (int e = threadIdx.x; e < THREADS * STAGED_CHANNELS / 4; e += THREADS) {
          const int key = e / (STAGED_CHANNELS / 4), i = channel + 4 * (e % (STAGED_CHANNELS / 4));
          if (from + key < all && i < a.p)
            staged[(key * STAGED_FLOATS + i - channel) / 4] =
                *reinterpret_cast<const float4*>(a.at(turn, a.keys, from + key, group) + i);
        }
        __syncthreads();
        if (from + static_cast<int>(threadIdx.x) >= all) continue;
        for (int i = 0; i < min(STAGED_CHANNELS, a.p - channel); i += 4) {
          const float4 key = staged[(threadIdx.x * STAGED_FLOATS + i) / 4];
#pragma unroll
          for (int r = 0; r < ROWS; r++) {
            const float4 query = *reinterpret_cast<const float4*>(a.q + rowAt(r) + channel + i);
            lanes[r][0] = add(lanes[r][0], mul(query.x, key.x));
            lanes[r][1] = add(lanes[r][1], mul(query.y, key.y));
            lanes[r][2] = add(lanes[r][2], mul(query.z, key.z));
            lanes[r][3] = add(lanes[r][3], mul(query.w, key.w));
          }
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        c[r] = mul(a.scale, add(add(lanes[r][0], lanes[r][2]), add(lanes[r][1], lanes[r][3])));
    };

    float c[ROWS], top[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) top[r] = -INFINITY;
    for (int from = 0; from < all; from += THREADS) {
      score(from, c);
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        if (from + static_cast<int>(threadIdx.x) < seen + r && c[r] > top[r]) top[r] = c[r];
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      for (int half = 16; half >= 1; half /= 2) top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], half));
      if (threadIdx.x % 32 == 0) tops[r][threadIdx.x / 32] = top[r];
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      for (int warp = 0; warp < THREADS / 32; warp++) top[r] = fmaxf(top[r], tops[r][warp]);

    const int begin = item % segments * SUMMED_CHANNELS, channels = min(SUMMED_CHANNELS, a.p - begin);
    const int columns = channels + 1;  // the last is the sum of the weights alone
    for (int e = threadIdx.x; e < ROWS * columns; e += THREADS) sums[e / columns][e % columns] = 0.0f;
    for (int from = 0; from < all; from += THREADS) {
      score(from, c);
#pragma unroll
      for (int r = 0; r < ROWS; r++) weights[r][threadIdx.x] = exp(sub(c[r], top[r]));
      __syncthreads();
      for (int e = threadIdx.x; e < BLOCKS * (ROWS / TOGETHER) * columns; e += THREADS) {
        const int column = e % columns, block = e / columns % BLOCKS, row = e / columns / BLOCKS * TOGETHER;
        const int key = from + block * PAGE;
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
      for (int e = threadIdx.x; e < ROWS * columns; e += THREADS) {
        const int r = e / columns, column = e % columns;
        for (int block = 0; block < BLOCKS; block++)
          if (from + block * PAGE < seen + r) sums[r][column] = add(sums[r][column], parts[block][r][column]);
      }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < rows * channels; e += THREADS) {
      const int r = e / channels, channel = e % channels;
      a.y[rowAt(r) + begin + channel] = divide(sums[r][channel], sums[r][channels]);
    }
  }
}

template <int ROWS, int BLOCKS>
void launchAttentionOf(cudaStream_t stream, const Attention& a) {
  const int tiles = (a.turns.longest + ROWS - 1) / ROWS, segments = (a.p + SUMMED_CHANNELS - 1) / SUMMED_CHANNELS;
  attentionKernel<ROWS, BLOCKS><<<blocksFor(a.turns.count * tiles * a.h * segments, 1), BLOCKS * PAGE, 0, stream>>>(a);
}

/** The pages have room for the keys and values of this call, which are written there first. */
inline void launchAttention(cudaStream_t stream, const Attention& a) {
  each(stream, a.turns.count * a.turns.longest, a.groups * a.p, [=] __device__(int item, int c) {
    const Turn turn = turnOf(a.turns, item / a.turns.longest);
    const int t = item % a.turns.longest;
    if (t >= turn.count) return;
    const size_t from = (static_cast<size_t>(turn.row) + t) * a.groups * a.p + c;
    a.at(turn, a.keys, turn.position + t, 0)[c] = a.k[from];
    a.at(turn, a.values, turn.position + t, 0)[c] = a.v[from];
  });
  if (a.turns.longest == 1) launchAttentionOf<1, 4>(stream, a);
  else launchAttentionOf<8, 2>(stream, a);
}

}  // namespace quamba
