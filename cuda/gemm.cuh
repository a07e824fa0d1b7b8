// out = x wᵀ (+ b) of fused.h on the tensor cores. Both types are the same here but for one instruction, which multiplies 32
// bytes of each of 16 rows of x by 32 bytes of each of 8 rows of w.
//
// A block makes a tile of the product. Rows of x and w stream through shared memory, three stages ahead. Warps share the
// tile and, where a product has too few tiles to fill the GPU, the bytes of a stage too. At the end the sums go through
// shared memory once more, so that a thread has neighbouring columns of a row and a warp writes whole sectors.
#pragma once

#include "gemm-columns.cuh"
#include "ptx.cuh"

namespace quamba {

__device__ inline void multiply(int (&sums)[4], const uint32_t (&x)[4], const uint32_t (&w)[2]) { mmaI8(sums, x, w); }
__device__ inline void multiply(float (&sums)[4], const uint32_t (&x)[4], const uint32_t (&w)[2]) { mmaF16(sums, x, w); }

/**
 * A tile: warpRows × warpOutputs warps have 16 m rows × 8 n outputs each, and `slices` of them the same ones, each with its
 * own 64 bytes of a stage. So many `blocks` are to fit a multiprocessor.
 */
template <int warpRows, int warpOutputs, int slices, int m, int n, int blocks>
struct Tile {
  static constexpr int WARP_OUTPUTS = warpOutputs, SLICES = slices, M = m, N = n, BLOCKS = blocks;
  static constexpr int ROWS = warpRows * M * 16, OUTPUTS = warpOutputs * N * 8;
  static constexpr int THREADS = 32 * warpRows * warpOutputs * slices;
  static constexpr int STEP = 32, STEPS = 2;  // bytes of a row that one instruction takes; times in a stage
  static constexpr int WIDTH = STEP * STEPS * slices, STAGES = 4, STAGE = (ROWS + OUTPUTS) * WIDTH;
  // The sums leave 16 rows of each warp at a time. Rows in shared memory are 8 words off each other's banks.
  static constexpr int PASS = warpRows * 16, PITCH = OUTPUTS + 8;
  static constexpr int SHARED = std::max(STAGES * STAGE, slices * PASS * PITCH * 4);
  static_assert(SHARED <= 99 * 1024, "what a block of sm_89 can have");
};

/** Pieces of 16 bytes of a row change places by its number, so that 8 rows of one column lie in different banks. */
template <int WIDTH>
__device__ inline int swizzled(int row, int piece) {
  return row * WIDTH + ((piece ^ (WIDTH == 64 ? row >> 1 & 3 : row & 7)) << 4);
}

/** Brings the rows of a tile to shared memory: those of x, then those of w. */
template <class T>
class Feed {
  static constexpr int PIECES = T::WIDTH / 16, APART = T::THREADS / PIECES, ALL = T::ROWS + T::OUTPUTS;
  static constexpr int LOADS = (ALL + APART - 1) / APART;
  static_assert(T::ROWS % APART == 0 && APART % 8 == 0, "a load is of x or of w; the places change alike in all of them");
  static constexpr unsigned NONE = ~0u;

  const char *x, *w;
  int piece, pieces, first;
  unsigned from[LOADS];  // in pieces

 public:
  template <class G>
  __device__ Feed(const G& a, int row, int output)
      : x(reinterpret_cast<const char*>(a.x)), w(reinterpret_cast<const char*>(a.w)), piece(threadIdx.x % PIECES),
        pieces(a.i * static_cast<int>(sizeof(*a.x)) / 16), first(threadIdx.x / PIECES) {
#pragma unroll
    for (int l = 0; l < LOADS; l++) {
      const bool ofX = l * APART < T::ROWS;
      const int r = first + l * APART + (ofX ? row : output - T::ROWS);
      from[l] = r < (ofX ? a.rows : a.o) ? static_cast<unsigned>(r) * pieces + piece : NONE;
    }
  }

  __device__ int stages() const { return (pieces + PIECES - 1) / PIECES; }

  __device__ void load(char* shared, int stage) const {
    const int k = stage * PIECES;
    const bool inside = k + piece < pieces;
#pragma unroll
    for (int l = 0; l < LOADS; l++)
      if ((l + 1) * APART <= ALL || first + l * APART < ALL)
        cpAsync16(
            shared + swizzled<T::WIDTH>(first, piece) + l * APART * T::WIDTH,
            (l * APART < T::ROWS ? x : w) + (static_cast<size_t>(from[l]) + k) * 16, inside && from[l] != NONE);
  }
};

/** One step's words of x and w, as the instruction wants them. */
template <class T>
struct Fragments {
  uint32_t x[T::M][4], w[T::N][2];

