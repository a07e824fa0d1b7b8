// The scan of many tokens, n = 16. Most of its work is exp2(dt · A), which no token waits for. So one part of a block are
// consumers, that run the recurrence through a tile of tokens, and SLICES parts producers, that meanwhile make the decays of
// the next tile and read the inputs of the one after it. In each part four threads are a channel, with the lanes and orders
// of selective-scan.cuh. So a multiprocessor is evenly busy with few channels: one of an H100 has 40 at 2.8b.
#pragma once

#include <cfloat>

#include "scan-reader.cuh"
#include "selective-scan.cuh"

namespace quamba {

/** By instructions a state costs the producers two and a half times as much as the consumers. */
constexpr int SLICES = 3;
static_assert(SCAN_TILE == 4 * SLICES, "each slice makes four tokens of a tile");
/** Channels of a block are a multiple of 8, so that parts are whole warps. */
constexpr int SCAN_MOST = 40, SCAN_MOST_THREADS = 4 * (1 + SLICES) * SCAN_MOST;
/** Where a tile would be mostly empty. */
constexpr int SCAN_FEW = SCAN_TILE;

/** A block's shared memory. */
template <class T>
struct ScanMemory {
  Pack<float, 4>* decays;  // [2, tokens, 4 · channels], of each thread's four states
  float* tiles;            // three
  ScanTables* tables;
  int channels;

  __device__ ScanMemory(float4* memory, int channels)
      : decays(reinterpret_cast<Pack<float, 4>*>(memory)),
        tiles(reinterpret_cast<float*>(decays + 2 * SCAN_TILE * 4 * channels)),
        tables(reinterpret_cast<ScanTables*>(tiles + 3 * ScanTile::size(channels))),
        channels(channels) {}

  static constexpr size_t bytes(int channels) {
    return sizeof(float) * (2 * SCAN_TILE * 16 * channels + 3 * ScanTile::size(channels)) +
           (sizeof(T) == 1 ? sizeof(ScanTables) : 0);
  }

  __device__ ScanTile tile(int tile) const { return ScanTile(tiles + tile % 3 * ScanTile::size(channels), channels); }
  /** Of a thread of either part, for a token of a tile. */
  __device__ Pack<float, 4>* decay(int tile, int token, int own) const {
    return decays + (tile % 2 * SCAN_TILE + token) * 4 * channels + own;
  }
};

/** What a producer does: exp2(dt · a) of its four states for the four tokens of its slice. */
struct ScanProducer {
  float a[4];
  float limit;  // for |dt|: below it |dt · a| is at most NORMAL

  __device__ explicit ScanProducer(const float* A, int lane) {
    float most = 0.0f;
    bool finite = true;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      a[i] = mul(A[4 * i + lane], LOG2E);
      most = fmaxf(most, fabsf(a[i]));
      finite &= fabsf(a[i]) <= FLT_MAX;
    }
    limit = finite ? fminf(divide(NORMAL - 1.0f, most), FLT_MAX) : -1.0f;
  }

  /** steps, decays: of the first token. `real`: how many of these tokens there are. */
  __device__ void run(const float* steps, Pack<float, 4>* decays, int channels, int real) const {
    float step[4];
    bool normal = true;
#pragma unroll
    for (int t = 0; t < 4; t++) {
      step[t] = steps[t * channels];
      normal &= fabsf(step[t]) <= limit;
    }
    if (normal) {
#pragma unroll
      for (int t = 0; t < 4; t++) {
        Pack<float, 4> decay;
#pragma unroll
        for (int i = 0; i < 4; i++) decay.at[i] = exp2Normal(mul(step[t], a[i]));
        decays[t * 4 * channels] = decay;
      }
    } else {
#pragma unroll 1
      for (int t = 0; t < 4; t++) {
        Pack<float, 4> decay;
#pragma unroll
        for (int i = 0; i < 4; i++) decay.at[i] = t < real ? exp2(mul(steps[t * channels], a[i])) : 1.0f;
        decays[t * 4 * channels] = decay;
      }
    }
  }
};

/** sumLanes for four tokens at once: the thread of lane i gets token i's. */
__device__ inline float sumTokens(const float (&sums)[4], int lane) {
  const bool upper = lane & 2, odd = lane & 1;
  const float first = add(upper ? sums[2] : sums[0], __shfl_xor_sync(~0u, upper ? sums[0] : sums[2], 2));
  const float second = add(upper ? sums[3] : sums[1], __shfl_xor_sync(~0u, upper ? sums[1] : sums[3], 2));
  return add(odd ? second : first, __shfl_xor_sync(~0u, odd ? first : second, 1));
}

/**
 * A consumer's four tokens: h goes on, and the thread of lane i gets the sum of token i. The lanes begin with their first
 * product, not with +0 and it: that differs only where the sum is −0, which +0 at the end mends.
 */
