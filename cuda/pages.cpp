#include "pages.h"

#include <algorithm>

namespace quamba {

void Pages::grow(int more, cudaStream_t stream) {
  if (values == 0) return;
  const size_t first = list.size();
  while (list.size() * PAGE < static_cast<size_t>(count) + more) list.push_back(page());
  publish(first, stream);
  count += more;
}

void Pages::publish(size_t first, cudaStream_t stream) {
  if (first == list.size()) return;
  if (addresses.size() < list.size() * sizeof(float*)) {
    addresses = Buffer(2 * list.size() * sizeof(float*));
    scratch = Buffer(2 * list.size() * sizeof(float) * temporary);
    first = 0;
  }
  std::vector<float*> added;
  for (size_t i = first; i < list.size(); i++) added.push_back(list[i]->get<float>());
  const size_t bytes = added.size() * sizeof(float*);
  check(cudaMemcpyAsync(addresses.get<float*>() + first, added.data(), bytes, cudaMemcpyHostToDevice, stream));
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

template <class F>
void Pages::each(size_t begin, int64_t row, F f) const {
  for (int first = 0; first < count; first += PAGE) {
    const size_t bytes = sizeof(float) * row, at = bytes * first;
    f(list[first / PAGE]->get<float>() + begin, at, bytes * std::min(PAGE, count - first));
  }
}

void Pages::read(size_t begin, int64_t row, void* to, cudaStream_t stream) const {
  each(begin, row, [&](const float* page, size_t at, size_t bytes) {
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, page, bytes, cudaMemcpyDefault, stream));
  });
}

void Pages::write(size_t begin, int64_t row, const void* from, cudaStream_t stream) {
  each(begin, row, [&](float* page, size_t at, size_t bytes) {
    check(cudaMemcpyAsync(page, static_cast<const char*>(from) + at, bytes, cudaMemcpyDefault, stream));
  });
}

}  // namespace quamba
