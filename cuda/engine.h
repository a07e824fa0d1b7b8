// Runs the tokens of a plan: all of it but the end for every token, the end (final norm and head) for the rows that are asked
// for.
#pragma once

#include <cuda_fp16.h>

#include <memory>

#include "decode.h"
#include "steps.h"

namespace quamba {

/** Rows of logits made at once. */
constexpr int TAIL_ROWS = 64;

class Engine {
 public:
  virtual ~Engine() = default;
  /** Feeds i32[sequences, l], on the GPU. sequences · l is at most the chunk that it was made for. */
  virtual void body(const int32_t* tokens, int sequences, int l) = 0;
  /** The logits f32[count, v] of some rows of the last body, on the GPU. At most TAIL_ROWS. */
  virtual const float* tail(int row, int count) = 0;
  virtual size_t memory() const = 0;
};

/** The plan's nodes, with the reference's bits. */
std::unique_ptr<Engine> makeNodeEngine(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan,
                                       int chunk, cudaStream_t stream);

/** A float plan with matrices and activations in f16. `model` may keep states of several sequences behind each other. */
std::unique_ptr<Engine> makeF16Engine(const DecodeModel<__half>& model, int chunk, cudaStream_t stream);

}  // namespace quamba
