#include "bandwidth.h"

#include <algorithm>
#include <vector>

#include "buffer.h"

namespace quamba {

namespace {

constexpr int PASSES = 7, THREADS = 512;

/** Reads all of it; writes only what no sum is, so that nothing is left out. */
__global__ void __launch_bounds__(THREADS) readKernel(const int4* from, size_t size, int* sink) {
  int sum = 0;
  const size_t stride = static_cast<size_t>(gridDim.x) * THREADS;
#pragma unroll 8
  for (size_t i = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x; i < size; i += stride) {
    const int4 v = from[i];
    sum |= v.x | v.y | v.z | v.w;
  }
  if (sum != 0) *sink = sum;
}

__global__ void __launch_bounds__(THREADS) copyKernel(const int4* from, int4* to, size_t size) {
  const size_t stride = static_cast<size_t>(gridDim.x) * THREADS;
#pragma unroll 8
  for (size_t i = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x; i < size; i += stride) to[i] = from[i];
}

class Event {
 public:
  Event() { check(cudaEventCreate(&event)); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event; }

 private:
  cudaEvent_t event;
};

/** Median seconds of a pass, after one to warm up. */
template <class F>
double seconds(F pass) {
  const Event begin, end;
  std::vector<float> taken;
  for (int i = 0; i <= PASSES; i++) {
    check(cudaEventRecord(begin));
    pass();
    check(cudaEventRecord(end));
    check(cudaEventSynchronize(end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end));
    if (i > 0) taken.push_back(milliseconds);
  }
  std::sort(taken.begin(), taken.end());
  return taken[taken.size() / 2] / 1000;
}

}  // namespace

Bandwidth measureBandwidth(uint64_t bytes) {
  const size_t size = std::max<size_t>(bytes / sizeof(int4), 1);
  const Buffer from(size * sizeof(int4)), to(size * sizeof(int4)), sink(sizeof(int));
  check(cudaMemset(from.get(), 0, from.size()));
  int multiprocessors = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  const int blocks = 4 * multiprocessors;
  const double read = seconds([&] { readKernel<<<blocks, THREADS>>>(from.get<int4>(), size, sink.get<int>()); });
  const double copy = seconds([&] { copyKernel<<<blocks, THREADS>>>(from.get<int4>(), to.get<int4>(), size); });
  check(cudaGetLastError());
  const double moved = static_cast<double>(size * sizeof(int4));
  return {moved / read, 2 * moved / copy};
}

}  // namespace quamba
