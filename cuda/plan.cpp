#include "plan.h"

#include <algorithm>
#include <set>

#include "attention.h"
#include "json.h"
#include "ops.h"

namespace quamba {

namespace {

constexpr size_t BYTES[] = {4, 1, 4};
/** As in src/plan/graph-json.ts. A state of the largest Mamba has 131072 values; a file that asks for more than this is refused. */
constexpr int64_t MOST_STATE = 1 << 24;

Failure wrong(const std::string& text) { return Failure(QUAMBA_WRONG_CALL, text); }

/** Names by the names of a signature. `json`: null where nothing is given. */
std::map<std::string, std::string> refs(const Json* json, const std::string& where, const std::vector<Parameter>& expected) {
  static const std::vector<std::pair<std::string, Json>> NONE;
  std::map<std::string, std::string> found;
  for (const auto& [key, ref] : json ? json->object(where) : NONE) {
    bool known = false;
    for (const auto& p : expected) known |= p.name == key;
    if (!known) throw wrong(where + ": no '" + key + "'");
    found[key] = ref.string(where + "." + key);
  }
  for (const auto& p : expected)
    if (!p.optional && !found.count(p.name)) throw wrong(where + "." + p.name + " is missing");
  return found;
}

OpNode opNode(const Json& json, const std::string& where) {
  OpNode node;
  node.name = json.at("op", where).string(where + ".op");
  try {
    node.op = opNamed(node.name);
  } catch (const Failure& failure) {
    throw Failure(failure.status, where + ".op: " + failure.what());
  }
  const Signature& signature = signatureOf(node.op);
  node.in = refs(&json.at("in", where), where + ".in", signature.inputs);
  node.out = refs(&json.at("out", where), where + ".out", signature.outputs);
  node.states = refs(json.find("states"), where + ".states", signature.states);
  if (const Json* attrs = json.find("attrs"))
    for (const auto& [key, value] : attrs->object(where + ".attrs"))
      node.attributes.push_back({key, value.number, value.text, value.kind == Json::Kind::text});
  return node;
}

Node nodeOf(const Json& json, const std::string& where) {
  const Json* fused = json.find("fused");
  if (!fused) return {"", {opNode(json, where)}};
  Node node{fused->string(where + ".fused"), {}};
  const auto& body = json.at("body", where).list(where + ".body");
  for (size_t i = 0; i < body.size(); i++) node.body.push_back(opNode(body[i], where + ".body[" + std::to_string(i) + "]"));
  if (node.body.empty()) throw wrong(where + ".body expected at least one node");
  return node;
}

/** Solves the letters of a signature from the inputs and states of a node, and gives its outputs their types. */
void infer(const OpNode& node, Plan& plan, std::set<std::string>& carried, const std::string& where) {
  const Signature& signature = signatureOf(node.op);
  const auto attributes = attributesOf(node);
  Dims dims = signature.dims(attributes.data(), static_cast<int32_t>(attributes.size()));
  const auto solve = [&](const Parameter& p, const std::string& ref, const Type& type) {
    bool fits = type.dtype == p.dtype && type.shape.size() == p.axes.size();
    for (size_t i = 0; fits && i < p.axes.size(); i++) {
      const Axis& axis = p.axes[i];
      if (type.shape[i] != ROWS) fits = axis.fits(type.shape[i], dims);
      else fits = axis.letters.size() == 1 && dims.emplace(axis.letters[0], ROWS).first->second == ROWS;
    }
    if (!fits) throw wrong(where + ": " + node.name + ": " + ref + " is no " + p.text + " here");
  };
  for (const auto& p : signature.inputs) {
    const auto given = node.in.find(p.name);
    if (given == node.in.end()) continue;
    const auto known = plan.types.find(given->second);
    if (known == plan.types.end()) throw wrong(where + ": nothing defines '" + given->second + "'");
    solve(p, given->second, known->second);
  }
  for (const auto& p : signature.states) {
    const std::string& ref = node.states.at(p.name);
    if (!plan.states.count(ref)) throw wrong(where + ": there is no state '" + ref + "'");
    if (!carried.insert(ref).second) throw wrong(where + ": the state '" + ref + "' is carried by two nodes");
    const Type& type = plan.states.at(ref);
    const bool grows = p.axes[0].letters == std::vector<std::string>{"t"};
    if (type.perRow() != grows) throw wrong(where + ": " + node.name + ": " + ref + " is no " + p.text + " here");
    solve(p, ref, type);
  }
  for (const auto& p : signature.outputs) {
    Type type{p.dtype, {}};
    for (const auto& axis : p.axes) {
      const auto size = axis.size(dims);
      if (!size || (*size < 0 && *size != ROWS))
        throw wrong(where + ": " + node.name + ": the size of " + p.name + " is not known");
      type.shape.push_back(*size);
    }
    const std::string& ref = node.out.at(p.name);
    if (!plan.types.emplace(ref, type).second) throw wrong(where + ": '" + ref + "' is defined twice");
  }
}

/** A whole number from 0 to MOST_STATE; −1 where the text is another. */
int64_t extentOf(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  const int64_t size = std::stoll(text);
  return size <= MOST_STATE ? size : -1;
}

/** The type of a state: `f32[1536, 16]`, where it grows `f32[t, 8, 64]`, and how it is kept: only one that grows otherwise than f32. */
Type stateType(const Json& json, const std::string& where, Kept& kept) {
  const std::string& text = json.at("type", where).string(where + ".type");
  const size_t open = text.find('[');
  const std::string dtype = text.substr(0, open);
  if (open == std::string::npos || open == 0 || text.back() != ']')
    throw wrong(where + ".type expected a type such as f32[1536, 16]; got '" + text + "'");
  const auto sizes = split(text.substr(open + 1, text.size() - open - 2), ", ");
  const bool grows = !sizes.empty() && sizes[0] == "t";
  if (grows && dtype != "f32" && dtype != "f16" && dtype != "i8-dynamic")
    throw wrong(where + " is kept as " + dtype + "; the library keeps states that grow as f32, f16 or i8-dynamic");
  if (!grows && dtype != "f32")
    throw wrong(where + " is kept as " + dtype + "; the library keeps states that do not grow as f32");
  kept = dtype == "f32" ? Kept::f32 : dtype == "f16" ? Kept::f16 : Kept::steps;
  if (json.find("scale")) throw wrong(where + ".scale expected nothing beside " + dtype);
  Type type{QUAMBA_F32, {}};
  int64_t total = 1;
  for (const auto& size : sizes) {
    if (size == "t" && type.shape.empty()) {
      type.shape.push_back(ROWS);
      continue;
    }
    const int64_t extent = extentOf(size);
    type.shape.push_back(extent);
    total = extent < 0 || total < 0 || total * extent > MOST_STATE ? -1 : total * extent;
  }
  if (sizes.empty() || sizes.size() > QUAMBA_MAX_RANK || total < 0)
    throw wrong(where + ".type expected one to " + std::to_string(QUAMBA_MAX_RANK) + " sizes with at most " +
                std::to_string(MOST_STATE) + " values; got '" + text + "'");
  return type;
}

}  // namespace

int64_t Type::size() const {
  int64_t size = 1;
  for (const int64_t axis : shape) size *= axis == ROWS ? 1 : axis;
  return size;
}

size_t Type::bytes() const { return static_cast<size_t>(size()) * BYTES[dtype]; }

std::string OpNode::input(const std::string& key) const {
  const auto at = in.find(key);
  return at == in.end() ? "" : at->second;
}

double OpNode::number(const std::string& key, double otherwise) const {
  for (const auto& attribute : attributes)
    if (attribute.name == key) return attribute.number;
  return otherwise;
}

Plan parsePlan(const std::string& text, const std::map<std::string, Type>& given) {
  const std::string where = "plan";
  const Json json = Json::parse(text, where);
  Plan plan;
  plan.input = json.at("input", where).string("plan.input");
  plan.result = json.at("result", where).string("plan.result");
  for (const auto& [ref, state] : json.at("states", where).object("plan.states")) {
    Kept kept;
    const Type& type = plan.states[ref] = stateType(state, "plan.states." + ref, kept);
    if (!type.perRow()) continue;
    const int64_t p = type.shape.size() > 1 ? type.width() : 1, groups = p > 0 ? type.size() / p : 0;
    const Cache& cache = plan.paged[ref] = {kept, plan.pageBytes, static_cast<int>(groups), static_cast<int>(p)};
    plan.pageBytes += cache.bytes();
  }
  plan.types[plan.input] = {QUAMBA_I32, {ROWS}};
  for (const auto& [ref, type] : json.at("weights", where).object("plan.weights")) {
    const std::string& expected = type.string("plan.weights." + ref);
    const auto found = given.find(ref);
    if (found == given.end()) throw wrong("plan.weights: '" + ref + "' was not given");
    const std::string got = describe(found->second.dtype, found->second.shape);
    if (got != expected) throw wrong("plan.weights." + ref + " expected " + expected + "; got " + got);
    plan.weights.push_back(ref);
    plan.types[ref] = found->second;
  }
  std::set<std::string> carried;  // states, each by one node
  const auto& nodes = json.at("nodes", where).list("plan.nodes");
  for (size_t i = 0; i < nodes.size(); i++) {
    const std::string at = "plan.nodes[" + std::to_string(i) + "]";
    plan.nodes.push_back(nodeOf(nodes[i], at));
    for (const auto& node : plan.nodes.back().body) {
      infer(node, plan, carried, at);
      if (node.name != "attention") continue;
      const size_t h = static_cast<size_t>(node.number("h", 1)), p = plan.states.at(node.state("K")).shape[2];
      plan.scratchValues = std::max(plan.scratchValues, h * (HEAD_SCRATCH + p));
    }
  }
  const auto result = plan.types.find(plan.result);
  if (result == plan.types.end()) throw wrong("plan.result: nothing defines '" + plan.result + "'");
  if (!result->second.perRow() || result->second.dtype != QUAMBA_F32 || result->second.shape.size() != 2)
    throw wrong("plan.result: '" + plan.result + "' expected f32[l, v]");
  return plan;
}

std::vector<quamba_attribute> attributesOf(const OpNode& node) {
  std::vector<quamba_attribute> list;
  for (const auto& a : node.attributes) list.push_back({a.name.c_str(), a.number, a.isText ? a.text.c_str() : nullptr});
  return list;
}

const Signature& signatureOf(int op) {
  static const std::vector<Signature> all = [] {
    std::vector<Signature> list;
    for (int i = 0; i < OP_COUNT; i++) list.emplace_back(OPS[i].text);
    return list;
  }();
  return all[op];
}

int opNamed(const std::string& name) {
  for (int i = 0; i < OP_COUNT; i++)
    if (signatureOf(i).name == name) return i;
  throw Failure(QUAMBA_UNKNOWN_OP, "no op '" + name + "'");
}

}  // namespace quamba
