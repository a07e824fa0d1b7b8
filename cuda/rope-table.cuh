// The reference's bits: one sine for each thread and value. A block a turn, so that the tokens fed before are read by all of its
// threads before one of them writes how many there are after.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

constexpr int TABLE_THREADS = 512;

struct RopeTable {
  const float *freq, *before;  // f32[r]; f32[places] or null: zeros
  float *y, *after;            // `after` may be the state before
  bool sine;
  Turns turns;
  int r;
};

static __global__ void __launch_bounds__(TABLE_THREADS) ropeTableKernel(RopeTable a) {
  for (int i = blockIdx.x; i < a.turns.count; i += gridDim.x) {
    const Turn turn = turnOf(a.turns, i);
    const float fed = a.before ? a.before[turn.place] : 0.0f;
    for (size_t e = threadIdx.x; e < static_cast<size_t>(turn.count) * a.r; e += TABLE_THREADS) {
      const float position = add(fed, static_cast<float>(e / a.r));
      a.y[static_cast<size_t>(turn.row) * a.r + e] = sine(mul(position, a.freq[e % a.r]), a.sine ? 0 : 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) a.after[turn.place] = add(fed, static_cast<float>(turn.count));
  }
}

inline void launchRopeTable(cudaStream_t stream, const RopeTable& a) {
  ropeTableKernel<<<blocksFor(a.turns.count, 1), TABLE_THREADS, 0, stream>>>(a);
}

}  // namespace quamba
