// Memory of the GPU, and what CUDA answers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

namespace quamba {

/** Fails where CUDA did. */
void check(cudaError_t error);

/** Memory of the GPU. */
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) : bytes(bytes) { check(cudaMalloc(&memory, bytes > 0 ? bytes : 1)); }
  Buffer(Buffer&& other) noexcept : memory(std::exchange(other.memory, nullptr)), bytes(std::exchange(other.bytes, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory, other.memory);
    std::swap(bytes, other.bytes);
    return *this;
  }
  ~Buffer() { cudaFree(memory); }

  template <class T = char>
  T* get() const {
    return static_cast<T*>(memory);
  }
  size_t size() const { return bytes; }

 private:
  void* memory = nullptr;
  size_t bytes = 0;
};

}  // namespace quamba
