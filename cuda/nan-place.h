// Where a kernel that quantizes met a NaN, which is an error in the reference.
#pragma once

namespace quamba {

/** The least place of one in the flattened tensor; NO_NAN where there was none. */
using NanPlace = unsigned long long;
constexpr NanPlace NO_NAN = ~0ull;

}  // namespace quamba
