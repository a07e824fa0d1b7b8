// The edge of the library: what quamba.h declares. Failures become codes and texts here.
#include "quamba.h"

#include <cstring>
#include <exception>
#include <new>

#include "bandwidth.h"
#include "checkpoint.h"
#include "context.h"
#include "ops.h"

namespace quamba {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // it has been seen
  if (error == cudaErrorMemoryAllocation) throw Failure(QUAMBA_OUT_OF_MEMORY, "the GPU has too little free memory");
  throw Failure(QUAMBA_CUDA_ERROR, std::string("CUDA: ") + cudaGetErrorString(error));
}

namespace {

thread_local std::string lastError;
thread_local int64_t lastIndex = -1;

/** Runs f; what it throws becomes the status, and the text of quamba_error. */
template <class F>
quamba_status guarded(F f) {
  const auto failed = [](quamba_status status, const char* text, int64_t index) {
    lastError = text;
    lastIndex = index;
    return status;
  };
  try {
    f();
    return QUAMBA_OK;
  } catch (const Failure& failure) {
    return failed(failure.status, failure.what(), failure.index);
  } catch (const std::bad_alloc&) {
    return failed(QUAMBA_OUT_OF_MEMORY, "the host has too little free memory", -1);
  } catch (const std::exception& error) {
    return failed(QUAMBA_WRONG_CALL, error.what(), -1);
  }
}

/** "sm_80 sm_87", of the architectures that the compiler was asked for. */
const std::string& builtFor() {
  static const std::string text = [] {
    std::string list;
    for (const int arch : {__CUDA_ARCH_LIST__}) list += (list.empty() ? "sm_" : " sm_") + std::to_string(arch / 10);
    return list;
  }();
  return text;
}

std::string cudaVersion(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

__global__ void probe() {}

cudaDeviceProp usableDevice() {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) throw Failure(QUAMBA_NO_DRIVER, "no NVIDIA driver");
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver)
    throw Failure(QUAMBA_NO_DRIVER, "the NVIDIA driver is for CUDA " + cudaVersion(driver) + ", the library needs " +
                                        cudaVersion(CUDART_VERSION));
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    throw Failure(QUAMBA_NO_DEVICE, "the NVIDIA driver shows no GPU");
  check(error);
  cudaDeviceProp device;
  check(cudaGetDeviceProperties(&device, 0));
  cudaFuncAttributes attributes;
  switch (const cudaError_t missing = cudaFuncGetAttributes(&attributes, probe)) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
      cudaGetLastError();
      throw Failure(QUAMBA_WRONG_DEVICE,
                    "built for " + builtFor() + ", the device is sm_" + std::to_string(device.major * 10 + device.minor));
    default:
      check(missing);
  }
  return device;
}

/** The device, once it has proved to be usable. */
const cudaDeviceProp& device() {
  static const cudaDeviceProp found = usableDevice();
  return found;
}

void reportNaN(const Call& call, NanPlace place) {
  const NanPlace n = static_cast<NanPlace>(call.dim("n"));
  throw Failure(QUAMBA_BAD_VALUE,
                call.name + " C2: x must not hold NaN; got NaN at [" + std::to_string(place / n) + ", " +
                    std::to_string(place % n) + "]",
                static_cast<int64_t>(place));
}

void runOnDevice(const Op& op, const Call& call) {
  device();
  std::map<std::string, Buffer> inputs, outputs;
  Resident on{};
  for (const auto& [name, t] : call.inputs) {
    const Buffer& buffer = inputs.try_emplace(name, bytesOf(*t)).first->second;
    check(cudaMemcpyAsync(buffer.get(), t->data, bytesOf(*t), cudaMemcpyHostToDevice, on.stream));
    on.inputs[name] = buffer.get();
  }
  for (const auto& [name, t] : call.outputs) on.outputs[name] = outputs.try_emplace(name, bytesOf(*t)).first->second.get();
  NanPlace nan = NO_NAN;
  const Buffer place(sizeof nan);
  on.nan = place.get<NanPlace>();
  check(cudaMemcpyAsync(on.nan, &nan, sizeof nan, cudaMemcpyHostToDevice, on.stream));
  op.run(call, on);
  check(cudaGetLastError());
  check(cudaMemcpyAsync(&nan, on.nan, sizeof nan, cudaMemcpyDeviceToHost, on.stream));
  check(cudaStreamSynchronize(on.stream));
  if (nan != NO_NAN) reportNaN(call, nan);
  for (const auto& [name, t] : call.outputs)
    check(cudaMemcpy(t->data, on.outputs.at(name), bytesOf(*t), cudaMemcpyDeviceToHost));
}

