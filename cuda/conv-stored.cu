// causal-conv1d on stored values. A thread walks over a chunk of tokens of some neighbouring channels, so that it reads an
// input once for all of its taps. Only the first chunk looks at the state, and so its threads can renew it in place.
#include "causal-conv1d.cuh"
#include "fused.h"
#include "stored.cuh"

namespace quamba {

namespace {

constexpr int CHUNK = 8, CONV_THREADS = 128;

/** V channels from c on, tokens from … end − 1. K: the taps, which with the last K − 1 inputs lie in registers. */
template <int V, int K, class T>
__device__ void convolveChunk(
    const ConvStored<T>& a, const Window<Restored<T>>& window, const Segment<T>& own, size_t row, int from, int end, int c) {
  const Storer<T> stored(own.out, a.nan);
  const T* x = window.x.data + c;
  Pack<T, V> next = loadPack<V>(x + static_cast<size_t>(from) * a.d);
  float w[V][K], b[V] = {}, seen[V][K], in[V], by[V];
#pragma unroll
  for (int v = 0; v < V; v++) {
#pragma unroll
    for (int j = 0; j < K; j++) w[v][j] = a.w[static_cast<size_t>(c + v) * K + j];
    if (a.b) b[v] = a.b[c + v];
    if (a.x.channels) in[v] = a.x.channels[c + v];
    if (own.out.channels) by[v] = own.out.channels[c - own.start + v];
#pragma unroll
    for (int j = 1; j < K; j++) seen[v][j] = window.at(from - K + j, c + v);
  }
#pragma unroll 2
  for (int t = from; t < end; t++) {
    const Pack<T, V> x0 = next;
    if (t + 1 < end) next = loadPack<V>(x + static_cast<size_t>(t + 1) * a.d);
    const size_t at = (row + t) * own.size + c - own.start;
    Pack<T, V> result;
#pragma unroll
    for (int v = 0; v < V; v++) {
#pragma unroll
      for (int j = 1; j < K; j++) seen[v][j - 1] = seen[v][j];
      seen[v][K - 1] = restored(x0.at[v], window.x.scale);
      if (a.x.channels) seen[v][K - 1] = mul(seen[v][K - 1], in[v]);
      float sum = mul(w[v][0], seen[v][0]);
#pragma unroll
      for (int j = 1; j < K; j++) sum = add(sum, mul(w[v][j], seen[v][j]));
      if (a.b) sum = add(sum, b[v]);
      if (a.activated) sum = silu(sum);
      result.at[v] = stored(own.out.channels ? divide(sum, by[v]) : sum, at + v);
    }
    storePack(own.out.data + at, result);
  }
}

/** The segment of a column; of size 0 where it is in none. */
template <class T>
__device__ Segment<T> segmentOf(const ConvStored<T>& a, int c) {
  Segment<T> own{};
#pragma unroll
  for (int s = 0; s < 4; s++)
    if (s < a.segments && c >= a.segment[s].start && c < a.segment[s].start + a.segment[s].size) own = a.segment[s];
  return own;
}

/** K: 0 for any k. A chunk is at least k − 1. */
template <int V, int K, class T>
__global__ void __launch_bounds__(CONV_THREADS, 5) convKernel(ConvStored<T> a, int chunk, int chunks) {
  for (int item = blockIdx.y; item < a.turns.count * chunks; item += gridDim.y) {
    const Turn turn = turnOf(a.turns, item / chunks);
    const int from = item % chunks * chunk, end = min(from + chunk, turn.count);
    if (from >= end) continue;
    for (int c = V * (blockIdx.x * CONV_THREADS + threadIdx.x); c < a.d; c += V * gridDim.x * CONV_THREADS) {
      const Segment<T> own = segmentOf(a, c);
      const size_t row = turn.row;
      float* state = a.state + static_cast<size_t>(turn.place) * a.d * (a.k - 1);
      const Window<Restored<T>> window{
          {a.x.data + row * a.d, scaleOf(a.x), a.x.channels}, state, a.d, a.k - 1};
      if (own.size == 0) {
        // only its state is needed
      } else if constexpr (K > 0) {
        convolveChunk<V, K>(a, window, own, row, from, end, c);
      } else {
        const Storer<T> stored(own.out, a.nan);
        const int column = c - own.start;
        for (int t = from; t < end; t++) {
          const size_t at = (row + t) * own.size + column;
          float sum = convolve(window, a.w + static_cast<size_t>(c) * a.k, a.b, t, c);
          if (a.activated) sum = silu(sum);
          own.out.data[at] = stored(own.out.channels ? divide(sum, own.out.channels[column]) : sum, at);
        }
      }
      if (from == 0)
        for (int v = 0; v < V; v++) shiftState(window, state, turn.count, c + v);
    }
  }
}

template <int V, int K, class T>
void launch(cudaStream_t stream, const ConvStored<T>& a, int chunk) {
  const int chunks = (a.turns.longest + chunk - 1) / chunk;
  const dim3 grid(blocksFor(a.d, V * CONV_THREADS), blocksFor(a.turns.count * chunks, 1));
  convKernel<V, K><<<grid, CONV_THREADS, 0, stream>>>(a, chunk, chunks);
}

}  // namespace

template <class T>
void convStored(cudaStream_t stream, const ConvStored<T>& a) {
  bool four = a.d % 4 == 0 && packed<4>(a.x.data);
  for (int s = 0; s < a.segments; s++) {
    const Segment<T>& segment = a.segment[s];
    four = four && segment.start % 4 == 0 && segment.size % 4 == 0 && packed<4>(segment.out.data);
  }
  if (a.k == 4 && four) launch<4, 4>(stream, a, CHUNK);
  else launch<1, 0>(stream, a, std::max(CHUNK, a.k - 1));
}

template void convStored(cudaStream_t, const ConvStored<int8_t>&);
template void convStored(cudaStream_t, const ConvStored<__half>&);

}  // namespace quamba
