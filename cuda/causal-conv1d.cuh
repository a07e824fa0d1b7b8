// The reference's bits: a thread for each channel and token, which adds its taps in ascending j, then b, then silu.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** f32 values where they lie. */
struct Plain {
  const float* data;
  __device__ float at(size_t i, int) const { return data[i]; }
};

/** The inputs of a convolution behind its state: x[t, c] for t ≥ 0, the state for −(k−1) ≤ t < 0. */
template <class X>
struct Window {
  X x;                 // x.at(i, c) is a float of channel c
  const float* state;  // may be null: zeros
  int d, past;

  __device__ float at(int t, int c) const {
    if (t >= 0) return x.at(static_cast<size_t>(t) * d + c, c);
    return state ? state[static_cast<size_t>(c) * past + past + t] : 0.0f;
  }
};

/** One output before its activation. w: the k taps of channel c. b may be null: none. */
template <class X>
__device__ float convolve(const Window<X>& window, const float* w, const float* b, int t, int c) {
  float sum = mul(w[0], window.at(t - window.past, c));
  for (int j = 1; j <= window.past; j++) sum = add(sum, mul(w[j], window.at(t - window.past + j, c)));
  return b ? add(sum, b[c]) : sum;
}

/** The state of channel c after l tokens. `after` may be the state before: no place is read once it has been written. */
template <class X>
__device__ void shiftState(const Window<X>& window, float* after, int l, int c) {
  for (int j = 0; j < window.past; j++) after[static_cast<size_t>(c) * window.past + j] = window.at(l - window.past + j, c);
}

struct Conv {
  const float *x, *w;
  const float *b, *before;  // each may be null: none, zeros
  float *y, *after;         // `after` may be the state before
  Turns turns;
  int d, k;
  bool activated;

  __device__ size_t state(const Turn& turn) const { return static_cast<size_t>(turn.place) * d * (k - 1); }
  __device__ Window<Plain> window(const Turn& turn) const {
    return {{x + static_cast<size_t>(turn.row) * d}, before ? before + state(turn) : nullptr, d, k - 1};
  }
};

inline void causalConv1d(cudaStream_t stream, const Conv& g) {
  each(stream, g.turns.count * g.turns.longest, g.d, [=] __device__(int item, int c) {
    const Turn turn = turnOf(g.turns, item / g.turns.longest);
    const int t = item % g.turns.longest;
    if (t >= turn.count) return;
    const float sum = convolve(g.window(turn), g.w + static_cast<size_t>(c) * g.k, g.b, t, c);
    g.y[(static_cast<size_t>(turn.row) + t) * g.d + c] = g.activated ? silu(sum) : sum;
  });
  each(stream, g.turns.count, g.d, [=] __device__(int i, int c) {
    const Turn turn = turnOf(g.turns, i);
    shiftState(g.window(turn), g.after + g.state(turn), turn.count, c);
  });
}

}  // namespace quamba
