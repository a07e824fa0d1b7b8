// A plan on the GPU: its constants, the states of its sequences, and what runs it.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "decode.h"
#include "engine.h"
#include "pages.h"
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
  void feed(const quamba_turn* turns, int32_t count, bool lastOnly);
  void wait();
  /** See quamba_state_tensor. */
  quamba_tensor state(int32_t index) const;
  void getState(int32_t sequence, const quamba_tensor* tensors, int32_t count);
  void setState(int32_t sequence, const quamba_tensor* tensors, int32_t count);
  void copyState(int32_t from, int32_t to);

 private:
  /** A row of a batch whose logits are asked for, and where they go; null: they stay on the GPU. */
  struct Asked {
    int row;
    float* to;
  };
  /** Rows that are fed at once. */
  struct Part {
    std::vector<int32_t> tokens;
    std::vector<Turn> turns;
    std::vector<Asked> asked;
  };
  /** One token of each of some sequences, by the engine. `logits`: f32[n, v], on the GPU. */
  struct Graph {
    cudaGraphExec_t ready;
    const float* logits;
    int launches;
  };
  /** An embedding of the tokens: whose rows they must lie in. */
  struct Table {
    std::string op;
    int64_t rows;
  };

  const Stream stream;
  int sequences, chunk;
  Plan plan;
  Constants constants;
  States states;             // those that do not grow
  std::vector<Pages> pages;  // the others, of each sequence
  std::vector<std::string> stateNames;
  std::vector<Table> tables;
  int vocabulary = 0;
  Buffer fed;                        // the turns and the tokens of a batch
  Buffer nan;
  std::unique_ptr<Engine> engine;
  quamba_decode mode = QUAMBA_DECODE_NODES;
  std::unique_ptr<Decoder> decoder;  // of one token of one sequence
  Buffer decoded;                    // its logits
  bool captures = false;             // single tokens that no decoder runs go as graphs
  std::map<int, Graph> graphs;       // by the number of sequences, made when they are first needed
  int launches = 0;
  std::unique_ptr<Pinned> staged;    // logits on their way to the host

  void choose(quamba_decode wanted, bool f16);
  template <class W>
  bool decodeBy(const DecodeModel<W>& matched, quamba_decode wanted);
  int mostTurns() const { return std::min(sequences, chunk); }
  Turn* turnsFed() const { return fed.get<Turn>(); }
  int32_t* tokensFed() const { return reinterpret_cast<int32_t*>(turnsFed() + mostTurns()); }
  const Graph& graphOf(int count);
  void checkTurns(const quamba_turn* turns, int32_t count) const;
  void run(const Part& part);
  const float* single(const Part& part);
  void emit(const float* from, const Asked* asked, int rows);
  size_t constantBytes() const;
  size_t constantsRead() const;
  size_t stateBytes() const;
  size_t largestGrown(int64_t tokens) const;
  const quamba_tensor* find(const std::string& name, const quamba_tensor* tensors, int32_t count, int64_t tokens) const;
  void demandSequence(int32_t sequence, const char* where) const;
};

}  // namespace quamba
