// What is fed at once: rows (tokens) of one or more sequences. It lies in memory of the GPU, so that a graph of launches reads what
// is new each time.
#pragma once

namespace quamba {

/** Rows of one sequence, which follow each other: tokens of its text in order. */
struct Turn {
  int place;  // of its states
  int row, count;
  int position = 0;               // tokens of its text before
  char* const* pages = nullptr;   // of its states that grow: see pages.h
  float* scratch = nullptr;
};

/** The turns of a batch. Each has a place of its own. Their rows lie one turn after another. */
struct Turns {
  const Turn* list;  // in memory of the GPU; null: one turn, of `longest` rows from row 0 on, in place 0
  int count, longest;
};

}  // namespace quamba
