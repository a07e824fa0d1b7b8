#include "constants.h"

#include <cuda_fp16.h>

#include <set>

#include "ops.h"

namespace quamba {

namespace {

/** The f32 constants that are the matrix of a `linear` or `embedding`, and nothing else. */
std::set<std::string> matrices(const Plan& plan) {
  std::set<std::string> found, other;
  for (const auto& node : plan.nodes)
    for (const auto& op : node.body)
      for (const auto& [key, ref] : op.in)
        (key == "w" && (op.name == "linear" || op.name == "embedding") ? found : other).insert(ref);
  for (const auto& ref : other) found.erase(ref);
  return found;
}

/** to = from as f16; *lost is set where that is not the same value. */
__global__ void narrowKernel(const float* from, __half* to, size_t size, int* lost) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += stride) {
    to[i] = __float2half_rn(from[i]);
    if (__float_as_uint(__half2float(to[i])) != __float_as_uint(from[i])) *lost = 1;
  }
}

/** f32 values as f16, where that is exact, or always where `rounded`; else nothing. */
Buffer narrowed(const Buffer& values, size_t size, bool rounded, cudaStream_t stream) {
  Buffer narrow(size * sizeof(__half)), lost(sizeof(int));
  int any = 0;
  check(cudaMemsetAsync(lost.get(), 0, lost.size(), stream));
  narrowKernel<<<1024, 256, 0, stream>>>(values.get<float>(), narrow.get<__half>(), size, lost.get<int>());
  check(cudaGetLastError());
  check(cudaMemcpyAsync(&any, lost.get(), sizeof any, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  return any && !rounded ? Buffer() : std::move(narrow);
}

Constant uploaded(const quamba_tensor& tensor, const Type& type, bool mayNarrow, bool f16, cudaStream_t stream) {
  Constant constant;
  constant.type = type;
  if (type.dtype == QUAMBA_F32 && type.size() == 1) constant.value = *static_cast<const float*>(tensor.data);
  constant.memory = Buffer(type.bytes());
  check(cudaMemcpyAsync(constant.memory.get(), tensor.data, type.bytes(), cudaMemcpyHostToDevice, stream));
  check(cudaStreamSynchronize(stream));
  if (!mayNarrow) return constant;
  Buffer narrow = narrowed(constant.memory, static_cast<size_t>(type.size()), f16, stream);
  constant.half = narrow.size() > 0;
  if (constant.half) constant.memory = std::move(narrow);
  return constant;
}

/** The outputs of an op on constants. */
void fold(const OpNode& node, const Plan& plan, Constants& constants, cudaStream_t stream) {
  Resident on{};
  on.stream = stream;
  const Buffer nan(sizeof(NanPlace));
  on.nan = nan.get<NanPlace>();
  std::vector<quamba_tensor> inputs, outputs;
  const auto tensor = [](const std::string& key, const Constant& c) {
    quamba_tensor t{key.c_str(), c.type.dtype, static_cast<int32_t>(c.type.shape.size()), {}, c.memory.get()};
    for (size_t i = 0; i < c.type.shape.size(); i++) t.shape[i] = c.type.shape[i];
    return t;
  };
  for (const auto& [key, ref] : node.in) {
    inputs.push_back(tensor(key, constants.at(ref)));
    on.inputs[key] = inputs.back().data;
  }
  for (const auto& [key, ref] : node.out) {
    Constant& made = constants[ref];
    made.type = plan.type(ref);
    made.memory = Buffer(made.type.bytes());
    outputs.push_back(tensor(key, made));
    on.outputs[key] = made.memory.get();
  }
  const auto attributes = attributesOf(node);
  const Call call(signatureOf(node.op), inputs.data(), static_cast<int32_t>(inputs.size()), attributes.data(),
                  static_cast<int32_t>(attributes.size()), outputs.data(), static_cast<int32_t>(outputs.size()));
  OPS[node.op].constraints(call);
  OPS[node.op].run(call, on);
  check(cudaGetLastError());
  check(cudaStreamSynchronize(stream));
}

}  // namespace

Constants uploadConstants(Plan& plan, const std::map<std::string, const quamba_tensor*>& given, bool f16, cudaStream_t stream) {
  const std::set<std::string> narrow = matrices(plan);
  Constants constants;
  for (const auto& ref : plan.weights) {
    const Type& type = plan.type(ref);
    const bool mayNarrow = type.dtype == QUAMBA_F32 && narrow.count(ref);
    constants[ref] = uploaded(*given.at(ref), type, mayNarrow, f16, stream);
  }

  std::vector<Node> rest;
  for (auto& node : plan.nodes) {
    bool constant = node.fused.empty() && node.body[0].states.empty();
    for (const auto& [key, ref] : node.body[0].in) constant &= constants.count(ref) > 0 && !constants.at(ref).half;
    if (constant) fold(node.body[0], plan, constants, stream);
    else rest.push_back(std::move(node));
  }
  plan.nodes = std::move(rest);

  std::set<std::string> read;
  for (const auto& node : plan.nodes)
    for (const auto& op : node.body)
      for (const auto& [key, ref] : op.in) read.insert(ref);
  for (auto it = constants.begin(); it != constants.end();) it = read.count(it->first) ? std::next(it) : constants.erase(it);
  return constants;
}

}  // namespace quamba
