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

/** Tokens that are fed at once. `tokens`: i32[rows], in memory of the GPU. */
struct Batch {
  const int32_t* tokens;
  int rows;
  Turns turns;
};

class Engine {
 public:
  virtual ~Engine() = default;
  /** Feeds a batch of at most as many rows as the chunk that it was made for. */
  virtual void body(const Batch& batch) = 0;
  /** The logits f32[count, v] of some rows of the last body, on the GPU. At most TAIL_ROWS. */
  virtual const float* tail(int row, int count) = 0;
  virtual size_t memory() const = 0;
};

/** The plan's nodes, with the reference's bits. */
std::unique_ptr<Engine> makeNodeEngine(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan,
                                       int chunk, cudaStream_t stream);

/** A float plan with matrices and activations in f16. */
std::unique_ptr<Engine> makeF16Engine(const DecodeModel<__half>& model, int chunk, cudaStream_t stream);

}  // namespace quamba
