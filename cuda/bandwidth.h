// What memory of the GPU gives: the ceiling of decoding.
#pragma once

#include <cstdint>

namespace quamba {

/** Bytes per second; a copy counts what it reads and what it writes. */
struct Bandwidth {
  double read, copy;
};

/** Medians over a few passes over so many bytes. */
Bandwidth measureBandwidth(uint64_t bytes);

}  // namespace quamba
