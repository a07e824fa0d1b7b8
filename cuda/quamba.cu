// The edge of the library: what quamba.h declares. Failures become codes and texts here.
#include "quamba.h"

#include <cstring>
#include <exception>
#include <new>

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

const std::vector<Signature>& signatures() {
  static const std::vector<Signature> all = [] {
    std::vector<Signature> list;
    for (int i = 0; i < OP_COUNT; i++) list.emplace_back(OPS[i].text);
    return list;
  }();
  return all;
}

int indexOf(const std::string& name) {
  for (int i = 0; i < OP_COUNT; i++)
    if (signatures()[i].name == name) return i;
  throw Failure(QUAMBA_UNKNOWN_OP, "no op '" + name + "'");
}

void reportNaN(const Call& call, NanPlace place) {
  const NanPlace n = static_cast<NanPlace>(call.dim("n"));
  throw Failure(QUAMBA_BAD_VALUE,
                call.name + " C2: x must not hold NaN; got NaN at [" + std::to_string(place / n) + ", " +
                    std::to_string(place % n) + "]",
                static_cast<int64_t>(place));
}

void runOnDevice(const Op& op, const Call& call) {
  static const cudaDeviceProp device = usableDevice();  // once it has succeeded
  static_cast<void>(device);
  Resident on{};
  for (const auto& [name, t] : call.inputs) {
    const Buffer& buffer = on.inputs.try_emplace(name, bytesOf(*t)).first->second;
    check(cudaMemcpyAsync(buffer.get(), t->data, bytesOf(*t), cudaMemcpyHostToDevice, on.stream));
  }
  for (const auto& [name, t] : call.outputs) on.outputs.try_emplace(name, bytesOf(*t));
  NanPlace nan = NO_NAN;
  const Buffer place(sizeof nan);
  on.nan = static_cast<NanPlace*>(place.get());
  check(cudaMemcpyAsync(on.nan, &nan, sizeof nan, cudaMemcpyHostToDevice, on.stream));
  op.run(call, on);
  check(cudaGetLastError());
  check(cudaMemcpyAsync(&nan, on.nan, sizeof nan, cudaMemcpyDeviceToHost, on.stream));
  check(cudaStreamSynchronize(on.stream));
  if (nan != NO_NAN) reportNaN(call, nan);
  for (const auto& [name, t] : call.outputs)
    check(cudaMemcpy(t->data, on.outputs.at(name).get(), bytesOf(*t), cudaMemcpyDeviceToHost));
}

}  // namespace

}  // namespace quamba

using namespace quamba;

int32_t quamba_abi(void) { return QUAMBA_ABI; }

const char* quamba_built_for(void) { return builtFor().c_str(); }

const char* quamba_error(void) { return lastError.c_str(); }

int64_t quamba_error_index(void) { return lastIndex; }

quamba_status quamba_device(quamba_device_info* info) {
  return guarded([&] {
    const cudaDeviceProp device = usableDevice();
    std::memset(info, 0, sizeof *info);
    std::strncpy(info->name, device.name, sizeof info->name - 1);
    info->sm = device.major * 10 + device.minor;
    info->multiprocessors = device.multiProcessorCount;
    info->memory = device.totalGlobalMem;
  });
}

const char* quamba_op_signature(int32_t index) { return index >= 0 && index < OP_COUNT ? OPS[index].text : nullptr; }

quamba_status quamba_op(
    const char* name, const quamba_tensor* inputs, int32_t input_count, const quamba_attribute* attributes,
    int32_t attribute_count, const quamba_tensor* outputs, int32_t output_count) {
  return guarded([&] {
    const int index = indexOf(name ? name : "");
    const Call call(signatures()[index], inputs, input_count, attributes, attribute_count, outputs, output_count);
    OPS[index].constraints(call);
    runOnDevice(OPS[index], call);
  });
}
