// Finds in a plan the layers of Mamba that decode.h runs.
#pragma once

#include <optional>

#include "decode.h"
#include "steps.h"

namespace quamba {

/** Nothing where the plan is of another shape: W = int8_t for W8A8 with static scales, __half for a float plan kept as f16. */
template <class W>
std::optional<DecodeModel<W>> match(const Plan& plan, const Constants& constants, const States& states);

}  // namespace quamba
