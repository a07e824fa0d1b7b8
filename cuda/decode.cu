// One token as four phases a layer: all in one cooperative kernel, or as kernels of their own in a CUDA graph.
#include "decode.h"

#include <algorithm>
#include <cmath>

#include "buffer.h"
#include "decode-head.cuh"
#include "decode-output.cuh"
#include "decode-scan.cuh"
#include "decode-select.cuh"

namespace quamba {

namespace {

/** What the host says of a layer, on its way into shared memory. */
template <class W>
class LayerCopy {
 public:
  __device__ LayerCopy(const Decode<W>& g, int i) : i(i), real(i < g.layers && threadIdx.x < SIZE) {
    if (real) part = reinterpret_cast<const uint2*>(g.layer + i)[threadIdx.x];
  }
  /** The caller synchronizes. */
  __device__ void to(Own<W>& own) const {
    if (real) reinterpret_cast<uint2*>(&own.layer[i & 1])[threadIdx.x] = part;
  }

 private:
  static constexpr int SIZE = sizeof(Prepared<W>) / sizeof(uint2);
  static_assert(sizeof(Prepared<W>) % sizeof(uint2) == 0 && SIZE <= DECODE_THREADS, "a thread copies 8 bytes");
  const int i;
  const bool real;
  uint2 part;
};

/** Once for each kernel, by a whole block. The caller synchronizes. */
template <class W>
__device__ void findMatrices(const Decode<W>& g, char* memory) {
  for (int i = threadIdx.x; i <= MATRICES * g.layers; i += DECODE_THREADS)
    reinterpret_cast<const void**>(memory + g.at.matrices)[i] = g.matrices[i];
}

template <class W>
__global__ void __launch_bounds__(DECODE_THREADS, 1) decodeToken(const __grid_constant__ Decode<W> g) {
  extern __shared__ __align__(16) char memory[];
  __shared__ Own<W> own;
  own.divide(g);
  findMatrices(g, memory);
  LayerCopy<W>(g, 0).to(own);
  __syncthreads();
  WeightStream<W> weights(g, own, memory, 0, MATRICES * g.layers + 1);
  for (int i = 0; i < g.layers; i++) {
    inputPhase(g, i, own, memory, weights);
    const LayerCopy<W> next(g, i + 1);
    selectPhase(g, i, own, memory, weights);
    scanPhase(g, i, own);
    next.to(own);
    outputPhase(g, i, own, memory, weights);
  }
  headPhase(g, own, memory, weights);
}

template <class W, int PHASE>
__global__ void __launch_bounds__(DECODE_THREADS, 1) decodePhase(const __grid_constant__ Decode<W> g, int i) {
  extern __shared__ __align__(16) char memory[];
  __shared__ Own<W> own;
  own.divide(g);
  findMatrices(g, memory);
  LayerCopy<W>(g, i).to(own);
  if (PHASE == OUTPUT) LayerCopy<W>(g, i + 1).to(own);
  __syncthreads();
  if constexpr (PHASE == SCAN) {
    scanPhase(g, i, own);
  } else {
    const int matrix = MATRICES * i + (PHASE == HEAD ? 0 : PHASE);
    WeightStream<W> weights(g, own, memory, matrix, matrix + 1);
    if constexpr (PHASE == INPUT) inputPhase(g, i, own, memory, weights);
    else if constexpr (PHASE == SELECT) selectPhase(g, i, own, memory, weights);
    else if constexpr (PHASE == OUTPUT) outputPhase(g, i, own, memory, weights);
    else headPhase(g, own, memory, weights);
  }
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

Quantum quantum(float scale) {
  const float size = std::fabs(scale);  // as inverseOf
  return {scale, size >= 0x1p-126f && size <= 0x1p+126f ? 1.0f / scale : std::nanf("")};
}

template <class W>
Prepared<W> prepared(const DecodeModel<W>& model, const Layer<W>& l, int place) {
  Prepared<W> p{};
  p.norm = l.norm, p.convW = l.convW, p.convB = l.convB;
  p.convState = l.convState + static_cast<size_t>(place) * model.d * (model.k - 1);
  p.ssmState = l.ssmState + static_cast<size_t>(place) * model.d * model.n;
  p.dtProj = l.dtProj, p.dtBias = l.dtBias, p.A = l.A, p.D = l.D, p.eps = l.eps;
  p.in = quantum(l.inScale), p.convIn = quantum(l.convInScale), p.gate = quantum(l.gateScale), p.u = quantum(l.uScale);
  p.dtLow = quantum(l.dtLowScale), p.B = quantum(l.bScale), p.C = quantum(l.cScale), p.dt = quantum(l.dtScale);
  p.y = quantum(l.yScale);
  p.inReal = l.inScale * l.inWeight, p.xReal = l.uScale * l.xWeight, p.dtReal = l.dtLowScale * l.dtWeight;
  p.outReal = l.yScale * l.outWeight;
  return p;
}

/** The sizes, and the division of the work; null pointers where it needs memory of its own. */
template <class W>
Decode<W> shapeOf(const DecodeModel<W>& model, DecodeMode mode) {
  Decode<W> g{};
  g.layers = model.layers, g.m = model.m, g.d = model.d, g.n = model.n, g.k = model.k, g.r = model.r, g.v = model.v;
  g.hadamard = model.hadamard;
  if (g.hadamard) {
    g.factors = factor(g.d);
    g.local = std::min(g.factors.run, CHUNK);
    g.norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(g.d)));
  }
  g.embeddingType = model.embeddingType, g.embedding = model.embedding, g.embeddingScale = model.embeddingScale;
  g.finalNorm = model.finalNorm, g.finalEps = model.finalEps;
  g.headType = model.headType, g.headIn = quantum(model.headInScale);
  g.headWeight = model.headWeight, g.headWeightEachRow = model.headWeightEachRow, g.headBias = model.headBias;
  g.logits = model.logits, g.nan = model.nan;
  g.together = mode == DecodeMode::persistent;

