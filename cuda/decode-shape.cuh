// What all phases of decoding share: the sizes, who owns what, and where things lie in the memory of a block.
//
// A layer is four phases, between which every block needs something of all others:
//   input    h → u (of the scan) and silu(z)     a block owns channels      (decode-input.cuh)
//   select   u → dt before its matrix, B, C      a block owns rows          (decode-select.cuh)
//   scan     … → y                               a block owns 128 channels  (decode-scan.cuh)
//   output   y → h                               a block owns rows          (decode-output.cuh)
// and at the end comes the head (decode-head.cuh).
//
// The code of a layer runs once from front to back and then again, so what does not fit into the cache of instructions is
// fetched again for each layer. That was most of the time of a first version with 300 KB of it: loops are short here, and what
// can be computed once is.
#pragma once

#include <climits>

#include "decode.h"
#include "hadamard.cuh"
#include "launch.cuh"

namespace quamba {

constexpr int DECODE_THREADS = 256, DECODE_WARPS = DECODE_THREADS / 32;
/** Rows of a matrix that a thread reads at once, 16 bytes of each; a warp reads SPAN bytes of them. */
constexpr int BATCH = 4, SPAN = 512;
/** Bytes that rows are a multiple of: those of eight neighbouring threads. */
constexpr int SEGMENT = 128;
/** Channels that a block scans at once, with four threads each. */
constexpr int CHUNK = DECODE_THREADS / 4;
constexpr int MOST_LOW = 256, MOST_STATES = 16, MOST_WIDTH = 4096, MOST_TAPS = 8;

enum Phase { INPUT, SELECT, OUTPUT, HEAD, SCAN };
/** Those of a layer that multiply by a matrix. */
constexpr int MATRICES = 3;

/** A value that one block tells to others. `tag` says which layer of which token made it, so that nobody has to wait for more. */
struct alignas(8) Word {
  uint32_t value, tag;
};

/** The part of `total` things that belongs to one of `parts`. */
struct Share {
  int first, count;
};
__host__ __device__ inline Share shareOf(int total, int part, int parts) {
  const int first = static_cast<int>(static_cast<int64_t>(total) * part / parts);
  return {first, static_cast<int>(static_cast<int64_t>(total) * (part + 1) / parts) - first};
}

/** A block's rows of a matrix, in units of BATCH rows × SPAN bytes, those of a group of rows one after another. */
struct Slab {
  int first, rows, segments;  // of a row

  __host__ __device__ int spans() const { return (segments + SPAN / SEGMENT - 1) / (SPAN / SEGMENT); }
  __host__ __device__ int units() const { return (rows + BATCH - 1) / BATCH * spans(); }
  /** Units of a warp, at most. */
  __host__ __device__ int batches() const { return (units() + DECODE_WARPS - 1) / DECODE_WARPS; }
};

/** The units of one warp, and the span of the first one. */
struct WarpUnits {
  int first, count, span;
};

/** How the weights of a matrix come to a block, in batches of BATCH pieces a thread; where nothing else is said, in bytes. */
struct Flow {
  int stride;         // from piece to piece
  int advance, back;  // from batch to batch; beside that, from a group of rows to the next
  int turn, jump;     // where so many rows are left: what lies between them and the rows before
  int spans;          // batches of a group
  int segments;       // of a row
  int batches;        // of all threads
  int groups, shift;  // the first of Own::start; threads of one, as a power of two
};
/** Where a group of threads starts in a matrix, its batches, the span of the first, and the rows that are left there. */
struct alignas(16) Start {
  unsigned place;  // in pieces of 16 bytes
  int count, span, rows;
};

/** A scale, and the inverse for quantizeFast. */
struct Quantum {
  float scale, inverse;
};

/** A layer for the kernels: that of decode.h with what follows from its scales. */
template <class W>
struct Prepared {
  const float *norm, *convW, *convB;
  float *convState, *ssmState;
  const W* dtProj;
  const float *dtBias, *A, *D;
  float eps;
  Quantum in, convIn, gate, u, dtLow, B, C, dt, y;
  float inReal, xReal, dtReal, outReal;  // of a sum of integers, its size
  float unused;                          // a multiple of 8 bytes
};

/** Bytes from the start of a block's dynamic shared memory. */
struct Places {
  int values;   // f32: a row as it came in
  int operand;  // what a matrix is multiplied by
  int sums;     // of each unit
  int taps;     // of the convolution
  int matrices;  // where each lies
  int ring;     // of the weights on their way
};

/** A model and how it runs; what decode.h says of it holds here. */
template <class W>
struct Decode {
  int layers, m, d, n, k, r, v;
  bool hadamard;
  Factors factors;
  int local;   // butterflies of strides below it are made where the scan is
  float norm;  // of the transform: 1 / √d

  const Prepared<W>* layer;
  const void* const* matrices;  // inProj, xProj, outProj of each layer, then the head
  TableType embeddingType, headType;
  const void* embedding;
  const float* embeddingScale;
  const float* finalNorm;
  float finalEps;
  Quantum headIn;
  const float *headWeight, *headBias;
  bool headWeightEachRow;
  float* logits;
  NanPlace* nan;

  /** Two of each: while some blocks still read those of a layer, others write those of the next. */
  Word *h, *u, *z, *low, *y;
  float* residual;  // h before the present layer: a block keeps what it adds its rows of out_proj to

  int blocks;
  int depth;   // batches of weights on their way into shared memory
  bool ahead;  // a matrix goes into L2 before its phase
  Places at;

