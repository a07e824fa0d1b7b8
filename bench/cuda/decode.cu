/**
 * Milliseconds of a token of the persistent kernel (and of the graph) for the shapes 130m … 2.8b, with weights drawn on the GPU, and
 * a hash of the logits after eight tokens: two builds that should have the same bits print the same.
 *
 *   nvcc -std=c++17 -O3 --fmad=false -prec-div=true -prec-sqrt=true -ftz=false --extended-lambda -arch=sm_90 -I cuda \
 *     bench/cuda/decode.cu cuda/decode.cu cuda/bandwidth.cu -o decode-bench
 *   ./decode-bench [--mode persistent|graph] SHAPE:WEIGHTS:HEAD …     for example 2.8b:i8:i8 2.8b:f16:f16
 */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bandwidth.h"
#include "buffer.h"
#include "decode.h"

namespace quamba {

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

namespace {

constexpr int STATES = 16, TAPS = 4, WARM = 20, TOKENS = 40, ROUNDS = 9, VOCABULARY = 50280;

struct Size {
  int layers, m;
};
const std::map<std::string, Size> sizes = {
    {"130m", {24, 768}}, {"370m", {48, 1024}}, {"790m", {48, 1536}}, {"1.4b", {48, 2048}}, {"2.8b", {64, 2560}}};

/** In [-1, 1), the same for the same seed. */
__device__ float uniform(uint64_t seed, uint64_t i) {
  uint64_t x = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return static_cast<float>(static_cast<int64_t>(x ^ x >> 31)) * 0x1p-63f;
}
template <class F>
__global__ void fillKernel(size_t count, F value) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) value(i);
}

/** The tensors of a model, drawn one after the other. */
class Drawn {
 public:
  float* floats(size_t count, float middle, float reach) {
    return draw<float>(count, [=] __device__(float x) { return middle + reach * x; });
  }
  float* decays(size_t d) {
    float* const a = allocate<float>(d * STATES);
    fillKernel<<<256, 256>>>(d * STATES, [=] __device__(size_t i) { a[i] = -static_cast<float>(i % STATES + 1); });
    return a;
  }
  void* weights(const int8_t*, size_t count, float) {
    return draw<int8_t>(count, [] __device__(float x) { return static_cast<int8_t>(127 * x); });
  }
  void* weights(const __half*, size_t count, float size) {
    return draw<__half>(count, [=] __device__(float x) { return __float2half_rn(127 * size * x); });
  }
  template <class T>
  T* allocate(size_t count) {
    buffers.emplace_back(sizeof(T) * count);
    check(cudaMemset(buffers.back().get(), 0, buffers.back().size()));
    return buffers.back().template get<T>();
  }
  template <class T, class F>
  T* draw(size_t count, F value) {
    T* const to = allocate<T>(count);
    const uint64_t own = seed++ << 40;
    fillKernel<<<1024, 256>>>(count, [=] __device__(size_t i) { to[i] = value(uniform(own, i)); });
    return to;
  }

 private:
  std::vector<Buffer> buffers;
  uint64_t seed = 1;
};

/** One step of a weight for which a product of `inputs` ordinary values is an ordinary value. */
float weightStep(int inputs) { return 1 / (73 * std::sqrt(static_cast<float>(inputs))); }

template <class W>
DecodeModel<W> draw(Drawn& drawn, Size size, TableType head) {
  const int m = size.m, d = 2 * m, r = (m + 15) / 16, n = STATES, k = TAPS;
  const auto matrix = [&](int rows, int columns) {
    return static_cast<const W*>(drawn.weights(static_cast<const W*>(nullptr), static_cast<size_t>(rows) * columns, weightStep(columns)));
  };
  DecodeModel<W> model{};
  model.layers = size.layers, model.m = m, model.d = d, model.n = n, model.k = k, model.r = r, model.v = VOCABULARY, model.places = 1;
  model.hadamard = sizeof(W) == 1;
  for (int i = 0; i < size.layers; i++) {
    Layer<W> l{};
    l.norm = drawn.floats(m, 1, 0.2f), l.eps = 1e-5f;
    l.inProj = matrix(2 * d, m), l.inScale = 4.0f / 127, l.inWeight = weightStep(m);
    l.convInScale = l.gateScale = 4.0f / 127;
    l.convW = drawn.floats(static_cast<size_t>(d) * k, 0, 0.5f), l.convB = drawn.floats(d, 0, 0.1f);
    l.convState = drawn.allocate<float>(static_cast<size_t>(d) * (k - 1));
    l.uScale = 2.0f / 127;
    l.xProj = matrix(r + 2 * n, d), l.xWeight = weightStep(d);
    l.dtLowScale = l.bScale = l.cScale = 2.0f / 127;
    l.dtProj = matrix(d, r), l.dtWeight = weightStep(r), l.dtBias = drawn.floats(d, -4, 1), l.dtScale = 8.0f / 127;
    l.A = drawn.decays(d), l.D = drawn.floats(d, 1, 0.2f);
    l.ssmState = drawn.allocate<float>(static_cast<size_t>(d) * n);
    l.yScale = 2.0f / 127;
    l.outProj = matrix(m, d), l.outWeight = weightStep(d);
    model.layer.push_back(l);
  }
  const size_t table = static_cast<size_t>(VOCABULARY) * m;
  model.embeddingType = TableType::f16;
  model.embedding = drawn.weights(static_cast<const __half*>(nullptr), table, 1.0f / 127);
  model.finalNorm = drawn.floats(m, 1, 0.2f), model.finalEps = 1e-5f;
  model.headType = head;
  model.head = head == TableType::i8 ? drawn.weights(static_cast<const int8_t*>(nullptr), table, 0)
                                     : drawn.weights(static_cast<const __half*>(nullptr), table, weightStep(m));
  model.headInScale = 4.0f / 127, model.headWeight = drawn.floats(VOCABULARY, weightStep(m), 0.1f * weightStep(m));
  model.headWeightEachRow = true;
  model.logits = drawn.allocate<float>(VOCABULARY);
  model.nan = drawn.allocate<NanPlace>(1);
  return model;
}

