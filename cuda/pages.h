// The memory of a text's states that grow: pages, each with room for the same tokens of all of them. Each state has a place of its
// own in a page (cache.h).
#pragma once

#include <memory>
#include <vector>

#include "buffer.h"
#include "cache.h"

namespace quamba {

class Pages {
 public:
  /** `pageBytes`: of a page of all states. `temporary`: f32 of a page in scratch memory, which no two texts share. */
  Pages(size_t pageBytes, size_t temporary) : pageBytes(pageBytes), temporary(temporary) {}

  /** 0 where no state grows. */
  int tokens() const { return count; }
  size_t bytes() const { return list.size() * pageBytes + scratch.size(); }
  /** Rows of the text, with where its pages lie: elsewhere once they have grown. */
  Turn turn(int place, int row, int rows, int position) const {
    return {place, row, rows, position, addresses.get<char*>(), scratch.get<float>()};
  }

  /** Room for more tokens, whose rows are not written yet. */
  void grow(int more, cudaStream_t stream);
  void clear();
  /** Pages that are full are not written any more: the two have them together. */
  void copy(const Pages& from, cudaStream_t stream);
  /** Copies all rows of one state between the pages and f32[tokens, groups, p] in memory of the GPU. */
  void read(const Cache& cache, float* to, cudaStream_t stream) const { loadCache(stream, turn(0, 0, count, 0), cache, to); }
  void write(const Cache& cache, const float* from, cudaStream_t stream) { storeCache(stream, turn(0, 0, count, 0), cache, from); }

 private:
  size_t pageBytes, temporary;
  int count = 0;
  std::vector<std::shared_ptr<Buffer>> list;
  Buffer addresses, scratch;

  std::shared_ptr<Buffer> page() const { return std::make_shared<Buffer>(pageBytes); }
  /** Uploads the addresses of the pages from `first` on. */
  void publish(size_t first, cudaStream_t stream);
};

}  // namespace quamba
