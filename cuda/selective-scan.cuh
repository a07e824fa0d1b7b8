// The reference's bits: the four lanes of the sum over n are four neighbouring threads, each runs its states n ≡ lane (mod 4)
// in ascending order and keeps them in registers; sumLanes adds the lanes in the reference's order. Channels are parallel,
// tokens sequential, in tiles that are read together before the recurrence walks over them.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

struct Scan {
  const float *u, *dt, *A, *B, *C;
  const float *D, *z, *before;  // each may be null: none, none, zeros
  float *y, *after;             // `after` may be the state before
  Turns turns;
  int d, n;
  int tile;  // tokens that are read together
};

/** Where |x| is at most this, 2ˣ is a normal number. */
constexpr float NORMAL = 125.0f;
/** exp2 there: p · 2ⁿ is a sum of exponents. The same bits as exp2 for each of these 2.2 · 10⁹ floats. */
__device__ inline float exp2Normal(float x) {
  const float shifted = add(x, MAGIC);
  const float p = exp2Fraction(sub(x, sub(shifted, MAGIC)));
  return __int_as_float(__float_as_int(p) + static_cast<int>(static_cast<unsigned>(__float_as_int(shifted)) << 23));
}

/** One state of one channel goes on by a token; returns its lane's sum with C·h. a = A · log2 e. */
__device__ inline float advance(float& h, float a, float step, float input, float B, float C, float sum) {
  h = add(mul(exp2(mul(step, a)), h), mul(input, B));
  return add(sum, mul(h, C));
}

/** Channels of a block, each with four threads. */
constexpr int SCAN_CHANNELS = 16, SCAN_THREADS = 4 * SCAN_CHANNELS, SCAN_TOKENS = 32;

/** Bytes of shared memory: dt, u and the sums of each channel, B and C. */
inline size_t scanShared(int tile, int n) {
  return sizeof(float) * tile * (3 * static_cast<size_t>(SCAN_CHANNELS) + 2 * static_cast<size_t>(n));
}

/** HELD: a thread keeps its n/4 states in registers; 0: any n, the states lie in `after`. */
template <int HELD>
__global__ void __launch_bounds__(SCAN_THREADS, 8) scanKernel(Scan g) {
  extern __shared__ float shared[];
  float* steps = shared;
  float* inputs = steps + g.tile * SCAN_CHANNELS;
  float* sums = inputs + g.tile * SCAN_CHANNELS;
  float* Bs = sums + g.tile * SCAN_CHANNELS;
  float* Cs = Bs + g.tile * g.n;
  const int lane = threadIdx.x % 4, own = threadIdx.x / 4;
  const int groups = (g.d + SCAN_CHANNELS - 1) / SCAN_CHANNELS;
  for (int item = blockIdx.x; item < g.turns.count * groups; item += gridDim.x) {
    const Turn turn = turnOf(g.turns, item / groups);
    const int first = item % groups * SCAN_CHANNELS, c = first + own;
    const bool real = c < g.d;
    const size_t row = turn.row, decays = static_cast<size_t>(c) * g.n;
    const size_t states = static_cast<size_t>(turn.place) * g.d * g.n + decays;
    const auto initial = [&](int s) { return g.before ? g.before[states + s] : 0.0f; };
    float h[HELD > 0 ? HELD : 1] = {}, a[HELD > 0 ? HELD : 1] = {};
    if constexpr (HELD > 0) {
#pragma unroll
      for (int i = 0; i < HELD; i++) {
        if (!real) continue;
        h[i] = initial(4 * i + lane);
        a[i] = mul(g.A[decays + 4 * i + lane], LOG2E);
      }
    } else if (real) {
      for (int s = lane; s < g.n; s += 4) g.after[states + s] = initial(s);
    }

    for (int from = 0; from < turn.count; from += g.tile) {
      const int tokens = min(g.tile, turn.count - from);
      __syncthreads();  // the tile before has been written
#pragma unroll 4
      for (int e = threadIdx.x; e < tokens * SCAN_CHANNELS; e += SCAN_THREADS) {
        const int channel = first + e % SCAN_CHANNELS;
        const size_t at = (row + from + e / SCAN_CHANNELS) * g.d + channel;
        steps[e] = channel < g.d ? g.dt[at] : 0.0f;
        inputs[e] = channel < g.d ? g.u[at] : 0.0f;
      }
#pragma unroll 4
      for (int e = threadIdx.x; e < tokens * g.n; e += SCAN_THREADS) {
        Bs[e] = g.B[(row + from) * g.n + e];
        Cs[e] = g.C[(row + from) * g.n + e];
      }
      __syncthreads();
#pragma unroll 4
      for (int t = 0; t < tokens; t++) {
        const float step = steps[t * SCAN_CHANNELS + own], u = inputs[t * SCAN_CHANNELS + own];
        const float input = mul(step, u);
        const float *B = Bs + t * g.n, *C = Cs + t * g.n;
        float sum = 0.0f;
        if constexpr (HELD > 0) {
#pragma unroll
          for (int i = 0; i < HELD; i++)
            sum = advance(h[i], a[i], step, input, B[4 * i + lane], C[4 * i + lane], sum);
        } else if (real) {
          for (int s = lane; s < g.n; s += 4)
            sum = advance(g.after[states + s], mul(g.A[decays + s], LOG2E), step, input, B[s], C[s], sum);
        }
        sum = sumLanes(sum);
        if (lane == 0) sums[t * SCAN_CHANNELS + own] = real && g.D ? add(sum, mul(g.D[c], u)) : sum;
      }
      __syncthreads();
#pragma unroll 4
      for (int e = threadIdx.x; e < tokens * SCAN_CHANNELS; e += SCAN_THREADS) {
        const int channel = first + e % SCAN_CHANNELS;
        const size_t at = (row + from + e / SCAN_CHANNELS) * g.d + channel;
        if (channel < g.d) g.y[at] = g.z ? mul(sums[e], silu(g.z[at])) : sums[e];
      }
    }
    if constexpr (HELD > 0)
#pragma unroll
      for (int i = 0; i < HELD; i++)
        if (real) g.after[states + 4 * i + lane] = h[i];
  }
}

inline void selectiveScan(cudaStream_t stream, Scan g) {
  g.tile = std::min(SCAN_TOKENS, std::max(g.turns.longest, 1));
  while (g.tile > 1 && scanShared(g.tile, g.n) > SHARED_BYTES) g.tile /= 2;
  const unsigned blocks = blocksFor(g.turns.count * ((g.d + SCAN_CHANNELS - 1) / SCAN_CHANNELS), 1);
  const size_t shared = scanShared(g.tile, g.n);
  if (g.n == 16) scanKernel<4><<<blocks, SCAN_THREADS, shared, stream>>>(g);
  else scanKernel<0><<<blocks, SCAN_THREADS, shared, stream>>>(g);
}

}  // namespace quamba