  // Each block has channels in `input`: what others still read is not written before it has gone on, see Decode::h.
  g.blocks = std::min(attribute(cudaDevAttrMultiProcessorCount), g.d / 4);
  int channels = 0, units = 0;
  for (int block = 0; block < g.blocks; block++) {
    for (int phase = 0; phase < MATRICES; phase++) units = std::max(units, slabOf(g, phase, block).units());
    channels = std::max(channels, slabOf(g, INPUT, block).rows / 2);
  }
  const int widest = std::max(g.m, g.d), f32 = sizeof(float);
  const int operand = std::max(Operand<W>::bytes(widest), g.m * (g.headType == TableType::i8 ? 1 : f32));
  int end = 0;
  const auto place = [&](int bytes) {
    const int at = end;
    end += (bytes + 15) / 16 * 16;
    return at;
  };
  g.at.values = place(f32 * widest);
  g.at.operand = place(operand);
  g.at.sums = place(f32 * BATCH * units);
  g.at.taps = place(f32 * channels * 2 * g.k);
  g.at.matrices = place(sizeof(void*) * (MATRICES * g.layers + 1));
  g.at.ring = place(0);
  const int memory = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) - static_cast<int>(sizeof(Own<W>)) - 16;
  g.depth = depthOf((memory - g.at.ring) / BATCH_BYTES);
  // For what does not fit on its way anyway. L2 must have room for a whole matrix, and for other things: a part of one is no help.
  const int layerBytes = (slabOf(g, INPUT, 0).rows * g.m + slabOf(g, OUTPUT, 0).rows * g.d) * static_cast<int>(sizeof(W));
  g.ahead = layerBytes > g.depth * BATCH_BYTES && 2.0 * g.d * g.m * sizeof(W) <= 0.6 * attribute(cudaDevAttrL2CacheSize);
  return g;
}

template <class W>
class PhaseDecoder : public Decoder {
 public:
  PhaseDecoder(const DecodeModel<W>& model, DecodeMode mode, cudaStream_t stream) : stream(stream), g(shapeOf(model, mode)) {
    std::vector<Prepared<W>> layer;
    std::vector<const void*> matrix;
    for (int place = 0; place < model.places; place++)
      for (const Layer<W>& l : model.layer) layer.push_back(prepared(model, l, place));
    for (const Layer<W>& l : model.layer) matrix.insert(matrix.end(), {l.inProj, l.xProj, l.outProj});
    layers = uploaded(layer.data(), sizeof(Prepared<W>) * layer.size());
    g.layer = layersOf(0);
    matrix.push_back(model.head);
    matrices = uploaded(matrix.data(), sizeof(void*) * matrix.size());
    g.matrices = matrices.template get<const void*>();

    const int low = g.r + 2 * g.n, packed = g.d / PACKED<W>;
    const size_t all = 2 * (static_cast<size_t>(g.m) + packed + g.d + low + g.d);
    words = Buffer(sizeof(Word) * all);
    check(cudaMemset(words.get(), 0, words.size()));
    g.h = words.template get<Word>();
    g.u = g.h + 2 * g.m, g.z = g.u + 2 * packed, g.low = g.z + 2 * g.d, g.y = g.low + 2 * low;
    residual = Buffer(sizeof(float) * g.m);
    g.residual = residual.template get<float>();
    shared = g.at.ring + g.depth * BATCH_BYTES;
  }

 protected:
  const cudaStream_t stream;
  Decode<W> g;
  int shared;

  /** As much as there is: other models, which need more or less, launch the same kernel. */
  template <class Kernel>
  void allowShared(Kernel kernel) {
    const int most = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) - static_cast<int>(sizeof(Own<W>)) - 16;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  }
  /** The layers with the states of a place. */
  const Prepared<W>* layersOf(int place) const {
    return layers.template get<Prepared<W>>() + static_cast<size_t>(place) * g.layers;
  }

 private:
  Buffer layers, matrices, words, residual;

  static Buffer uploaded(const void* data, size_t bytes) {
    Buffer buffer(bytes);
    check(cudaMemcpy(buffer.get(), data, bytes, cudaMemcpyHostToDevice));
    return buffer;
  }
};

