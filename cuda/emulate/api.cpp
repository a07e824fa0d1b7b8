// The host's side. All work is done at once, by the call that asks for it; a stream that is captured keeps it for its graph.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "fences.h"
#include "threads.h"

using Work = std::function<cudaError_t()>;
using Clock = std::chrono::steady_clock;

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  CUgraph_st* captured = nullptr;
};
struct CUevent_st {
  Clock::time_point at;
};

namespace emulated {

namespace {

// An sm_87, with few multiprocessors so that cooperative kernels stay small.
constexpr int MULTIPROCESSORS = 3, THREADS = 1536;
constexpr size_t MEMORY = size_t{8} << 30, SHARED = 48 * 1024, SHARED_OPTIN = 163 * 1024, SHARED_ALL = 164 * 1024;

std::recursive_mutex lock;
std::map<char*, size_t> allocations;
std::map<const void*, int> granted;  // dynamic shared memory of kernels that asked for more
size_t allocated = 0;
int captures = 0;
thread_local cudaError_t lastError = cudaSuccess;

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) lastError = error;
  return error;
}

/** What may not be called while a stream is captured. */
cudaError_t outsideOfCaptures() { return noted(captures ? cudaErrorStreamCaptureUnsupported : cudaSuccess); }

void checkFences(const char* memory, size_t bytes) {
  if (!intact(memory - FENCE)) fail("a write before an allocation of %zu bytes", bytes);
  if (!intact(memory + bytes)) fail("a write beyond the end of an allocation of %zu bytes", bytes);
}

/** Whether all of it lies in one allocation. */
bool onDevice(const void* from, size_t bytes) {
  auto* at = static_cast<char*>(const_cast<void*>(from));
  const auto after = allocations.upper_bound(at);
  return after != allocations.begin() && at + bytes <= std::prev(after)->first + std::prev(after)->second;
}

cudaError_t submit(cudaStream_t stream, Work work) {
  if (!stream || !stream->captured) return noted(work());
  stream->captured->work.push_back(std::move(work));
  return cudaSuccess;
}

}  // namespace

int blocksAtOnce(int threads, size_t shared) {
  return std::min(THREADS / ((threads + 31) / 32 * 32), static_cast<int>(SHARED_ALL / (shared + 1024)));
}

cudaError_t setDynamicShared(const void* kernel, int bytes) {
  const std::lock_guard<std::recursive_mutex> only(lock);
  if (bytes < 0 || static_cast<size_t>(bytes) > SHARED_OPTIN) return noted(cudaErrorInvalidValue);
  granted[kernel] = bytes;
  return cudaSuccess;
}

cudaError_t describe(cudaFuncAttributes* attributes, const void* kernel) {
  const std::lock_guard<std::recursive_mutex> only(lock);
  attributes->maxDynamicSharedSizeBytes = granted.count(kernel) ? granted[kernel] : SHARED;
  return cudaSuccess;
}

cudaError_t launch(const char* name, const void* kernel, const Config& config, bool together, std::function<void()> body) {
  const auto [grid, block, shared, stream] = config;
  const size_t threads = size_t{1} * block.x * block.y * block.z, blocks = size_t{1} * grid.x * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || blocks == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return noted(cudaErrorInvalidConfiguration);
  cudaFuncAttributes attributes;
  describe(&attributes, kernel);
  if (shared > (kernel ? attributes.maxDynamicSharedSizeBytes : SHARED_OPTIN)) return noted(cudaErrorInvalidValue);
  if (together && blocks > static_cast<size_t>(MULTIPROCESSORS * blocksAtOnce(static_cast<int>(threads), shared)))
    return noted(cudaErrorCooperativeLaunchTooLarge);
  return submit(stream, [=] {
    const std::lock_guard<std::recursive_mutex> only(lock);
    run(name, config, together, body);
    for (const auto& [memory, bytes] : allocations) checkFences(memory, bytes);
    return cudaSuccess;
  });
}

}  // namespace emulated

using namespace emulated;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorCooperativeLaunchTooLarge: return "too many blocks in cooperative launch";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "an error that is not emulated";
  }
}
cudaError_t cudaPeekAtLastError() { return lastError; }
cudaError_t cudaGetLastError() { return std::exchange(lastError, cudaSuccess); }

cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"CPU emulation", MEMORY, SHARED, SHARED_OPTIN, SHARED_ALL, 8, 7, MULTIPROCESSORS, THREADS, 4 << 20, 1};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  cudaDeviceProp device;
  cudaGetDeviceProperties(&device, 0);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = device.multiProcessorCount; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(device.sharedMemPerBlockOptin); break;
    case cudaDevAttrL2CacheSize: *value = device.l2CacheSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = device.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = device.minor; break;
    case cudaDevAttrCooperativeLaunch: *value = device.cooperativeLaunch; break;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return outsideOfCaptures(); }

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = new CUstream_st, cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return outsideOfCaptures(); }

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const std::lock_guard<std::recursive_mutex> only(lock);
  *memory = nullptr;
  if (const auto error = outsideOfCaptures()) return error;
  if (bytes == 0) return cudaSuccess;
  if (bytes > MEMORY - allocated) return noted(cudaErrorMemoryAllocation);
  auto* fenced = static_cast<char*>(std::aligned_alloc(FENCE, (bytes + 3 * FENCE - 1) / FENCE * FENCE));
  if (!fenced) return noted(cudaErrorMemoryAllocation);
  fence(fenced);
  freshen(fenced + FENCE, bytes);
  fence(fenced + FENCE + bytes);
  *memory = fenced + FENCE;
  allocations[fenced + FENCE] = bytes;
  allocated += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const std::lock_guard<std::recursive_mutex> only(lock);
  if (!memory) return cudaSuccess;
  if (const auto error = outsideOfCaptures()) return error;
  const auto found = allocations.find(static_cast<char*>(memory));
  if (found == allocations.end()) return noted(cudaErrorInvalidValue);
  checkFences(found->first, found->second);
  std::free(found->first - FENCE);
  allocated -= found->second;
  allocations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes);
  return noted(*memory || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) { return std::free(memory), cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return submit(stream, [=] {
    const std::lock_guard<std::recursive_mutex> only(lock);
    const bool toDevice = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool fromDevice = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (bytes > 0 && kind != cudaMemcpyDefault && (onDevice(to, bytes) != toDevice || onDevice(from, bytes) != fromDevice))
      return cudaErrorInvalidValue;
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const auto error = outsideOfCaptures();
  return error ? error : cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return submit(stream, [=] {
    const std::lock_guard<std::recursive_mutex> only(lock);
    if (bytes > 0 && !onDevice(memory, bytes)) return cudaErrorInvalidValue;
    std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) { return cudaMemsetAsync(memory, value, bytes, nullptr); }

cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = new CUevent_st, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return submit(stream, [=] { return event->at = Clock::now(), cudaSuccess; });
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return outsideOfCaptures(); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return *milliseconds = std::chrono::duration<float, std::milli>(end->at - begin->at).count(), cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->captured) return noted(cudaErrorStreamCaptureUnsupported);
  stream->captured = new CUgraph_st;
  captures++;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream || !stream->captured) return noted(cudaErrorInvalidValue);
  *graph = std::exchange(stream->captured, nullptr);
  captures--;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  return *ready = new CUgraphExec_st{graph->work}, cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, CUgraphNode_st**, size_t* count) {
  return *count = graph->work.size(), cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t) {
  for (const auto& work : ready->work)
    if (const auto error = work()) return noted(error);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready) { return delete ready, cudaSuccess; }
