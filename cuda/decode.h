// One token of one sequence, for a plan of the shape of Mamba's: what a layer holds, and the two ways to run it.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "nan-place.h"

namespace quamba {

/** A layer: memory of the GPU, and static scales by value. W is int8_t (W8A8) or __half (F16, where no scale is used). */
template <class W>
struct Layer {
  const float* norm;  // f32[m] or null
  float eps;
  const W* inProj;  // [2 d, m]: x, then z
  float inScale, inWeight;        // scale of its input; of its weight
  float convInScale, gateScale;   // of x before the convolution; of z
  const float *convW, *convB;     // f32[d, k]; f32[d] or null
  float* convState;               // f32[places, d, k−1], in place
  float uScale;                   // of the scan's input
  const W* xProj;                 // [r + 2 n, d]: dt, B, C
  float xWeight;
  float dtLowScale, bScale, cScale;
  const W* dtProj;                // [d, r]
  float dtWeight;
  const float* dtBias;            // f32[d] or null
  float dtScale;
  const float *A, *D;             // f32[d, n], −exp(A_log); f32[d] or null
  float* ssmState;                // f32[places, d, n], in place
  float yScale;                   // of the scan's output, rotated where `hadamard`
  const W* outProj;               // [m, d]
  float outWeight;
};

enum class TableType { f32, f16, i8 };

template <class W>
struct DecodeModel {
  int layers, m, d, n, k, r, v;
  int places;     // of states
  bool hadamard;  // y is rotated before outProj (W8A8 only)
  std::vector<Layer<W>> layer;  // on the host

  /** embedding: [v, m]; i8 has a scale for each row. */
  TableType embeddingType;
  const void* embedding;
  const float* embeddingScale;

  const float* finalNorm;  // f32[m] or null
  float finalEps;
  /** The head: [v, m]. f32 and f16: the four lanes of `linear` on the normed f32 values (f16 values are exact). i8: headIn is quantized. */
  TableType headType;
  const void* head;
  float headInScale;
  const float* headWeight;  // f32[1] or f32[v]
  bool headWeightEachRow;
  const float* headBias;  // f32[v] or null

  float* logits;  // f32[v]
  NanPlace* nan;
};

enum class DecodeMode { graph, persistent };

/** Runs single tokens. */
class Decoder {
 public:
  virtual ~Decoder() = default;
  /** Queues one token, which lies in memory of the GPU (and is in the table), for the sequence in a place, on the stream. */
  virtual void step(const int32_t* token, int place) = 0;
  virtual int launches() const = 0;
};

/** Null where these sizes are not for it (see decodable). */
template <class W>
std::unique_ptr<Decoder> makeDecoder(const DecodeModel<W>& model, DecodeMode mode, cudaStream_t stream);

/** Whether the sizes are multiples of what the kernels read at once, k and n within their registers, and the device can. */
template <class W>
bool decodable(const DecodeModel<W>& model, DecodeMode mode);

}  // namespace quamba
