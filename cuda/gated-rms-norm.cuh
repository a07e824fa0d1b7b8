// The reference's bits: those of rms-norm on x · silu(z), for each group of channels.
#pragma once

#include "rms-norm.cuh"

namespace quamba {

/** z f32[l, d], w f32[d] or null; g divides d. */
inline void gatedRmsNorm(
    cudaStream_t stream, const float* x, const float* z, const float* w, float* y, int l, int d, int g, float eps) {
  normGroups(stream, x, z, w, y, l, g, d / g, eps);
}

}  // namespace quamba
