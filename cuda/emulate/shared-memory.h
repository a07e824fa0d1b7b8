// The shared memory of one block.
#pragma once

#include <vector>

#include "fences.h"
#include "threads.h"

namespace emulated {

constexpr size_t MOST_STATIC = 48 * 1024, MOST_SHARED = 163 * 1024;

class SharedMemory {
 public:
  /** For a new block, whose launch asks for so many bytes. */
  void reset(size_t bytes) {
    variables.clear();
    used = 0;
    dynamic = bytes;
    find(DYNAMIC, bytes, 16);
  }
  void* start() const { return variables.front().at; }

  /** Where the variable of a declaration lies, from the first time on that a thread comes to it. */
  void* find(int declaration, size_t bytes, size_t alignment) {
    for (const auto& variable : variables)
      if (variable.declaration == declaration && variable.bytes == bytes) return variable.at;
    variables.push_back({declaration, bytes, allot(bytes, alignment)});
    return variables.back().at;
  }

  bool isIntact() const {
    for (const auto& variable : variables)
      if (!intact(variable.at + variable.bytes)) return false;
    return true;
  }

 private:
  static constexpr int DYNAMIC = -1;
  struct Variable {
    int declaration;
    size_t bytes;  // those of one template are told apart by it
    char* at;
  };

  /** Aligned no better than it must be, so that luck does not help. */
  char* allot(size_t bytes, size_t alignment) {
    const auto base = reinterpret_cast<size_t>(memory.data());
    size_t at = (base + used + alignment - 1) / alignment * alignment;
    if (alignment < 16 && at % 16 == 0) at += alignment;
    used = at - base + bytes + FENCE;
    const size_t without = used - (variables.size() + 1) * FENCE;
    if (used > memory.size() || without > MOST_SHARED || without - dynamic > MOST_STATIC + 256)
      fail("too much shared memory: %zu bytes, of which the launch says %zu", without, dynamic);
    auto* place = reinterpret_cast<char*>(at);
    freshen(place, bytes);
    fence(place + bytes);
    return place;
  }

  std::vector<char> memory = std::vector<char>(MOST_SHARED + 64 * FENCE);
  std::vector<Variable> variables;
  size_t used, dynamic;
};

}  // namespace emulated
