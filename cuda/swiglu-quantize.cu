// swiglu, then the steps, a thread a value.
#include "fused.h"
#include "quantize.cuh"

namespace quamba {

void swigluQuantize(cudaStream_t stream, const SwigluQuantize& a) {
  each(stream, a.rows, a.n, [=] __device__(int t, int j) {
    const float scale = *a.out.scale;
    const size_t row = t, at = row * a.n + j;
    const float y = mul(silu(a.gate.data[row * a.gate.stride + j]), a.up.data[row * a.up.stride + j]);
    a.out.data[at] = quantizeFast(y, scale, inverseOf(scale), at, a.nan);
  });
}

}  // namespace quamba