quamba_context* opened(const std::string& graph, const quamba_tensor* weights, int32_t count, const quamba_options* options) {
  device();
  const quamba_options defaults{};
  return reinterpret_cast<quamba_context*>(new Context(graph, weights, count, options ? *options : defaults));
}

Context& contextOf(quamba_context* context) {
  if (!context) throw Failure(QUAMBA_WRONG_CALL, "context is NULL");
  return *reinterpret_cast<Context*>(context);
}

const Context& contextOf(const quamba_context* context) { return contextOf(const_cast<quamba_context*>(context)); }

}  // namespace

}  // namespace quamba

using namespace quamba;

int32_t quamba_abi(void) { return QUAMBA_ABI; }

const char* quamba_built_for(void) { return builtFor().c_str(); }

const char* quamba_error(void) { return lastError.c_str(); }

int64_t quamba_error_index(void) { return lastIndex; }

quamba_status quamba_device(quamba_device_info* info) {
  return guarded([&] {
    const cudaDeviceProp& found = device();
    std::memset(info, 0, sizeof *info);
    std::strncpy(info->name, found.name, sizeof info->name - 1);
    info->sm = found.major * 10 + found.minor;
    info->multiprocessors = found.multiProcessorCount;
    info->memory = found.totalGlobalMem;
  });
}

const char* quamba_op_signature(int32_t index) { return index >= 0 && index < OP_COUNT ? OPS[index].text : nullptr; }

quamba_status quamba_op(
    const char* name, const quamba_tensor* inputs, int32_t input_count, const quamba_attribute* attributes,
    int32_t attribute_count, const quamba_tensor* outputs, int32_t output_count) {
  return guarded([&] {
    const int index = opNamed(name ? name : "");
    const Call call(signatureOf(index), inputs, input_count, attributes, attribute_count, outputs, output_count);
    OPS[index].constraints(call);
    runOnDevice(OPS[index], call);
  });
}

quamba_status quamba_open(
    const char* graph, const quamba_tensor* weights, int32_t weight_count, const quamba_options* options,
    quamba_context** context) {
  return guarded([&] { *context = opened(graph ? graph : "", weights, weight_count, options); });
}

quamba_status quamba_open_checkpoint(
    const void* bytes, uint64_t size, const quamba_options* options, quamba_context** context) {
  return guarded([&] {
    const Checkpoint checkpoint = readCheckpoint(bytes, size);
    const auto& tensors = checkpoint.tensors;
    *context = opened(checkpoint.graph, tensors.data(), static_cast<int32_t>(tensors.size()), options);
  });
}

void quamba_close(quamba_context* context) { delete reinterpret_cast<Context*>(context); }

quamba_status quamba_context_describe(const quamba_context* context, quamba_context_info* info) {
  return guarded([&] { *info = contextOf(context).info(); });
}

quamba_status quamba_feed(quamba_context* context, const quamba_turn* turns, int32_t count, int32_t which) {
  return guarded([&] { contextOf(context).feed(turns, count, which == QUAMBA_LAST); });
}

quamba_status quamba_wait(quamba_context* context) {
  return guarded([&] { contextOf(context).wait(); });
}

quamba_status quamba_state_tensor(const quamba_context* context, int32_t index, quamba_tensor* tensor) {
  return guarded([&] { *tensor = contextOf(context).state(index); });
}

quamba_status quamba_get_state(quamba_context* context, int32_t sequence, const quamba_tensor* tensors, int32_t count) {
  return guarded([&] { contextOf(context).getState(sequence, tensors, count); });
}

quamba_status quamba_set_state(quamba_context* context, int32_t sequence, const quamba_tensor* tensors, int32_t count) {
  return guarded([&] { contextOf(context).setState(sequence, tensors, count); });
}

quamba_status quamba_copy_state(quamba_context* context, int32_t from, int32_t to) {
  return guarded([&] { contextOf(context).copyState(from, to); });
}

quamba_status quamba_bandwidth(uint64_t bytes, double* read, double* copy) {
  return guarded([&] {
    device();
    const Bandwidth measured = measureBandwidth(bytes);
    *read = measured.read;
    *copy = measured.copy;
  });
}
