// The order of the base ops: `add`, then rms-norm's 32 lanes, its product with w, then the steps. A block a row.
#include "fused.h"
#include "rms-norm.cuh"
#include "stored.cuh"

namespace quamba {

namespace {

/** V: values that a thread reads at once. `sum` may be x or y: a thread reads what it writes, before it does. */
template <class T, int V>
__global__ void __launch_bounds__(NORM_THREADS, 5) addNormKernel(AddNorm<T> a, bool fits) {
  extern __shared__ float4 summed[];
  __shared__ float inverse;
  const Storer<T> stored(a.out, a.nan);
  for (int t = blockIdx.x; t < a.rows; t += gridDim.x) {
    const size_t start = static_cast<size_t>(t) * a.m;
    float* staged = reinterpret_cast<float*>(summed);
#pragma unroll 4
    for (int j = V * threadIdx.x; j < a.m; j += V * NORM_THREADS) {
      Pack<float, V> x = loadPack<V>(a.x + start + j);
      if (a.y) {
        const Pack<float, V> y = loadPack<V>(a.y + start + j);
        for (int v = 0; v < V; v++) x.at[v] = add(x.at[v], y.at[v]);
        storePack(a.sum + start + j, x);
      }
      if (fits) storePack(staged + j, x);
    }
    __syncthreads();
    const float* row = fits ? staged : (a.y ? a.sum : a.x) + start;
    if (threadIdx.x < 32) {
      const float r = inverseRms(row, a.m, a.eps);
      if (threadIdx.x == 0) inverse = r;
    }
    __syncthreads();
#pragma unroll 4
    for (int j = V * threadIdx.x; j < a.m; j += V * NORM_THREADS) {
      const Pack<float, V> x = loadPack<V>(row + j);
      Pack<float, V> w{};
      if (a.w) w = loadPack<V>(a.w + j);
      Pack<T, V> out;
      for (int v = 0; v < V; v++) {
        const float y = mul(x.at[v], inverse);
        out.at[v] = stored(a.w ? mul(y, w.at[v]) : y, start + j + v);
      }
      storePack(a.out.data + start + j, out);
    }
    __syncthreads();  // before the next row comes in
  }
}

}  // namespace

template <class T>
void addNorm(cudaStream_t stream, const AddNorm<T>& a) {
  const size_t bytes = (sizeof(float) * a.m + 15) / 16 * 16;
  const bool fits = bytes <= SHARED_BYTES;
  const bool four = a.m % 4 == 0 && packed<4>(a.x) && packed<4>(a.y) && packed<4>(a.w) && packed<4>(a.sum) &&
                    packed<4>(a.out.data);
  const auto kernel = four ? addNormKernel<T, 4> : addNormKernel<T, 1>;
  kernel<<<blocksFor(a.rows, 1), NORM_THREADS, fits ? bytes : 0, stream>>>(a, fits);
}

template void addNorm(cudaStream_t, const AddNorm<int8_t>&);
template void addNorm(cudaStream_t, const AddNorm<__half>&);
template void addNorm(cudaStream_t, const AddNorm<float>&);

}  // namespace quamba
