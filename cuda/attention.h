// The op attention, over the keys and values that a text has in its pages.
#pragma once

#include "cache.h"

namespace quamba {

/** Values of a page that attention needs while it runs, for each head: so many, and one for each of its channels. */
constexpr size_t HEAD_SCRATCH = PAGE + 1;

struct Attention {
  const float *q, *k, *v;
  float* y;
  float scale;
  int h;
  Cache keys, values;
  Turns turns;  // with their list, for its pages
};

/** The pages have room for the keys and values of this call, which are kept there. */
void launchAttention(cudaStream_t stream, const Attention& a);

}  // namespace quamba
