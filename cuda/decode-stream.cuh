// The weights of a token, in the order in which they are used, on their way into shared memory. Each thread fetches for itself
// what it will multiply, as many batches ahead as fit and past the end of a phase: the memory of the GPU works on while blocks wait
// for each other. Where a layer is more than that and whole matrices fit into L2, they are asked for a phase before (prefetchMatrix).
#pragma once

#include "decode-ahead.cuh"

namespace quamba {

/** Bytes of a piece of each thread, and of a batch. */
constexpr int PIECES_BYTES = DECODE_THREADS * 16, BATCH_BYTES = BATCH * PIECES_BYTES;
/** Batches on their way: as many of these as fit. */
__host__ __device__ inline int depthOf(int fit) { return fit >= 10 ? 10 : fit >= 6 ? 6 : fit >= 4 ? 4 : fit >= 2 ? 2 : 0; }

/** Waits for the COUNT oldest of `depth` groups of copies. */
template <int COUNT>
__device__ void waitForOldest(int depth) {
  if (depth == 10) return cpAsyncWait<10 - COUNT>();
  if (depth == 6) return cpAsyncWait<6 - COUNT>();
  if (depth == 4) return cpAsyncWait<4 - COUNT>();
  return cpAsyncWait<2 - COUNT>();
}

template <class W>
class WeightStream {
 public:
  /** For the matrices from `first` to before `last`. */
  __device__ WeightStream(const Decode<W>& g, const Own<W>& own, char* memory, int first, int last)
      : g(g),
        own(own),
        slots(memory + g.at.ring + threadIdx.x * 16),
        memory(memory),
        matrix(first),
        last(last) {
    phase = first == MATRICES * g.layers ? HEAD : first % MATRICES;
#pragma unroll 1
    for (int b = 0; b < g.depth; b++) fetch(slots + b * BATCH_BYTES);
  }

  /** The next COUNT batches of this thread, at most two: zeros where its part of the matrix has less. */
  template <int COUNT>
  __device__ void take(int4 (&pieces)[COUNT][BATCH]) {
    waitForOldest<COUNT>(g.depth);
    char* batch[COUNT];
#pragma unroll
    for (int b = 0; b < COUNT; b++) {
      batch[b] = slots + oldest;
      oldest += BATCH_BYTES;
      if (oldest == g.depth * BATCH_BYTES) oldest = 0;
#pragma unroll
      for (int p = 0; p < BATCH; p++) pieces[b][p] = *reinterpret_cast<const int4*>(batch[b] + p * PIECES_BYTES);
    }
#pragma unroll
    for (int b = 0; b < COUNT; b++) fetch(batch[b]);
  }

 private:
  const Decode<W>& g;
  const Own<W>& own;
  char* const slots;
  const char* const memory;
  int oldest = 0;

  // The batch that comes next: its pieces are `stride` bytes apart.
  const char* piece = nullptr;
  int stride = 0, advance = 0;
  int left = 0, batches = 0;             // of this thread; of all
  int span = 0, spans = 0, limit = 0;    // of its row; those in which this thread has something
  int rows = 0, back = 0;                // from this group of rows on; from the end of a group to the next
  int turn = 0, jump = 0;                // the rows left where more is between the groups

  int matrix, phase;  // that begins after these batches
  const int last;

  __device__ void fetch(char* batch) {
    while (batches == 0 && matrix < last) begin();
    if (batches > 0) {
      const bool some = left > 0 && span < limit;
#pragma unroll
      for (int p = 0; p < BATCH; p++) cpAsync16(batch + p * PIECES_BYTES, piece + p * stride, some && p < rows);
      batches--, left--;
      piece += advance;
      if (++span == spans) {
        span = 0;
        rows -= BATCH;
        piece += back;
        if (rows == turn) piece += jump;
      }
    }
    cpAsyncCommit();
  }

  /** Goes on to the next matrix. */
  __device__ void begin() {
    const Flow& flow = own.flow[phase];
    const Start start = own.start[flow.groups + (threadIdx.x >> flow.shift)];
    const int lane = threadIdx.x & ((1 << flow.shift) - 1);
    piece = matrixAt(g, memory, matrix) + (static_cast<size_t>(start.place) + lane) * 16;
    stride = flow.stride, advance = flow.advance, back = flow.back, turn = flow.turn, jump = flow.jump;
    spans = flow.spans, limit = (flow.segments + 3 - lane / 8) >> 2;
    batches = flow.batches, left = start.count, span = start.span, rows = start.rows;
    matrix++;
    phase = matrix == MATRICES * g.layers ? HEAD : phase == OUTPUT ? INPUT : phase + 1;
  }
};

}  // namespace quamba
