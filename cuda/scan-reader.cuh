// A tile of the scan's inputs: from the stored values in memory to real numbers in shared memory.
#pragma once

#include "stored.cuh"

namespace quamba {

/** Tokens of a tile. */
constexpr int SCAN_TILE = 12;

/** The inputs of a tile as real numbers, in shared memory. */
struct ScanTile {
  float *steps, *inputs, *us, *gates;  // [tokens, channels]; inputs: dt · u, gates: silu(z)
  float *B, *C;                        // [tokens, 4, 4]: state 4 i + lane at [lane, i]

  static constexpr __host__ __device__ int size(int channels) { return SCAN_TILE * (4 * channels + 32); }
  __device__ ScanTile(float* at, int channels)
      : steps(at),
        inputs(steps + SCAN_TILE * channels),
        us(inputs + SCAN_TILE * channels),
        gates(us + SCAN_TILE * channels),
        B(gates + SCAN_TILE * channels),
        C(B + SCAN_TILE * 16) {}
};

/** Values of int8, of which there are only 256: what softplus and silu make of each. */
struct ScanTables {
  float steps[256], gates[256];
};

/** Reads a thread's item of a tile: four channels of a token, or a token's B or C. A negative item is nothing. */
template <class T, class Y>
class ScanReader {
 public:
  __device__ ScanReader(const ScanStored<T, Y>& a, const ScanTables* tables, const Turn& turn, int first, int channels, int item)
      : a(a), tables(tables), channels(channels), count(turn.count), row(turn.row) {
    const int quads = channels / 4, rows = item - SCAN_TILE * quads;
    kind = item < 0 ? NOTHING : rows < 0 ? FOUR : rows < 2 * SCAN_TILE ? (rows % 2 ? OF_C : OF_B) : NOTHING;
    token = rows < 0 ? item / quads : rows / 2;
    column = 4 * (item % quads);
    channel = first + column;
    aligned = a.d % 4 == 0;
    scale = scaleOf(kind == OF_B ? a.B : kind == OF_C ? a.C : a.u);
  }

  __device__ void fetch(int tile) {
    const int t = tile * SCAN_TILE + token;
    if (kind == NOTHING || t >= count) return;
    if (kind == FOUR) {
      const size_t at = static_cast<size_t>(row + t) * a.d + channel;
      dt = four(a.dt.data + at);
      u = four(a.u.data + at);
      if (a.z.data) z = four(a.z.data + at);
    } else {
      sixteen = loadPack<16>((kind == OF_B ? a.B.data : a.C.data) + static_cast<size_t>(row + t) * 16);
    }
  }

  /** A token after the last leaves a state as it is: its decay is 1, to which it adds −0 · 0. */
  __device__ void keep(int tile, const ScanTile& to) const {
    const bool real = tile * SCAN_TILE + token < count;
    if (kind == FOUR) {
      Pack<float, 4> step{}, input, plain{}, gate{};
#pragma unroll
      for (int v = 0; v < 4; v++) {
        input.at[v] = -0.0f;
        if (!real) continue;
        step.at[v] = stepOf(dt.at[v]);
        plain.at[v] = restored(u.at[v], scale);
        input.at[v] = mul(step.at[v], plain.at[v]);
        if (a.z.data) gate.at[v] = gateOf(z.at[v]);
      }
      const int at = token * channels + column;
      storePack(to.steps + at, step);
      storePack(to.inputs + at, input);
      storePack(to.us + at, plain);
      storePack(to.gates + at, gate);
    } else if (kind != NOTHING) {
      float* rows = (kind == OF_B ? to.B : to.C) + 16 * token;
#pragma unroll
      for (int lane = 0; lane < 4; lane++) {
        Pack<float, 4> values;
#pragma unroll
        for (int i = 0; i < 4; i++) values.at[i] = real ? restored(sixteen.at[4 * i + lane], scale) : 0.0f;
        storePack(rows + 4 * lane, values);
      }
    }
  }

 private:
  enum Kind { FOUR, OF_B, OF_C, NOTHING };
  const ScanStored<T, Y>& a;
  const ScanTables* tables;
  const int channels, count, row;
  Kind kind;
  int token, column, channel;
  bool aligned;
  float scale;
  Pack<T, 4> dt, u, z;
  Pack<T, 16> sixteen;

  __device__ Pack<T, 4> four(const T* from) const {
    Pack<T, 4> pack{};
    if (aligned && channel < a.d) return loadPack<4>(from);
    for (int v = 0; v < 4; v++)
      if (channel + v < a.d) pack.at[v] = from[v];
    return pack;
  }
  __device__ float stepOf(T x) const {
    if constexpr (sizeof(T) == 1) return tables->steps[static_cast<uint8_t>(x)];
    else return a.softplus ? softplus(widen(x)) : widen(x);
  }
  __device__ float gateOf(T x) const {
    if constexpr (sizeof(T) == 1) return tables->gates[static_cast<uint8_t>(x)];
    else return silu(widen(x));
  }
};

}  // namespace quamba
