#include "context.h"

#include <algorithm>
#include <cstring>

#include "match.h"

namespace quamba {

namespace {

constexpr int CHUNK = 1024;
/** Rows times turns fit an int. */
constexpr int MOST_CHUNK = 32768;
/** Of a text whose states grow. */
constexpr int64_t MOST_TOKENS = 1 << 30;

Failure wrong(const std::string& text) { return Failure(QUAMBA_WRONG_CALL, text); }

/** The tensors by name, and their types. */
std::map<std::string, const quamba_tensor*> byName(const quamba_tensor* tensors, int32_t count, std::map<std::string, Type>& types) {
  std::map<std::string, const quamba_tensor*> found;
  for (int32_t i = 0; i < count; i++) {
    const quamba_tensor& t = tensors[i];
    const std::string name = t.name ? t.name : "";
    if ((t.dtype != QUAMBA_F32 && t.dtype != QUAMBA_I8) || t.rank < 1 || t.rank > QUAMBA_MAX_RANK || (!t.data && sizeOf(t) > 0))
      throw wrong("weight '" + name + "' expected f32 or i8 data of rank 1 to " + std::to_string(QUAMBA_MAX_RANK));
    Type type{t.dtype, {}};
    for (int32_t axis = 0; axis < t.rank; axis++) {
      if (t.shape[axis] < 0 || t.shape[axis] > int64_t{1} << 30) throw wrong("weight '" + name + "' has a size out of range");
      type.shape.push_back(t.shape[axis]);
    }
    types[name] = type;
    found[name] = &t;
  }
  return found;
}

int atLeastOne(int32_t given, int otherwise, const char* name) {
  if (given < 0) throw wrong(std::string("options: ") + name + " must not be negative; got " + std::to_string(given));
  return given == 0 ? otherwise : given;
}

}  // namespace

Context::Context(const std::string& graphText, const quamba_tensor* weights, int32_t count, const quamba_options& options)
    : sequences(atLeastOne(options.sequences, 1, "sequences")), chunk(atLeastOne(options.chunk, CHUNK, "chunk")) {
  if (options.precision != QUAMBA_EXACT && options.precision != QUAMBA_F16)
    throw wrong("options: precision must be 0 or 1; got " + std::to_string(options.precision));
  if (options.decode < QUAMBA_DECODE_BEST || options.decode > QUAMBA_DECODE_PERSISTENT)
    throw wrong("options: decode must be 0 to 3; got " + std::to_string(options.decode));
  const bool f16 = options.precision == QUAMBA_F16;
  if (chunk > MOST_CHUNK) throw wrong("options: chunk must be at most " + std::to_string(MOST_CHUNK) + "; got " + std::to_string(chunk));
  std::map<std::string, Type> types;
  const auto given = byName(weights, count, types);
  plan = parsePlan(graphText, types);
  vocabulary = static_cast<int>(plan.type(plan.result).width());
  for (const auto& node : plan.nodes)
    for (const auto& op : node.body)
      if (op.input("tokens") == plan.input && !op.input("w").empty()) tables.push_back({op.name, plan.type(op.input("w")).shape[0]});
  constants = uploadConstants(plan, given, f16, stream);
  for (const auto& [name, type] : plan.states) {
    stateNames.push_back(name);
    if (type.perRow()) continue;
    Buffer& memory = states[name] = Buffer(type.bytes() * sequences);
    check(cudaMemsetAsync(memory.get(), 0, memory.size(), stream));
  }
  for (int i = 0; i < sequences; i++) pages.emplace_back(plan.pageBytes, plan.scratchValues);
  fed = Buffer(sizeof(Turn) * mostTurns() + sizeof(int32_t) * chunk);
  nan = Buffer(sizeof(NanPlace));
  check(cudaMemsetAsync(nan.get(), 0xff, nan.size(), stream));
  staged = std::make_unique<Pinned>(sizeof(float) * TAIL_ROWS * vocabulary);
  choose(static_cast<quamba_decode>(options.decode), f16);
  check(cudaStreamSynchronize(stream));
}

Context::~Context() {
  cudaStreamSynchronize(stream);
  for (const auto& [count, graph] : graphs) cudaGraphExecDestroy(graph.ready);
}

/** Makes the engine, and picks how a single token runs. */
void Context::choose(quamba_decode wanted, bool f16) {
  NanPlace* place = nan.get<NanPlace>();
  captures = wanted != QUAMBA_DECODE_NODES;
  bool done = !captures;
  if (f16) {
    const auto matched = match<__half>(plan, constants, states);
    if (!matched) throw wrong("options: precision F16 needs the float plan of a Mamba-1 (recipe fp32)");
    engine = makeF16Engine(*matched, chunk, stream);
    done = done || decodeBy(*matched, wanted);
  } else {
    engine = makeNodeEngine(plan, constants, states, place, chunk, stream);
    const auto matched = match<int8_t>(plan, constants, states);
    done = done || (matched && decodeBy(*matched, wanted));
  }
  if (done) return;
  if (wanted == QUAMBA_DECODE_PERSISTENT)
    throw wrong("options: decode PERSISTENT needs a plan of Mamba-1 with static scales and sizes that the kernel reads at once");
  launches = graphOf(1).launches;
  mode = QUAMBA_DECODE_GRAPH;
}

template <class W>
bool Context::decodeBy(const DecodeModel<W>& matched, quamba_decode wanted) {
  DecodeModel<W> model = matched;
  model.places = sequences;
  decoded = Buffer(sizeof(float) * vocabulary);
  model.logits = decoded.get<float>();
  model.nan = nan.get<NanPlace>();
  for (const quamba_decode way : {QUAMBA_DECODE_PERSISTENT, QUAMBA_DECODE_GRAPH}) {
    const DecodeMode by = way == QUAMBA_DECODE_GRAPH ? DecodeMode::graph : DecodeMode::persistent;
    if ((wanted != QUAMBA_DECODE_BEST && wanted != way) || !decodable(model, by)) continue;
    decoder = makeDecoder(model, by, stream);
    if (!decoder) continue;
    mode = way;
    launches = decoder->launches();
    return true;
  }
  return false;
}

const Context::Graph& Context::graphOf(int count) {
  if (const auto known = graphs.find(count); known != graphs.end()) return known->second;
  Graph made{};
  cudaGraph_t captured;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  try {
    engine->body({tokensFed(), count, {turnsFed(), count, 1}});
    made.logits = engine->tail(0, count);
  } catch (...) {
    cudaStreamEndCapture(stream, &captured);
    throw;
  }
  check(cudaStreamEndCapture(stream, &captured));
  size_t nodes = 0;
  check(cudaGraphGetNodes(captured, nullptr, &nodes));
  made.launches = static_cast<int>(nodes);
  check(cudaGraphInstantiate(&made.ready, captured, 0));
  check(cudaGraphDestroy(captured));
  return graphs.emplace(count, made).first->second;
}

quamba_context_info Context::info() const {
  size_t held = fed.size() + nan.size() + decoded.size() + engine->memory();
  for (const Pages& text : pages) held += text.bytes();
  return {sequences,
          chunk,
          vocabulary,
          static_cast<int32_t>(stateNames.size()),
          mode,
          launches,
          held + constantBytes() + stateBytes() * sequences,
          constantsRead() + 2 * stateBytes()};
}

size_t Context::constantBytes() const {
  size_t sum = 0;
  for (const auto& [name, constant] : constants) sum += constant.bytes();
  return sum;
}

/** By one token: all of them, but of a table that is only looked up one row. */
size_t Context::constantsRead() const {
  std::map<std::string, size_t> read;
  for (const auto& node : plan.nodes)
    for (const auto& op : node.body)
      for (const auto& [key, ref] : op.in) {
        const auto constant = constants.find(ref);
        if (constant == constants.end()) continue;
        const bool lookedUp = op.input("tokens") == plan.input && !op.input("w").empty();
        const size_t rows = lookedUp ? static_cast<size_t>(constant->second.type.shape[0]) : 1;
        read[ref] = std::max(read[ref], constant->second.bytes() / rows);
      }
  size_t sum = 0;
  for (const auto& [ref, bytes] : read) sum += bytes;
  return sum;
}

size_t Context::stateBytes() const {
  size_t sum = 0;
  for (const auto& [name, type] : plan.states) sum += type.perRow() ? 0 : type.bytes();
  return sum;
}

void Context::checkTurns(const quamba_turn* turns, int32_t count) const {
  if (count < 0 || (count > 0 && !turns)) throw wrong("feed: turns are missing");
  std::vector<bool> isFed(sequences);
  for (int32_t i = 0; i < count; i++) {
    const quamba_turn& turn = turns[i];
    demandSequence(turn.sequence, "feed");
    if (isFed[turn.sequence]) throw wrong("feed: sequence " + std::to_string(turn.sequence) + " is fed twice");
    isFed[turn.sequence] = true;
    if (turn.length < 1 || !turn.tokens) throw wrong("feed: sequence " + std::to_string(turn.sequence) + " has no tokens");
    for (const Table& table : tables)
      for (int32_t t = 0; t < turn.length; t++)
        if (turn.tokens[t] < 0 || turn.tokens[t] >= table.rows)
          throw Failure(QUAMBA_BAD_VALUE,
                        table.op + " C1: every token must lie in 0 … " + std::to_string(table.rows - 1) + "; got " +
                            std::to_string(turn.tokens[t]) + " at position " + std::to_string(t),
                        t);
  }
}

void Context::feed(const quamba_turn* turns, int32_t count, bool lastOnly) {
  checkTurns(turns, count);
  bool waits = false;
  Part part;
  for (int32_t i = 0; i < count; i++) {
    const quamba_turn& turn = turns[i];
    waits |= turn.logits != nullptr;
    for (int begin = 0; begin < turn.length;) {
      const int row = static_cast<int>(part.tokens.size()), rows = std::min(chunk - row, turn.length - begin);
      Pages& text = pages[turn.sequence];
      const int position = text.tokens();
      text.grow(rows, stream);
      part.turns.push_back(text.turn(turn.sequence, row, rows, position));
      part.tokens.insert(part.tokens.end(), turn.tokens + begin, turn.tokens + begin + rows);
      for (int t = begin; t < begin + rows; t++) {
        const size_t at = lastOnly ? 0 : static_cast<size_t>(t) * vocabulary;
        if (!lastOnly || t + 1 == turn.length) part.asked.push_back({row + t - begin, turn.logits ? turn.logits + at : nullptr});
      }
      begin += rows;
      if (row + rows < chunk) continue;
      run(part);
      part = {};
    }
  }
  if (!part.tokens.empty()) run(part);
  check(cudaGetLastError());
  if (waits) wait();
}

void Context::run(const Part& part) {
  const size_t tokensAt = sizeof(Turn) * mostTurns(), bytes = tokensAt + sizeof(int32_t) * part.tokens.size();
  std::vector<char> upload(bytes);  // memory that is not pinned: it has been read when the copy returns
  std::memcpy(upload.data(), part.turns.data(), sizeof(Turn) * part.turns.size());
  std::memcpy(upload.data() + tokensAt, part.tokens.data(), sizeof(int32_t) * part.tokens.size());
  check(cudaMemcpyAsync(fed.get(), upload.data(), bytes, cudaMemcpyHostToDevice, stream));

  const float* made = single(part);
  if (!made) {
    int longest = 0;
    for (const Turn& turn : part.turns) longest = std::max(longest, turn.count);
    engine->body({tokensFed(), static_cast<int>(part.tokens.size()), {turnsFed(), static_cast<int>(part.turns.size()), longest}});
  }
  const int most = std::min(TAIL_ROWS, chunk), all = static_cast<int>(part.asked.size());
  for (int i = 0, rows; i < all; i += rows) {  // rows that follow each other together
    const int row = part.asked[i].row;
    for (rows = 1; rows < most && i + rows < all && part.asked[i + rows].row == row + rows;) rows++;
    emit(made ? made + static_cast<size_t>(row) * vocabulary : engine->tail(row, rows), &part.asked[i], rows);
  }
}

/** The logits of one token of each turn, where that is all there is and there is a faster way than the engine; else null. */
const float* Context::single(const Part& part) {
  const int count = static_cast<int>(part.turns.size());
  if (part.tokens.size() != part.turns.size()) return nullptr;
  if (decoder && count == 1) {
    decoder->step(tokensFed(), part.turns[0].place);
    return decoded.get<float>();
  }
  if (!captures || count > TAIL_ROWS) return nullptr;
  const Graph& graph = graphOf(count);
  check(cudaGraphLaunch(graph.ready, stream));
  return graph.logits;
}

/** Copies rows of logits to where they are asked for. */
void Context::emit(const float* from, const Asked* asked, int rows) {
  bool any = false;
  for (int i = 0; i < rows; i++) any |= asked[i].to != nullptr;
  if (!any) return;
  const size_t row = sizeof(float) * vocabulary;
  check(cudaMemcpyAsync(staged->get<float>(), from, row * rows, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  for (int i = 0; i < rows; i++)
    if (asked[i].to) std::memcpy(asked[i].to, staged->get<char>() + row * i, row);
}

void Context::wait() {
  NanPlace place = NO_NAN;
  check(cudaMemcpyAsync(&place, nan.get(), sizeof place, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
  if (place == NO_NAN) return;
  check(cudaMemsetAsync(nan.get(), 0xff, nan.size(), stream));
  throw Failure(QUAMBA_BAD_VALUE, "quantize C2: x must not hold NaN; got NaN on the way", static_cast<int64_t>(place));
}

quamba_tensor Context::state(int32_t index) const {
  if (index < 0 || index >= static_cast<int32_t>(stateNames.size()))
    throw wrong("state: expected 0 to " + std::to_string(stateNames.size()) + " less one; got " + std::to_string(index));
  const std::string& name = stateNames[index];
  const Type& type = plan.states.at(name);
  quamba_tensor t{name.c_str(), QUAMBA_F32, static_cast<int32_t>(type.shape.size()), {}, nullptr};
  std::copy(type.shape.begin(), type.shape.end(), t.shape);
  return t;
}

void Context::demandSequence(int32_t sequence, const char* where) const {
  if (sequence < 0 || sequence >= sequences)
    throw wrong(std::string(where) + ": there are " + std::to_string(sequences) + " sequences; got " + std::to_string(sequence));
}

/** A tensor of the size of a state after so many tokens; null where none has its name. */
const quamba_tensor* Context::find(const std::string& name, const quamba_tensor* tensors, int32_t count, int64_t tokens) const {
  const quamba_tensor* found = nullptr;
  for (int32_t i = 0; i < count; i++) {
    if (!tensors[i].name || !plan.states.count(tensors[i].name))
      throw wrong(std::string("state: there is no '") + (tensors[i].name ? tensors[i].name : "") + "'");
    if (name == tensors[i].name) found = &tensors[i];
  }
  const Type& type = plan.states.at(name);
  const int64_t size = type.size() * (type.perRow() ? tokens : 1);
  if (found && (found->dtype != QUAMBA_F32 || (!found->data && size > 0) || sizeOf(*found) != size))
    throw wrong("state: " + name + " expected f32 with " + std::to_string(size) + " values");
  return found;
}

/** Bytes of so many tokens of any state that grows, in f32. */
size_t Context::largestGrown(int64_t tokens) const {
  size_t most = 0;
  for (const auto& [name, cache] : plan.paged) most = std::max(most, plan.states.at(name).bytes() * tokens);
  return most;
}

void Context::getState(int32_t sequence, const quamba_tensor* tensors, int32_t count) {
  demandSequence(sequence, "state");
  const Buffer grown(largestGrown(pages[sequence].tokens()));
  for (const auto& name : stateNames) {
    const quamba_tensor* t = find(name, tensors, count, pages[sequence].tokens());
    if (!t) throw wrong("state: " + name + " is missing");
    const Type& type = plan.states.at(name);
    const size_t bytes = type.bytes();
    if (!type.perRow()) {
      check(cudaMemcpyAsync(t->data, states.at(name).get() + sequence * bytes, bytes, cudaMemcpyDeviceToHost, stream));
      continue;
    }
    pages[sequence].read(plan.paged.at(name), grown.get<float>(), stream);
    check(cudaMemcpyAsync(t->data, grown.get(), bytes * pages[sequence].tokens(), cudaMemcpyDeviceToHost, stream));
  }
  check(cudaStreamSynchronize(stream));
}

void Context::setState(int32_t sequence, const quamba_tensor* tensors, int32_t count) {
  demandSequence(sequence, "state");
  int64_t tokens = 0;  // of the text: rows of the states that grow
  for (int32_t i = 0; i < count; i++)
    if (tensors[i].name && plan.paged.count(tensors[i].name) && tensors[i].rank > 0) tokens = tensors[i].shape[0];
  if (tokens < 0 || tokens > MOST_TOKENS)
    throw wrong("state: expected 0 to " + std::to_string(MOST_TOKENS) + " tokens; got " + std::to_string(tokens));
  pages[sequence].clear();
  pages[sequence].grow(static_cast<int>(tokens), stream);
  const Buffer grown(largestGrown(tokens));
  for (const auto& name : stateNames) {
    const quamba_tensor* t = find(name, tensors, count, tokens);
    const Type& type = plan.states.at(name);
    const size_t bytes = type.bytes();
    if (type.perRow()) {
      if (!t && tokens > 0) throw wrong("state: " + name + " is missing");
      if (!t) continue;
      check(cudaMemcpyAsync(grown.get(), t->data, bytes * tokens, cudaMemcpyHostToDevice, stream));
      pages[sequence].write(plan.paged.at(name), grown.get<float>(), stream);
      continue;
    }
    char* to = states.at(name).get() + sequence * bytes;
    if (t) check(cudaMemcpyAsync(to, t->data, bytes, cudaMemcpyHostToDevice, stream));
    else check(cudaMemsetAsync(to, 0, bytes, stream));
  }
  check(cudaStreamSynchronize(stream));
}

void Context::copyState(int32_t from, int32_t to) {
  demandSequence(from, "state");
  demandSequence(to, "state");
  if (from == to) return;
  pages[to].copy(pages[from], stream);
  for (auto& [name, buffer] : states) {
    const size_t bytes = plan.states.at(name).bytes();
    char* memory = buffer.get();
    check(cudaMemcpyAsync(memory + to * bytes, memory + from * bytes, bytes, cudaMemcpyDeviceToDevice, stream));
  }
}

}  // namespace quamba