  /** `left`, `right`: where this thread's first rows lie in a stage. */
  __device__ void fetch(const char* stage, int left, int right, int step) {
    // The pieces of two steps differ in one bit, and so do their swizzled places.
#pragma unroll
    for (int m = 0; m < T::M; m++) ldmatrix4(x[m], stage + (left ^ step * T::STEP) + m * 16 * T::WIDTH);
#pragma unroll
    for (int n = 0; n + 1 < T::N; n += 2) {
      uint32_t pair[4];
      ldmatrix4(pair, stage + (right ^ step * T::STEP) + n * 8 * T::WIDTH);
      w[n][0] = pair[0], w[n][1] = pair[1], w[n + 1][0] = pair[2], w[n + 1][1] = pair[3];
    }
    if constexpr (T::N % 2 == 1) ldmatrix2(w[T::N - 1], stage + (right ^ step * T::STEP) + (T::N - 1) * 8 * T::WIDTH);
  }
};

/** Sums of 16 rows of each warp at a time, from shared memory to where they go. */
template <class T, class Out, class G>
__device__ void storeTile(
    const G& a, int row, int output, SumOf<G> (&sums)[T::M][T::N][4], char* shared, int at, int slice) {
  using Sum = SumOf<G>;
  constexpr int EACH = 4, ACROSS = T::OUTPUTS / EACH, DOWN = T::THREADS / ACROSS, SLAB = T::PASS * T::PITCH;
  const int thread = threadIdx.x;
  using Two = std::conditional_t<std::is_same_v<Sum, int>, int2, float2>;
  struct alignas(16) Four {
    Sum e[4];
  };
  Sum* slabs = reinterpret_cast<Sum*>(shared);
  const Columns<G, Out, EACH> columns(a, output + thread % ACROSS * EACH);
#pragma unroll 1
  for (int pass = 0; pass < T::M; pass++) {
    __syncthreads();  // what was there has been read
#pragma unroll
    for (int m = 0; m < T::M; m++)
      if (m == pass)
#pragma unroll
        for (int n = 0; n < T::N; n++)
#pragma unroll
          for (int e = 0; e < 4; e += 2)
            *reinterpret_cast<Two*>(slabs + slice * SLAB + at + e / 2 * 8 * T::PITCH + n * 8) =
                Two{sums[m][n][e], sums[m][n][e + 1]};
    __syncthreads();
    for (int r = thread / ACROSS; r < T::PASS; r += DOWN) {
      const int t = row + r / 16 * (16 * T::M) + pass * 16 + r % 16;
      if (t >= a.rows || thread >= DOWN * ACROSS) continue;
      Four total = *reinterpret_cast<const Four*>(slabs + r * T::PITCH + thread % ACROSS * EACH);
#pragma unroll
      for (int s = 1; s < T::SLICES; s++) {
        const Four more = *reinterpret_cast<const Four*>(slabs + s * SLAB + r * T::PITCH + thread % ACROSS * EACH);
#pragma unroll
        for (int e = 0; e < EACH; e++) total.e[e] += more.e[e];
      }
      columns.store(a, t, total.e);
    }
  }
}

/** Blocks that run at the same time share rows of x and w: they walk down at most 1024 rows, then to the next outputs. */
template <class T>
__device__ inline void whichTile(int rows, int outputs, int& row, int& output) {
  constexpr int HIGH = 1024 / T::ROWS;
  const int down = (rows + T::ROWS - 1) / T::ROWS, across = (outputs + T::OUTPUTS - 1) / T::OUTPUTS;
  const int block = blockIdx.x, above = block / (HIGH * across) * HIGH, high = min(HIGH, down - above);
  const int inside = block - above * across;
  row = (above + inside % high) * T::ROWS;
  output = inside / high * T::OUTPUTS;
}

template <class G, class T>
__global__ void __launch_bounds__(T::THREADS, T::BLOCKS) gemmTiles(G a) {
  extern __shared__ __align__(128) char shared[];
  int row, output;
  whichTile<T>(a.rows, a.o, row, output);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int slice = warp % T::SLICES, share = warp / T::SLICES;
  const int warpRow = share / T::WARP_OUTPUTS, warpOutput = share % T::WARP_OUTPUTS;
  // Of 16 rows of x: the two halves of rows, then their second pieces. Of two columns: the pieces of one, then of the other.
  const int left = swizzled<T::WIDTH>(warpRow * 16 * T::M + lane % 16, slice * 4 + lane / 16);
  const int right =
      swizzled<T::WIDTH>(T::ROWS + warpOutput * 8 * T::N + lane / 16 * 8 + lane % 8, slice * 4 + lane / 8 % 2);

  const Feed<T> feed(a, row, output);
  const int stages = feed.stages();
#pragma unroll
  for (int s = 0; s < T::STAGES - 1; s++) {
    if (s < stages) feed.load(shared + s * T::STAGE, s);
    cpAsyncCommit();
  }
  cpAsyncWait<T::STAGES - 2>();
  __syncthreads();

  SumOf<G> sums[T::M][T::N][4] = {};
  Fragments<T> fragments[2];
  int slot = 0, free = T::STAGES - 1;
  fragments[0].fetch(shared, left, right, 0);
#pragma unroll 1
  for (int stage = 0; stage < stages; stage++) {
#pragma unroll
    for (int step = 0; step < T::STEPS; step++) {
      if (step == T::STEPS - 1) {
        cpAsyncWait<T::STAGES - 2>();
        __syncthreads();
        slot = slot == T::STAGES - 1 ? 0 : slot + 1;
      }
      // After the last stage this fetches what nobody uses.
      fragments[(step + 1) % 2].fetch(shared + slot * T::STAGE, left, right, (step + 1) % T::STEPS);
      if (step == 0) {
        if (stage + T::STAGES - 1 < stages) feed.load(shared + free * T::STAGE, stage + T::STAGES - 1);
        cpAsyncCommit();
        free = free == T::STAGES - 1 ? 0 : free + 1;
      }
#pragma unroll
      for (int m = 0; m < T::M; m++)
#pragma unroll
        for (int n = 0; n < T::N; n++) multiply(sums[m][n], fragments[step % 2].x[m], fragments[step % 2].w[n]);
    }
  }
  cpAsyncWait<0>();

  const int at = (warpRow * 16 + lane / 4) * T::PITCH + warpOutput * 8 * T::N + lane % 4 * 2;
  if (a.y)
    storeTile<T, float>(a, row, output, sums, shared, at, slice);
  else
    storeTile<T, ValueOf<G>>(a, row, output, sums, shared, at, slice);
}

}  // namespace quamba
