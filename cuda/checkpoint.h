// A quantized checkpoint (src/quant/checkpoint.ts): a safetensors file whose metadata holds the plan.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "call.h"

namespace quamba {

struct Checkpoint {
  std::string graph;
  std::vector<quamba_tensor> tensors;  // F32 and I8 in the bytes of the file where they are aligned, the others copied

  // what the tensors point to
  std::deque<std::string> names;
  std::deque<std::vector<float>> widened;
};

Checkpoint readCheckpoint(const void* bytes, uint64_t size);

}  // namespace quamba
