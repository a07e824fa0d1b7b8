// The phase `select`: x_proj, whose rows are dt before its own matrix, B and C.
#pragma once

#include "decode-product.cuh"
#include "decode-words.cuh"

namespace quamba {

template <class W, class Weights>
__device__ void selectPhase(const Decode<W>& g, int i, Own<W>& own, char* memory, Weights& weights) {
  using Sum = typename Operand<W>::Sum;
  const Prepared<W>& layer = own.layer[i & 1];
  const Slab& slab = own.slab[SELECT];
  if (slab.rows == 0) return;
  Sum* sums = reinterpret_cast<Sum*>(memory + g.at.sums);
  Operand<W> x(memory + g.at.operand);

  hearAll<12 / PACKED<W>>(g.of(g.u, g.d / PACKED<W>, i), g.d / PACKED<W>, g.tagOf(i),
                    [&](int j, uint32_t a, uint32_t b) { x.putWords(PACKED<W> * j, a, b); });
  __syncthreads();
  multiply(own, SELECT, weights, x, sums);
#pragma unroll 1
  for (int row = threadIdx.x; row < slab.rows; row += DECODE_THREADS) {
    const int o = slab.first + row;
    const int part = o < g.r ? 0 : o < g.r + g.n ? 1 : 2, place = o - (part == 0 ? 0 : part == 1 ? g.r : g.r + g.n);
    const Site<W> site(part == 0 ? layer.dtLow : part == 1 ? layer.B : layer.C, g.nan);
    const float value = Operand<W>::real(sumOf(slab, row, sums), layer.xReal);
    tell(g.of(g.low, g.r + 2 * g.n, i) + o, site.word(value, place), g.tagOf(i));
  }
}

}  // namespace quamba
