#include <algorithm>

#include "engine.h"

namespace quamba {

namespace {

/** Offsets into one memory, such that values that are needed at the same time do not overlap. */
class Arena {
 public:
  /** A place for a value that is written by step `from` and read last by step `to`; asked for in ascending `from`. */
  size_t place(size_t bytes, int from, int to) {
    bytes = (bytes + 255) / 256 * 256;
    live.erase(std::remove_if(live.begin(), live.end(), [&](const Place& p) { return p.until < from; }), live.end());
    std::sort(live.begin(), live.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
    size_t begin = 0;
    for (const Place& p : live) {
      if (begin + bytes <= p.begin) break;
      begin = std::max(begin, p.end);
    }
    live.push_back({begin, begin + bytes, to});
    size = std::max(size, begin + bytes);
    return begin;
  }
  size_t size = 0;

 private:
  struct Place {
    size_t begin, end;
    int until;
  };
  std::vector<Place> live;
};

class NodeEngine : public Engine {
 public:
  NodeEngine(Program made, int chunk, cudaStream_t stream)
      : program(std::move(made)), stream(stream), places(program.rowBytes.size()), tailPlaces(places) {
    const int count = static_cast<int>(program.steps.size());
    for (int i = 0; i < count; i++)
      if (program.steps[i].everyRow) begin = i + 1;
    bodyMemory = arrange(0, begin, count, chunk, places);
    tailMemory = arrange(begin, count, count, std::min(chunk, TAIL_ROWS), tailPlaces);
  }

  void body(const Batch& batch) override {
    places[program.tokens] = const_cast<char*>(reinterpret_cast<const char*>(batch.tokens));
    for (int i = 0; i < begin; i++) program.steps[i].run({stream, batch.rows, batch.turns, places});
  }

  const float* tail(int row, int count) override {
    for (size_t value = 0; value < places.size(); value++)
      if (places[value]) tailPlaces[value] = places[value] + row * program.rowBytes[value];
    for (size_t i = begin; i < program.steps.size(); i++) program.steps[i].run({stream, count, {}, tailPlaces});
    return reinterpret_cast<const float*>(tailPlaces[program.result]);
  }

  size_t memory() const override { return bodyMemory.size() + tailMemory.size(); }

 private:
  Program program;
  const cudaStream_t stream;
  int begin = 0;  // of the steps that run only for the rows that are asked for, up to the end
  std::vector<char*> places, tailPlaces;
  Buffer bodyMemory, tailMemory;

  /** Gives what the steps from … to − 1 write its place. What a later one reads is kept to the end. */
  Buffer arrange(int from, int to, int all, int rows, std::vector<char*>& into) const {
    std::vector<int> last(into.size(), -1);
    for (int i = 0; i < all; i++) {
      for (const int value : program.steps[i].reads) last[value] = i;
      for (const int value : program.steps[i].writes) last[value] = std::max(last[value], i);
    }
    last[program.result] = all;
    Arena arena;
    std::vector<size_t> offsets(into.size());
    for (int i = from; i < to; i++)
      for (const int value : program.steps[i].writes)
        offsets[value] = arena.place(program.rowBytes[value] * rows, i, last[value] >= to ? all : last[value]);
    Buffer memory(arena.size);
    for (int i = from; i < to; i++)
      for (const int value : program.steps[i].writes) into[value] = memory.get() + offsets[value];
    return memory;
  }
};

}  // namespace

std::unique_ptr<Engine> makeNodeEngine(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan,
                                       int chunk, cudaStream_t stream) {
  return std::make_unique<NodeEngine>(compile(plan, constants, states, nan), chunk, stream);
}

}  // namespace quamba
