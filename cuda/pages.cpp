#include "pages.h"

namespace quamba {

void Pages::grow(int more, cudaStream_t stream) {
  if (pageBytes == 0) return;
  const size_t first = list.size();
  while (list.size() * PAGE < static_cast<size_t>(count) + more) list.push_back(page());
  publish(first, stream);
  count += more;
}

void Pages::publish(size_t first, cudaStream_t stream) {
  if (first == list.size()) return;
  if (addresses.size() < list.size() * sizeof(char*)) {
    addresses = Buffer(2 * list.size() * sizeof(char*));
    scratch = Buffer(2 * list.size() * sizeof(float) * temporary);
    first = 0;
  }
  std::vector<char*> added;
  for (size_t i = first; i < list.size(); i++) added.push_back(list[i]->get());
  const size_t bytes = added.size() * sizeof(char*);
  check(cudaMemcpyAsync(addresses.get<char*>() + first, added.data(), bytes, cudaMemcpyHostToDevice, stream));
}

void Pages::clear() {
  count = 0;
  list.clear();
}

void Pages::copy(const Pages& from, cudaStream_t stream) {
  auto both = from.list;
  if (from.count % PAGE != 0) {
    const Buffer& last = *both.back();
    const auto own = page();
    check(cudaMemcpyAsync(own->get(), last.get(), last.size(), cudaMemcpyDeviceToDevice, stream));
    both.back() = own;
  }
  list = both;
  count = from.count;
  publish(0, stream);
}

}  // namespace quamba
