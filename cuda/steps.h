// A plan as launches: its nodes one after another, fused ones as one, on values that share an arena.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "batch.h"
#include "constants.h"
#include "nan-place.h"
#include "plan.h"

namespace quamba {

/** States in memory of the GPU, f32[places, …], by name. */
using States = std::map<std::string, Buffer>;

/** What a step runs on, and where each value lies. `turns`: only for the steps that mix rows. */
struct Rows {
  cudaStream_t stream;
  int count;
  Turns turns;
  const std::vector<char*>& values;

  template <class T>
  T* at(int value) const {
    return reinterpret_cast<T*>(values[value]);
  }
};

struct Step {
  std::vector<int> reads, writes;  // values
  /** It runs for every row, asked for or not: a row of its results depends on rows before it, or a NaN in any row is an error. */
  bool everyRow = false;
  std::function<void(const Rows&)> run;
};

struct Program {
  std::vector<Step> steps;
  /** Bytes of a row of each value. */
  std::vector<size_t> rowBytes;
  int tokens, result;  // values
};

/** Pointers into constants and states stay in the steps. */
Program compile(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan);

}  // namespace quamba