/** What a token reads: the matrices, and the states twice. */
template <class W>
double bytesOf(const DecodeModel<W>& g) {
  const double layer = (3.0 * g.d * g.m + static_cast<double>(g.r + 2 * g.n) * g.d + static_cast<double>(g.d) * g.r) * sizeof(W) +
                       4.0 * g.d * (g.k + 2 * (g.k - 1) + 3 * g.n);
  return g.layers * layer + static_cast<double>(g.v) * g.m * (g.headType == TableType::i8 ? 1 : 2);
}

uint64_t hashOf(const float* logits) {
  std::vector<uint32_t> host(VOCABULARY);
  check(cudaMemcpy(host.data(), logits, 4 * host.size(), cudaMemcpyDeviceToHost));
  uint64_t hash = 0xcbf29ce484222325ull;
  for (uint32_t word : host) hash = (hash ^ word) * 0x100000001b3ull;
  return hash;
}

template <class W>
void time(const std::string& name, Size size, TableType head, DecodeMode mode, double copy) {
  Drawn drawn;
  const DecodeModel<W> model = draw<W>(drawn, size, head);
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  int32_t tokens[TOKENS];
  for (int i = 0; i < TOKENS; i++) tokens[i] = 1237 * (i + 1) % VOCABULARY;
  int32_t* const there = drawn.allocate<int32_t>(TOKENS);
  check(cudaMemcpy(there, tokens, sizeof tokens, cudaMemcpyHostToDevice));
  check(cudaDeviceSynchronize());
  const std::unique_ptr<Decoder> decoder = makeDecoder(model, mode, stream);
  if (!decoder) {
    std::printf("{\"run\": \"%s\", \"reason\": \"not for these sizes\"}\n", name.c_str());
    return;
  }
  for (int i = 0; i < 8; i++) decoder->step(there + i, 0);
  check(cudaStreamSynchronize(stream));
  const uint64_t hash = hashOf(model.logits);
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> taken;
  for (int i = 0; i < WARM; i++) decoder->step(there + i, 0);
  for (int round = 0; round < ROUNDS; round++) {
    check(cudaEventRecord(begin, stream));
    for (int i = 0; i < TOKENS; i++) decoder->step(there + i, 0);
    check(cudaEventRecord(end, stream));
    check(cudaEventSynchronize(end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end));
    taken.push_back(milliseconds / TOKENS);
  }
  std::sort(taken.begin(), taken.end());
  const double median = taken[ROUNDS / 2], rate = bytesOf(model) / median / 1e6;
  std::printf("{\"run\": \"%s\", \"ms\": %.4f, \"least\": %.4f, \"GBps\": %.0f, \"shareOfCopy\": %.3f, \"hash\": \"%016llx\"}\n", name.c_str(),
              median, taken[0], rate, rate * 1e9 / copy, static_cast<unsigned long long>(hash));
  std::fflush(stdout);
  check(cudaStreamDestroy(stream));
}

int run(int count, char** arguments) {
  DecodeMode mode = DecodeMode::persistent;
  const double copy = measureBandwidth(1ull << 30).copy;
  std::printf("{\"copyGBps\": %.0f}\n", copy / 1e9);
  for (int i = 1; i < count; i++) {
    const std::string word = arguments[i];
    if (word == "--mode") {
      mode = std::string(arguments[++i]) == "graph" ? DecodeMode::graph : DecodeMode::persistent;
      continue;
    }
    const size_t first = word.find(':'), second = word.rfind(':');
    const auto size = sizes.find(word.substr(0, first));
    const std::string weights = word.substr(first + 1, second - first - 1), table = word.substr(second + 1);
    if (size == sizes.end() || (weights != "i8" && weights != "f16") || (table != "i8" && table != "f16")) {
      std::fprintf(stderr, "decode-bench: expected SHAPE:WEIGHTS:HEAD, as 130m:i8:f16; got %s\n", word.c_str());
      return 2;
    }
    const TableType head = table == "i8" ? TableType::i8 : TableType::f16;
    if (weights == "i8") time<int8_t>(word, size->second, head, mode, copy);
    else time<__half>(word, size->second, head, mode, copy);
  }
  return 0;
}

}  // namespace
}  // namespace quamba

int main(int count, char** arguments) {
  try {
    return quamba::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decode-bench: %s\n", error.what());
    return 1;
  }
}
