// The reference's bits: the four lanes of the sum over n are four neighbouring threads, which keep their states of one channel
// in registers; sumLanes adds the lanes in the reference's order. Heads and channels are parallel, tokens sequential, in tiles
// that are read together before the recurrence walks over them. A warp's states of one lane are eight neighbours in memory.
#pragma once

#include <cfloat>

#include "fused.h"
#include "launch.cuh"
#include "stored.cuh"

namespace quamba {

/** Of a step. */
constexpr double NO_LIMIT = FLT_MAX;

/** Channels of a block, each with four threads. */
constexpr int SSD_CHANNELS = 16, SSD_THREADS = 4 * SSD_CHANNELS, SSD_TOKENS = 16;

/** Where a lane's states of B and C begin in shared memory: float4 of four lanes, each in banks of its own. */
template <int HELD>
constexpr int SSD_LANE = HELD + 4;
/** Floats of a token in shared memory: B, C, x of each channel, the step and the decay. */
template <int HELD>
constexpr int SSD_TOKEN = (HELD > 0 ? 8 * SSD_LANE<HELD> : 0) + SSD_CHANNELS + 2;

/** HELD: a thread keeps its n/4 states in registers; 0: any n, the states lie in `after`. `tile`: tokens that are read together. */
template <int HELD, class T>
__global__ void __launch_bounds__(SSD_THREADS, 6) ssdScanKernel(SsdScan<T> a, int tile) {
  extern __shared__ float4 ssdBlock[];
  constexpr int LANE = SSD_LANE<HELD>;
  float* const Bs = reinterpret_cast<float*>(ssdBlock);
  float* const Cs = Bs + (HELD > 0 ? tile * 4 * LANE : 0);
  float* const xs = Cs + (HELD > 0 ? tile * 4 * LANE : 0);
  float* const steps = xs + tile * SSD_CHANNELS;
  float* const decays = steps + tile;
  const Restored<T> dt = restoredOf(a.dt), x = restoredOf(a.x), B = restoredOf(a.B), C = restoredOf(a.C);
  const int lane = threadIdx.x % 4, own = threadIdx.x / 4, n = HELD > 0 ? 4 * HELD : a.n;
  const int parts = (a.p + SSD_CHANNELS - 1) / SSD_CHANNELS;
  for (int item = blockIdx.x; item < a.turns.count * a.h * parts; item += gridDim.x) {
    const Turn turn = turnOf(a.turns, item / (a.h * parts));
    const int head = item / parts % a.h, first = item % parts * SSD_CHANNELS, c = first + own;
    const bool real = c < a.p;
    const int group = static_cast<int>(static_cast<int64_t>(head) * a.groups / a.h);
    const size_t states = (static_cast<size_t>(turn.place) * a.h + head) * n * a.p + c;
    const auto stateAt = [&](int s) { return states + static_cast<size_t>(s) * a.p; };
    const auto initial = [&](int s) { return a.before ? a.before[stateAt(s)] : 0.0f; };
    float S[HELD > 0 ? HELD : 1] = {};
    if (real) {
      if constexpr (HELD > 0) {
#pragma unroll
        for (int i = 0; i < HELD; i++) S[i] = initial(4 * i + lane);
      } else {
        for (int s = lane; s < n; s += 4) a.after[stateAt(s)] = initial(s);
      }
    }
    const float rate = mul(a.A[head], LOG2E), D = a.D ? a.D[head] : 0.0f;

    for (int from = 0; from < turn.count; from += tile) {
      const int tokens = min(tile, turn.count - from);
      const size_t row = static_cast<size_t>(turn.row) + from;
      const auto valueOf = [&](const Restored<T>& of, int t, int s) {
        return of.at(((row + t) * a.groups + group) * n + s, group * n + s);
      };
      __syncthreads();  // the tile before has been read
      for (int t = threadIdx.x; t < tokens; t += SSD_THREADS) {
        const float raw = dt.at((row + t) * a.h + head, head);
        const float step = atLeast(softplus(a.bias ? add(raw, a.bias[head]) : raw), a.lo);
        steps[t] = step >= a.hi ? a.hi : step;
        decays[t] = exp2(mul(steps[t], rate));
      }
#pragma unroll 4
      for (int e = threadIdx.x; e < tokens * SSD_CHANNELS; e += SSD_THREADS) {
        const int channel = first + e % SSD_CHANNELS;
        const size_t at = ((row + e / SSD_CHANNELS) * a.h + head) * a.p + channel;
        xs[e] = channel < a.p ? x.at(at, head * a.p + channel) : 0.0f;
      }
      if constexpr (HELD > 0) {
#pragma unroll 4
        for (int e = threadIdx.x; e < tokens * n; e += SSD_THREADS) {
          const int t = e / n, s = e % n, at = (4 * t + s % 4) * LANE + s / 4;
          Bs[at] = valueOf(B, t, s);
          Cs[at] = valueOf(C, t, s);
        }
      }
      __syncthreads();
      for (int t = 0; t < tokens; t++) {
        const float u = xs[t * SSD_CHANNELS + own], decay = decays[t], input = mul(steps[t], u);
        const auto advance = [&](float& state, float b, float c, float sum) {
          state = add(mul(decay, state), mul(input, b));
          return add(sum, mul(state, c));
        };
        float sum = 0.0f;
        if constexpr (HELD > 0) {
          const float4* b4 = reinterpret_cast<const float4*>(Bs + (4 * t + lane) * LANE);
          const float4* c4 = reinterpret_cast<const float4*>(Cs + (4 * t + lane) * LANE);
#pragma unroll
          for (int i = 0; i < HELD; i += 4) {
            const float4 b = b4[i / 4], c = c4[i / 4];
            sum = advance(S[i], b.x, c.x, sum);
            sum = advance(S[i + 1], b.y, c.y, sum);
            sum = advance(S[i + 2], b.z, c.z, sum);
            sum = advance(S[i + 3], b.w, c.w, sum);
          }
        } else if (real) {
          for (int s = lane; s < n; s += 4) sum = advance(a.after[stateAt(s)], valueOf(B, t, s), valueOf(C, t, s), sum);
        }
        sum = sumLanes(sum);
        if (a.D) sum = add(sum, mul(D, u));
        if (real && lane == 0) a.y[((row + t) * a.h + head) * a.p + c] = sum;
      }
    }
    if constexpr (HELD > 0)
#pragma unroll
      for (int i = 0; i < HELD; i++)
        if (real) a.after[stateAt(4 * i + lane)] = S[i];
  }
}

template <int HELD, class T>
void launchSsdScanHeld(cudaStream_t stream, const SsdScan<T>& a) {
  const int tile = std::min(SSD_TOKENS, std::max(a.turns.longest, 1));
  const unsigned blocks = blocksFor(a.turns.count * a.h * ((a.p + SSD_CHANNELS - 1) / SSD_CHANNELS), 1);
  ssdScanKernel<HELD, T><<<blocks, SSD_THREADS, sizeof(float) * tile * SSD_TOKEN<HELD>, stream>>>(a, tile);
}

template <class T>
void launchSsdScan(cudaStream_t stream, const SsdScan<T>& a) {
  if (a.n == 128) launchSsdScanHeld<32>(stream, a);
  else if (a.n == 64) launchSsdScanHeld<16>(stream, a);
  else launchSsdScanHeld<0>(stream, a);
}

}  // namespace quamba
