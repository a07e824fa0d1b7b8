// The constants of a plan in memory of the GPU, by name.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "buffer.h"
#include "plan.h"

namespace quamba {

struct Constant {
  Type type;
  /** f32 values that are kept as f16, since each of them is one, or since the F16 engine wants them so. */
  bool half = false;
  /** Of a single value. */
  float value = 0;
  Buffer memory;

  size_t bytes() const { return memory.size(); }
};

using Constants = std::map<std::string, Constant>;

/**
 * Uploads what was given, with what the plan makes of constants alone (A = −exp(A_log), a dequantized weight), whose nodes it takes out
 * of the plan. f32 matrices that only `linear` and `embedding` read become f16 where that is exact, or always where `f16`.
 */
Constants uploadConstants(Plan& plan, const std::map<std::string, const quamba_tensor*>& given, bool f16, cudaStream_t stream);

}  // namespace quamba
