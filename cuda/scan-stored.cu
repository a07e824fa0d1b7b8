// selective-scan on stored values. For many tokens and n = 16: scan-tiles.cuh. Else four threads a channel, which read
// everything where it lies.
#include "fused.h"
#include "scan-tiles.cuh"
#include "selective-scan.cuh"
#include "stored.cuh"

namespace quamba {

namespace {

constexpr int QUAD_THREADS = 128;

/** HELD: a thread keeps its n/4 states in registers; 0: any n, the states stay in memory. */
template <int HELD, class T, class Y>
__global__ void __launch_bounds__(QUAD_THREADS) scanQuads(ScanStored<T, Y> a) {
  const Restored<T> u = restoredOf(a.u), dt = restoredOf(a.dt), z = restoredOf(a.z), B = restoredOf(a.B), C = restoredOf(a.C);
  const int lane = threadIdx.x % 4;
  for (int i = blockIdx.y; i < a.turns.count; i += gridDim.y) {
    const Turn turn = turnOf(a.turns, i);
    for (int first = blockIdx.x * (QUAD_THREADS / 4); first < a.d; first += gridDim.x * (QUAD_THREADS / 4)) {
      const bool real = first + threadIdx.x / 4 < a.d;
      const int c = real ? first + threadIdx.x / 4 : a.d - 1;  // all threads of a warp sum; these others write nothing
      float* state = a.state + (static_cast<size_t>(turn.place) * a.d + c) * a.n;
      const float* A = a.A + static_cast<size_t>(c) * a.n;
      float h[HELD > 0 ? HELD : 1], decay[HELD > 0 ? HELD : 1];
#pragma unroll
      for (int i = 0; i < HELD; i++) h[i] = state[4 * i + lane], decay[i] = mul(A[4 * i + lane], LOG2E);
      for (int t = 0; t < turn.count; t++) {
        const size_t row = static_cast<size_t>(turn.row) + t, at = row * a.d + c;
        const float step = a.softplus ? softplus(dt[at]) : dt[at], input = mul(step, u[at]);
        float sum = 0.0f;
        if constexpr (HELD > 0) {
#pragma unroll
          for (int i = 0; i < HELD; i++) {
            const size_t s = row * a.n + 4 * i + lane;
            sum = advance(h[i], decay[i], step, input, B[s], C[s], sum);
          }
        } else {
          for (int s = lane; s < a.n; s += 4) {
            float next = state[s];
            sum = advance(next, mul(A[s], LOG2E), step, input, B[row * a.n + s], C[row * a.n + s], sum);
            if (real) state[s] = next;
          }
        }
        sum = sumLanes(sum);
        if (a.D) sum = add(sum, mul(a.D[c], u[at]));
        if (a.z.data) sum = mul(sum, silu(z[at]));
        if (real && lane == 0) a.y[at] = static_cast<Y>(sum);
      }
#pragma unroll
      for (int i = 0; i < HELD; i++)
        if (real) state[4 * i + lane] = h[i];
    }
  }
}

}  // namespace

template <class T, class Y>
void scanStored(cudaStream_t stream, const ScanStored<T, Y>& a) {
  const bool whole = packed<16>(a.B.data) && packed<16>(a.C.data) &&
                     (a.d % 4 != 0 || (packed<4>(a.u.data) && packed<4>(a.dt.data) && packed<4>(a.z.data)));
  if (a.n == 16 && a.turns.longest > SCAN_FEW && whole) return scanTiles(stream, a);
  const dim3 grid(blocksFor(a.d, QUAD_THREADS / 4), blocksFor(a.turns.count, 1));
  if (a.n == 16) scanQuads<4><<<grid, QUAD_THREADS, 0, stream>>>(a);
  else scanQuads<0><<<grid, QUAD_THREADS, 0, stream>>>(a);
}

template void scanStored(cudaStream_t, const ScanStored<int8_t, float>&);
template void scanStored(cudaStream_t, const ScanStored<__half, __half>&);

}  // namespace quamba
