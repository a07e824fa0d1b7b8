// Memory that shows mistakes: new bytes are NaN or −1, and what lies around them is no sensible number either and must stay.
#pragma once

#include <cstddef>
#include <cstring>

namespace emulated {

constexpr size_t FENCE = 256;

inline void freshen(char* memory, size_t bytes) { std::memset(memory, 0xff, bytes); }

inline void fence(char* at) { std::memset(at, 0xfb, FENCE); }

inline bool intact(const char* fence) {
  for (size_t i = 0; i < FENCE; i++)
    if (fence[i] != '\xfb') return false;
  return true;
}

}  // namespace emulated
