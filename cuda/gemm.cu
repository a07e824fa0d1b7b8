// Which kernel a product runs on: tiles, those that a model gives the least time, or a warp for each output of each row.
#include "gemm.cuh"
#include "launch.cuh"

namespace quamba {

namespace {

__device__ inline int withProducts(int sum, int x, int w) { return __dp4a(x, w, sum); }
__device__ inline float withProducts(float sum, int x, int w) {
  __half left[2], right[2];
  memcpy(left, &x, sizeof x);
  memcpy(right, &w, sizeof w);
  return __fmaf_rn(widen(left[1]), widen(right[1]), __fmaf_rn(widen(left[0]), widen(right[0]), sum));
}

/** Σ x · w over n, by one warp; every thread of it gets it. */
template <class Sum, class T>
__device__ Sum dot(const T* x, const T* w, int n) {
  Sum sum = 0;
  if (((reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(w) | n * sizeof(T)) & 15) == 0) {
    const int4 *xs = reinterpret_cast<const int4*>(x), *ws = reinterpret_cast<const int4*>(w);
#pragma unroll 4
    for (int k = threadIdx.x % 32; k < n * static_cast<int>(sizeof(T)) / 16; k += 32) {
      const int4 p = xs[k], q = loadStreaming16(ws + k);
      sum = withProducts(withProducts(sum, p.x, q.x), p.y, q.y);
      sum = withProducts(withProducts(sum, p.z, q.z), p.w, q.w);
    }
  } else {
    for (int k = threadIdx.x % 32; k < n; k += 32) sum += static_cast<Sum>(x[k]) * static_cast<Sum>(w[k]);
  }
#pragma unroll
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(~0u, sum, apart);
  return sum;
}

constexpr int WARPS = 4;

/** For any sizes. */
template <class G>
__global__ void __launch_bounds__(32 * WARPS) gemmRows(G a) {
  for (int row = blockIdx.y; row < a.rows; row += gridDim.y)
    for (int column = blockIdx.x * WARPS + threadIdx.x / 32; column < a.o; column += gridDim.x * WARPS) {
      const SumOf<G> sum[1] = {
          dot<SumOf<G>>(a.x + static_cast<size_t>(row) * a.i, a.w + static_cast<size_t>(column) * a.i, a.i)};
      if (threadIdx.x % 32 != 0) continue;
      if (a.y)
        Columns<G, float, 1>(a, column).store(a, row, sum);
      else
        Columns<G, ValueOf<G>, 1>(a, column).store(a, row, sum);
    }
}

template <class G>
using Launcher = void (*)(cudaStream_t, const G&);

template <class T>
int tilesOf(int rows, int outputs) {
  return ((rows + T::ROWS - 1) / T::ROWS) * ((outputs + T::OUTPUTS - 1) / T::OUTPUTS);
}

template <class G, class T>
void launchTiles(cudaStream_t stream, const G& a) {
  // Where it is refused, the launch is too.
  [[maybe_unused]] static const cudaError_t asked =
      cudaFuncSetAttribute(gemmTiles<G, T>, cudaFuncAttributeMaxDynamicSharedMemorySize, T::SHARED);
  gemmTiles<G, T><<<dim3(tilesOf<T>(a.rows, a.o)), T::THREADS, T::SHARED, stream>>>(a);
}

int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 1;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
    return value;
  }();
  return count;
}

/**
 * Clocks, about; the constants are fitted to an H100. A stage takes what is slowest: its products, its way from the L2, which the
 * busy multiprocessors share, or the latency that the stages ahead leave. The first two add up over the blocks of a
 * multiprocessor, the last does not. A tile ends with `store` clocks for a result, which a second block hides by half.
 */
template <class T>
double clocks(int rows, int outputs, int bytes, double store) {
  const int all = multiprocessors(), tiles = tilesOf<T>(rows, outputs), most = (tiles + all - 1) / all;
  const double perClock = std::min(56.0, 28.0 * all / std::min(tiles, all));
  const double read = (std::min(rows, T::ROWS) + T::OUTPUTS) * T::WIDTH / perClock;
  const double stage = std::max(T::ROWS * T::OUTPUTS * T::WIDTH / 1750.0, read);
  const int stages = (bytes + T::WIDTH - 1) / T::WIDTH;
  const double fixed = 2500.0 + T::ROWS * T::OUTPUTS * store / T::BLOCKS;
  const auto together = [&](int blocks) { return blocks ? fixed + std::max(400.0, stage * blocks) * stages : 0.0; };
  return most / T::BLOCKS * together(T::BLOCKS) + together(most % T::BLOCKS);
}

template <class... T>
struct Tiles {
  template <class G>
  static Launcher<G> best(const G& a) {
    const double store = sizeof(*a.x) == 1 && !a.y ? 0.5 : 0.15;  // to quantize takes longer
    const double each[] = {clocks<T>(a.rows, a.o, a.i * static_cast<int>(sizeof(*a.x)), store)...};
    const Launcher<G> launchers[] = {launchTiles<G, T>...};
    return launchers[std::min_element(each, each + sizeof...(T)) - each];
  }
};

/**
 * 128 × 256 reads least for a product; 128 × 160 fills the 132 multiprocessors of an H100 at 1024 rows of 2560 outputs; of 128 ×
 * 128 two blocks share a multiprocessor. The last three are for small grids and for few rows: warps share a tile's inputs, 64 bytes of a stage each.
 */
using GemmTiles = Tiles<
    Tile<2, 4, 1, 4, 8, 1>, Tile<2, 4, 1, 4, 5, 1>, Tile<2, 2, 1, 4, 8, 2>, Tile<2, 2, 2, 2, 4, 2>, Tile<2, 1, 4, 2, 4, 2>,
    Tile<1, 1, 8, 1, 4, 2>>;

template <class G>
void launch(cudaStream_t stream, const G& a) {
  if (a.rows == 0 || a.o == 0) return;
  const bool aligned =
      ((reinterpret_cast<uintptr_t>(a.x) | reinterpret_cast<uintptr_t>(a.w) | a.i * sizeof(*a.x)) & 15) == 0;
  if (a.rows > 1 && aligned)
    GemmTiles::best(a)(stream, a);
  else
    gemmRows<G><<<dim3(blocksFor(a.o, WARPS), blocksFor(a.rows, 1)), 32 * WARPS, 0, stream>>>(a);
}

}  // namespace

void gemm(cudaStream_t stream, const GemmI8& a) { launch(stream, a); }
void gemm(cudaStream_t stream, const GemmF16& a) { launch(stream, a); }

}  // namespace quamba
