// What later phases read, on its way into L2 while this one waits for other blocks.
#pragma once

#include "decode-shape.cuh"
#include "ptx.cuh"

namespace quamba {

/** By a whole block. */
__device__ inline void prefetchAll(const void* from, int bytes) {
#pragma unroll 1
  for (int at = threadIdx.x * SEGMENT; at < bytes; at += DECODE_THREADS * SEGMENT)
    prefetchL2(static_cast<const char*>(from) + at);
}

/** Where matrix `index` of the model lies. */
template <class W>
__device__ const char* matrixAt(const Decode<W>& g, const char* memory, int index) {
  return reinterpret_cast<const char* const*>(memory + g.at.matrices)[index];
}

/** What this block multiplies by in a phase. */
template <class W>
__device__ void prefetchMatrix(const Decode<W>& g, const Own<W>& own, const char* memory, int layer, int phase) {
  const Slab& slab = own.slab[phase];
  if (!g.ahead) return;
  const int stride = slab.segments * SEGMENT, parts = phase == INPUT ? 2 : 1, bytes = slab.rows / parts * stride;
  const char* from = matrixAt(g, memory, MATRICES * layer + phase) + static_cast<size_t>(slab.first) * stride;
  for (int part = 0; part < parts; part++) prefetchRegion(from + static_cast<size_t>(part * g.d) * stride, bytes);
}

}  // namespace quamba
