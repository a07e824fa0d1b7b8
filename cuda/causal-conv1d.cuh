// The reference's bits: a thread for each channel and token, which adds its taps in ascending j, then b, then silu.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

/** The inputs of a convolution behind its state: x[t, c] for t ≥ 0, the state for −(k−1) ≤ t < 0. */
template <class X>
struct Window {
  X x;                 // x[i] is a float
  const float* state;  // may be null: zeros
  int d, past;

  __device__ float at(int t, int c) const {
    if (t >= 0) return x[static_cast<size_t>(t) * d + c];
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

/** `after` may be the state before. */
inline void causalConv1d(
    cudaStream_t stream, const float* x, const float* w, const float* b, const float* before, float* y, float* after, int l,
    int d, int k, bool activated) {
  const Window<const float*> window{x, before, d, k - 1};
  each(stream, l, d, [=] __device__(int t, int c) {
    const float sum = convolve(window, w + static_cast<size_t>(c) * k, b, t, c);
    y[static_cast<size_t>(t) * d + c] = activated ? silu(sum) : sum;
  });
  each(stream, 1, d, [=] __device__(int, int c) { shiftState(window, after, l, c); });
}

}  // namespace quamba