  const int32_t* token;
  uint32_t tag;   // of no layer before
  bool together;  // all phases in one kernel: tags tell the layers apart

  __device__ uint32_t tagOf(int layer) const { return together ? tag + layer : 0; }
  /** The words of a layer. */
  __device__ Word* of(Word* two, int size, int layer) const { return two + (layer & 1) * size; }
};

/** The values in a word of what stays W between the phases. */
template <class W>
constexpr int PACKED = 4 / sizeof(W);

template <class W>
__host__ __device__ Slab slabOf(const Decode<W>& g, int phase, int block) {
  constexpr int WIDTH = sizeof(W);
  if (phase == INPUT) {  // x and z of the same channels, by fours
    const Share four = shareOf(g.d / 4, block, g.blocks);
    return {4 * four.first, 8 * four.count, g.m * WIDTH / SEGMENT};
  }
  const int segments = g.d * WIDTH / SEGMENT;
  if (phase == OUTPUT) {
    const Share share = shareOf(g.m, block, g.blocks);
    return {share.first, share.count, segments};
  }
  // The blocks that will scan have nothing to select where there are others enough: they wait with all at hand.
  const int batches = (g.r + 2 * g.n) / BATCH, scanning = g.d / CHUNK;
  const int before = g.blocks - scanning >= batches ? scanning : 0;
  if (block < before) return {0, 0, segments};
  const Share four = shareOf(batches, block - before, g.blocks - before);
  return {BATCH * four.first, BATCH * four.count, segments};
}

/** The head's rows belong to groups of threads, each of which has whole rows that follow each other: warps (i8) or fours. */
constexpr int MOST_GROUPS = DECODE_THREADS / 4;
template <class W>
__host__ __device__ int headGroups(const Decode<W>& g) {
  return g.headType == TableType::i8 ? DECODE_WARPS : MOST_GROUPS;
}

/** What a block keeps in shared memory beside the dynamic part. */
template <class W>
struct Own {
  Slab slab[MATRICES];
  WarpUnits units[MATRICES][DECODE_WARPS];
  Share head[MOST_GROUPS];
  Flow flow[MATRICES + 1];
  Start start[MATRICES * DECODE_WARPS + MOST_GROUPS];
  Prepared<W> layer[2];
  float inverse;                      // 1 / rms
  float softplus[256];                // of each dt
  __align__(16) float low[MOST_LOW];  // dt before its matrix: f32, or int8 in the first bytes
  float B[MOST_STATES], C[MOST_STATES];
  float y[CHUNK];

  /** Once for each kernel, by a whole block. The caller synchronizes. */
  __device__ void divide(const Decode<W>& g) {
    const int thread = threadIdx.x;
    if (thread < MATRICES * DECODE_WARPS) divideMatrix(g, thread / DECODE_WARPS, thread % DECODE_WARPS);
    if (thread < headGroups(g)) divideHead(g, thread, headGroups(g));
  }

 private:
  static constexpr int HEADS = MATRICES * DECODE_WARPS;

  __device__ void divideMatrix(const Decode<W>& g, int phase, int warp) {
    const Slab mine = slabOf(g, phase, blockIdx.x);
    const int spans = mine.spans(), stride = mine.segments * SEGMENT, half = mine.rows / 2;
    const Share share = shareOf(mine.units(), warp, DECODE_WARPS);
    const int row = share.first / spans * BATCH, span = share.first % spans, left = mine.rows - row;
    // The rows of z follow those of x at a distance.
    const int turn = phase == INPUT ? half : INT_MIN, between = phase == INPUT ? g.d - half : 0;
    const size_t at = static_cast<size_t>(mine.first + row + (left <= turn ? between : 0)) * stride + span * SPAN;
    units[phase][warp] = {share.first, share.count, span};
    start[phase * DECODE_WARPS + warp] = {static_cast<unsigned>(at / 16), share.count, span, left};
    if (warp > 0) return;
    slab[phase] = mine;
    flow[phase] = {stride, SPAN, BATCH * stride - spans * SPAN, turn, between * stride, spans, mine.segments,
                   mine.batches(), phase * DECODE_WARPS, 5};
  }

  __device__ void divideHead(const Decode<W>& g, int group, int groups) {
    const bool i8 = g.headType == TableType::i8;
    const int width = g.m * (i8 ? 1 : g.headType == TableType::f16 ? 2 : 4);
    const int all = groups * g.blocks, most = (g.v + all - 1) / all;
    const Share share = head[group] = shareOf(g.v, blockIdx.x * groups + group, all);
    const unsigned place = static_cast<unsigned>(static_cast<size_t>(share.first) * width / 16);
    if (i8) {  // as a slab of its own for each warp
      const Slab mine{0, share.count, g.m / SEGMENT}, longest{0, most, g.m / SEGMENT};
      const int spans = mine.spans();
      start[HEADS + group] = {place, mine.units(), 0, share.count};
      if (group == 0)
        flow[HEAD] = {width, SPAN, BATCH * width - spans * SPAN, INT_MIN, 0, spans, mine.segments, longest.units(), HEADS, 5};
    } else {  // the pieces of a thread one after another, as one row without an end
      constexpr int PIECE = 4 * 16, ENDLESS = INT_MAX / 2;
      const int batches = width / (BATCH * PIECE);
      start[HEADS + group] = {place, share.count * batches, 0, ENDLESS};
      if (group == 0) flow[HEAD] = {PIECE, BATCH * PIECE, 0, INT_MIN, 0, ENDLESS, ENDLESS, most * batches, HEADS, 2};
    }
  }
};

}  // namespace quamba