template <class W>
class PersistentDecoder : public PhaseDecoder<W> {
 public:
  PersistentDecoder(const DecodeModel<W>& model, cudaStream_t stream)
      : PhaseDecoder<W>(model, DecodeMode::persistent, stream) {
    this->allowShared(decodeToken<W>);
    this->g.tag = 1;
  }
  void step(const int32_t* token, int place) override {
    this->g.token = token;
    this->g.layer = this->layersOf(place);
    void* arguments[] = {&this->g};
    check(cudaLaunchCooperativeKernel(decodeToken<W>, dim3(this->g.blocks), dim3(DECODE_THREADS), arguments, this->shared,
                                      this->stream));
    this->g.tag += this->g.layers;
  }
  int launches() const override { return 1; }
};

template <class W>
class GraphDecoder : public PhaseDecoder<W> {
 public:
  GraphDecoder(const DecodeModel<W>& model, cudaStream_t stream)
      : PhaseDecoder<W>(model, DecodeMode::graph, stream), token(sizeof(int32_t)), layers(sizeof(Prepared<W>) * model.layers) {
    this->allowShared(decodePhase<W, INPUT>);
    this->allowShared(decodePhase<W, SELECT>);
    this->allowShared(decodePhase<W, SCAN>);
    this->allowShared(decodePhase<W, OUTPUT>);
    this->allowShared(decodePhase<W, HEAD>);
    this->g.token = token.template get<int32_t>();
    this->g.layer = layers.template get<Prepared<W>>();
    cudaGraph_t graph;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    launchAll();
    check(cudaStreamEndCapture(stream, &graph));
    check(cudaGraphInstantiate(&ready, graph, 0));
    check(cudaGraphDestroy(graph));
  }
  ~GraphDecoder() override { cudaGraphExecDestroy(ready); }

  void step(const int32_t* given, int place) override {
    check(cudaMemcpyAsync(token.get(), given, sizeof(int32_t), cudaMemcpyDeviceToDevice, this->stream));
    if (place != placed)
      check(cudaMemcpyAsync(layers.get(), this->layersOf(place), layers.size(), cudaMemcpyDeviceToDevice, this->stream));
    placed = place;
    check(cudaGraphLaunch(ready, this->stream));
  }
  int launches() const override { return 4 * this->g.layers + 1; }

 private:
  const Buffer token, layers;  // where the graph reads them
  int placed = -1;             // the place whose layers are there
  cudaGraphExec_t ready = nullptr;

  void launchAll() {
    const Decode<W>& g = this->g;
    const int shared = this->shared;
    const cudaStream_t stream = this->stream;
    for (int i = 0; i < g.layers; i++) {
      decodePhase<W, INPUT><<<g.blocks, DECODE_THREADS, shared, stream>>>(g, i);
      decodePhase<W, SELECT><<<g.blocks, DECODE_THREADS, shared, stream>>>(g, i);
      decodePhase<W, SCAN><<<g.blocks, DECODE_THREADS, shared, stream>>>(g, i);
      decodePhase<W, OUTPUT><<<g.blocks, DECODE_THREADS, shared, stream>>>(g, i);
    }
    decodePhase<W, HEAD><<<g.blocks, DECODE_THREADS, shared, stream>>>(g, g.layers);
    check(cudaGetLastError());
  }
};

}  // namespace

template <class W>
bool decodable(const DecodeModel<W>& model, DecodeMode mode) {
  const int whole = 128;
  const bool sizes = model.layers > 0 && model.m % whole == 0 && model.m <= MOST_WIDTH && model.d % whole == 0 &&
                     model.n % 4 == 0 && model.n > 0 && model.n <= MOST_STATES && model.k >= 1 && model.k <= MOST_TAPS &&
                     model.r % 8 == 0 && model.r > 0 && model.r <= MOST_LOW;
  if (!sizes) return false;
  if (model.hadamard) {
    const Factors factors = factor(model.d);
    if (sizeof(W) != 1 || factors.K == 0 || factors.run < 32) return false;
  }
  if (mode == DecodeMode::persistent && !attribute(cudaDevAttrCooperativeLaunch)) return false;
  return shapeOf(model, mode).depth > 0;
}

template <class W>
std::unique_ptr<Decoder> makeDecoder(const DecodeModel<W>& model, DecodeMode mode, cudaStream_t stream) {
  if (!decodable(model, mode)) return nullptr;
  if (mode == DecodeMode::graph) return std::make_unique<GraphDecoder<W>>(model, stream);
  return std::make_unique<PersistentDecoder<W>>(model, stream);
}

template bool decodable(const DecodeModel<int8_t>&, DecodeMode);
template bool decodable(const DecodeModel<__half>&, DecodeMode);
template std::unique_ptr<Decoder> makeDecoder(const DecodeModel<int8_t>&, DecodeMode, cudaStream_t);
template std::unique_ptr<Decoder> makeDecoder(const DecodeModel<__half>&, DecodeMode, cudaStream_t);

}  // namespace quamba
