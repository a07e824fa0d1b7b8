// A plan on the GPU: its constants, the states of its sequences, and what runs it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "decode.h"
#include "engine.h"
#include "steps.h"

namespace quamba {

/** A stream of its own. */
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream; }

 private:
  cudaStream_t stream;
};

/** Host memory that the GPU reaches by itself. */
class Pinned {
 public:
  explicit Pinned(size_t bytes) { check(cudaMallocHost(&memory, bytes > 0 ? bytes : 1)); }
  ~Pinned() { cudaFreeHost(memory); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  template <class T>
  T* get() const {
    return static_cast<T*>(memory);
  }

 private:
  void* memory = nullptr;
};

class Context {
 public:
  Context(const std::string& graph, const quamba_tensor* weights, int32_t count, const quamba_options& options);
  ~Context();

  quamba_context_info info() const;
  /** See quamba_feed. */
  void feed(const int32_t* tokens, int32_t length, bool lastOnly, float* logits);
  void wait();
  /** See quamba_state_tensor. */
  quamba_tensor state(int32_t index) const;
  void getState(int32_t sequence, const quamba_tensor* tensors, int32_t count);
  void setState(int32_t sequence, const quamba_tensor* tensors, int32_t count);

 private:
  /** An embedding of the tokens: whose rows they must lie in. */
  struct Table {
    std::string op;
    int64_t rows;
  };

  const Stream stream;
  int sequences, chunk;
  Plan plan;
  Constants constants;
  States states;
  std::vector<std::string> stateNames;
  std::vector<Table> tables;
  int vocabulary = 0;
  Buffer tokens, nan;
  std::unique_ptr<Engine> engine;
  quamba_decode mode = QUAMBA_DECODE_NODES;
  std::unique_ptr<Decoder> decoder;    // of one token of one sequence
  Buffer decoded;                      // its logits
  cudaGraphExec_t graph = nullptr;     // of one token of each sequence, by the engine
  const float* graphLogits = nullptr;  // f32[sequences, v], on the GPU
  int launches = 0;
  std::unique_ptr<Pinned> staged;      // logits on their way to the host

  void choose(quamba_decode wanted, bool f16);
  template <class W>
  bool decodeBy(const DecodeModel<W>& matched, quamba_decode wanted);
  void capture();
  const float* one();
  void checkTokens(const int32_t* given, int64_t count) const;
  void emit(const float* from, int rows, float* to);
  size_t constantBytes() const;
  size_t constantsRead() const;
  size_t stateBytes() const;
  const quamba_tensor* find(const std::string& name, const quamba_tensor* tensors, int32_t count) const;
  void demandSequence(int32_t sequence) const;
};

}  // namespace quamba