__device__ inline float runTokens(
    float (&h)[4], const Pack<float, 4>* decays, const ScanTile& tile, int token, int channels, int channel, int lane) {
  float sums[4];
#pragma unroll
  for (int t = 0; t < 4; t++) {
    const Pack<float, 4> decay = decays[t * 4 * channels];
    const Pack<float, 4> B = loadPack<4>(tile.B + 16 * (token + t) + 4 * lane);
    const Pack<float, 4> C = loadPack<4>(tile.C + 16 * (token + t) + 4 * lane);
    const float input = tile.inputs[(token + t) * channels + channel];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      h[i] = add(mul(decay.at[i], h[i]), mul(input, B.at[i]));
      const float product = mul(h[i], C.at[i]);
      sums[t] = i == 0 ? product : add(sums[t], product);
    }
  }
  return add(sumTokens(sums, lane), 0.0f);
}

template <class T, class Y>
__global__ void __launch_bounds__(SCAN_MOST_THREADS, 1) scanTilesKernel(ScanStored<T, Y> a, int channels, int groups) {
  extern __shared__ float4 scanBlock[];
  const ScanMemory<T> memory(scanBlock, channels);
  const int part = 4 * channels, own = threadIdx.x % part, lane = own % 4;
  const int slice = static_cast<int>(threadIdx.x) / part - 1;  // −1: a consumer
  if constexpr (sizeof(T) == 1) {
    const float scale = scaleOf(a.dt), gateScale = scaleOf(a.z);
    for (int q = threadIdx.x; q < 256; q += blockDim.x) {
      const float step = restored(static_cast<int8_t>(q), scale);
      memory.tables->steps[q] = a.softplus ? softplus(step) : step;
      memory.tables->gates[q] = silu(restored(static_cast<int8_t>(q), gateScale));
    }
    __syncthreads();
  }
  for (int item = blockIdx.x; item < a.turns.count * groups; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / groups);
    const int tiles = (turn.count + SCAN_TILE - 1) / SCAN_TILE;
    const int first = item % groups * channels, channel = first + own / 4;
    const bool real = channel < a.d;
    const int c = real ? channel : a.d - 1;
    float* state = a.state + (static_cast<size_t>(turn.place) * a.d + c) * 16 + lane;
    const ScanProducer producer(a.A + static_cast<size_t>(c) * 16, lane);
    ScanReader<T, Y> reader(a, memory.tables, turn, first, channels, static_cast<int>(threadIdx.x) - part);
    reader.fetch(0);
    reader.keep(0, memory.tile(0));
    float h[4];
#pragma unroll
    for (int i = 0; i < 4; i++) h[i] = state[4 * i];
    const float D = a.D ? a.D[c] : 0.0f;
    __syncthreads();
    for (int now = 0; now <= tiles; now++) {
      if (slice >= 0 && now < tiles) {
        const int token = 4 * slice;
        reader.fetch(now + 1);
        producer.run(memory.tile(now).steps + token * channels + own / 4, memory.decay(now, token, own), channels,
                     turn.count - now * SCAN_TILE - token);
        reader.keep(now + 1, memory.tile(now + 1));
      } else if (slice < 0 && now > 0) {
        const ScanTile tile = memory.tile(now - 1);
#pragma unroll 1
        for (int token = 0; token < SCAN_TILE; token += 4) {
          float sum = runTokens(h, memory.decay(now - 1, token, own), tile, token, channels, own / 4, lane);
          const int at = (token + lane) * channels + own / 4, t = (now - 1) * SCAN_TILE + token + lane;
          if (a.D) sum = add(sum, mul(D, tile.us[at]));
          if (a.z.data) sum = mul(sum, tile.gates[at]);
          if (real && t < turn.count) a.y[static_cast<size_t>(turn.row + t) * a.d + c] = static_cast<Y>(sum);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (slice < 0 && real) state[4 * i] = h[i];
  }
}

/** The channels of a block for which the multiprocessor with most of them has fewest. */
inline int scanChannels(int turns, int d, int multiprocessors) {
  int best = 0, least = 0;
  for (int channels = 8; channels <= SCAN_MOST; channels += 8) {
    const int blocks = turns * ((d + channels - 1) / channels);
    const int load = (blocks + multiprocessors - 1) / multiprocessors * channels;
    if (best == 0 || load <= least) best = channels, least = load;
  }
  return best;
}

template <class T, class Y>
void scanTiles(cudaStream_t stream, const ScanStored<T, Y>& a) {
  static_assert(ScanMemory<T>::bytes(SCAN_MOST) <= 99 * 1024, "what a block of any GPU since sm_80 may have");
  int device, multiprocessors;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  const int channels = scanChannels(a.turns.count, a.d, multiprocessors), groups = (a.d + channels - 1) / channels;
  const int threads = 4 * (1 + SLICES) * channels;
  const size_t bytes = ScanMemory<T>::bytes(channels);
  cudaFuncSetAttribute(scanTilesKernel<T, Y>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  scanTilesKernel<T, Y><<<blocksFor(a.turns.count * groups, 1), threads, bytes, stream>>>(a, channels, groups);
}

}  // namespace quamba
