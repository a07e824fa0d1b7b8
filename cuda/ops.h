// The list of the ops: the signature of each, what it demands beyond it, and how it runs on memory of the GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "buffer.h"
#include "call.h"
#include "nan-place.h"

namespace quamba {

/** The tensors of a call in memory of the GPU, by the name of the input or output. */
struct Resident {
  std::map<std::string, void*> inputs, outputs;
  /** Where a kernel notes the first NaN that it was to quantize. */
  NanPlace* nan;
  cudaStream_t stream;

  /** Null where it is left out. */
  template <class T>
  const T* in(const char* name) const {
    const auto at = inputs.find(name);
    return at == inputs.end() ? nullptr : static_cast<const T*>(at->second);
  }
  template <class T>
  T* out(const char* name) const {
    return static_cast<T*>(outputs.at(name));
  }
};

struct Op {
  /** As quamba_op_signature gives it. */
  const char* text;
  void (*constraints)(const Call&);
  void (*run)(const Call&, const Resident&);
};

extern const Op OPS[];
extern const int OP_COUNT;

}  // namespace quamba
