// swiglu on columns of a value, then the steps, a thread a value.
#include "fused.h"
#include "launch.cuh"
#include "numerics.cuh"
#include "stored.cuh"

namespace quamba {

template <class Y>
void swigluStored(cudaStream_t stream, const Swiglu<Y>& a) {
  each(stream, a.rows, a.n, [=] __device__(int t, int j) {
    const size_t row = t, at = row * a.n + j;
    const Storer<Y> stored(a.out, a.nan);
    a.out.data[at] = stored(mul(silu(a.gate.data[row * a.gate.stride + j]), a.up.data[row * a.up.stride + j]), at);
  });
}
template void swigluStored(cudaStream_t, const Swiglu<float>&);
template void swigluStored(cudaStream_t, const Swiglu<int8_t>&);

}  // namespace quamba
