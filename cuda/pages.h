// The memory of a text's states that grow: pages, each with room for the same tokens of all of them. Each state lies in a page
// as it is, a row after the other, from a place of its own on.
#pragma once

#include <memory>
#include <vector>

#include "batch.h"
#include "buffer.h"

namespace quamba {

/** Tokens of a page: those whose terms attention sums before their sum is added. */
constexpr int PAGE = 128;

/** Values of a page that attention needs while it runs, for each head: so many, and one for each of its channels. */
constexpr size_t HEAD_SCRATCH = PAGE + 1;

class Pages {
 public:
  /** f32: `values` of one token in all states, `temporary` of a page in scratch memory, which no two texts share. */
  Pages(size_t values, size_t temporary) : values(values), temporary(temporary) {}

  /** 0 where no state grows. */
  int tokens() const { return count; }
  size_t bytes() const { return list.size() * sizeof(float) * values * PAGE + scratch.size(); }
  /** Rows of the text, with where its pages lie: elsewhere once they have grown. */
  Turn turn(int place, int row, int rows, int position) const {
    return {place, row, rows, position, addresses.get<float*>(), scratch.get<float>()};
  }

  /** Room for more tokens, whose rows are not written yet. */
  void grow(int more, cudaStream_t stream);
  void clear();
  /** Pages that are full are not written any more: the two have them together. */
  void copy(const Pages& from, cudaStream_t stream);
  /** Copies the rows of one state, of `row` values, which begins at `begin`, between the pages and f32[tokens, row], anywhere. */
  void read(size_t begin, int64_t row, void* to, cudaStream_t stream) const;
  void write(size_t begin, int64_t row, const void* from, cudaStream_t stream);

 private:
  size_t values, temporary;
  int count = 0;
  std::vector<std::shared_ptr<Buffer>> list;
  Buffer addresses, scratch;

  std::shared_ptr<Buffer> page() const { return std::make_shared<Buffer>(sizeof(float) * values * PAGE); }
  /** Uploads the addresses of the pages from `first` on. */
  void publish(size_t first, cudaStream_t stream);
  /** f(page, at, bytes): the rows of a state in each page, and where they lie among those of all tokens. */
  template <class F>
  void each(size_t begin, int64_t row, F f) const;
};

}  // namespace quamba
