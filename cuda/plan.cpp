#include "plan.h"

#include <set>

#include "json.h"
#include "ops.h"

namespace quamba {

namespace {

constexpr size_t BYTES[] = {4, 1, 4};
/** As in src/plan/graph-json.ts: what a file asks for beyond that is not allocated. */
constexpr int64_t MOST_STATE = 1 << 24;

Failure wrong(const std::string& text) { return Failure(QUAMBA_WRONG_CALL, text); }

std::map<std::string, std::string> refs(const Json& json, const std::string& where, const std::vector<Parameter>& expected) {
  std::map<std::string, std::string> found;
  for (const auto& [key, ref] : json.object(where)) {
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
  node.in = refs(json.at("in", where), where + ".in", signature.inputs);
  node.out = refs(json.at("out", where), where + ".out", signature.outputs);
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

/** Solves the letters of a signature from the inputs of a node, and gives its outputs their types. */
void infer(const OpNode& node, std::map<std::string, Type>& types, const std::string& where) {
  const Signature& signature = signatureOf(node.op);
  std::map<std::string, int64_t> dims;
  for (const auto& attribute : node.attributes)
    if (!attribute.isText) dims[attribute.name] = static_cast<int64_t>(attribute.number);
  for (const auto& p : signature.inputs) {
    const auto given = node.in.find(p.name);
    if (given == node.in.end()) continue;
    const auto known = types.find(given->second);
    if (known == types.end()) throw wrong(where + ": nothing defines '" + given->second + "'");
    const Type& type = known->second;
    bool fits = type.dtype == p.dtype && type.shape.size() == p.axes.size();
    for (size_t i = 0; fits && i < p.axes.size(); i++) {
      const Axis& axis = p.axes[i];
      const int64_t size = type.shape[i] == ROWS ? ROWS : type.shape[i] + axis.minus;
      fits = dims.emplace(axis.letter, size).first->second == size;
    }
    if (!fits) throw wrong(where + ": " + node.name + ": " + given->second + " is no " + p.text + " here");
  }
  for (const auto& p : signature.outputs) {
    Type type{p.dtype, {}};
    for (const auto& axis : p.axes) {
      const auto size = dims.find(axis.letter);
      if (size == dims.end() || (size->second != ROWS && size->second < axis.minus))
        throw wrong(where + ": " + node.name + ": the size of " + p.name + " is not known");
      type.shape.push_back(size->second == ROWS ? ROWS : size->second - axis.minus);
    }
    types[node.out.at(p.name)] = type;
  }
}

std::map<std::string, Type> statesOf(const Json& json, const std::string& where) {
  std::map<std::string, Type> states;
  for (const auto& [ref, shape] : json.object(where)) {
    Type type{QUAMBA_F32, {}};
    for (const auto& size : shape.list(where + "." + ref)) type.shape.push_back(size.count(where + "." + ref));
    int64_t size = 1;
    for (const int64_t axis : type.shape) size = axis > MOST_STATE ? MOST_STATE + 1 : size * axis;
    if (size > MOST_STATE || type.shape.size() > QUAMBA_MAX_RANK)
      throw wrong(where + "." + ref + " expected at most " + std::to_string(MOST_STATE) + " values");
    states[ref] = type;
  }
  return states;
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

Plan parsePlan(const std::string& text, const std::map<std::string, Type>& weights) {
  const std::string where = "plan";
  const Json json = Json::parse(text, where);
  Plan plan;
  plan.input = json.at("input", where).string("plan.input");
  plan.result = json.at("result", where).string("plan.result");
  plan.states = statesOf(json.at("states", where), "plan.states");
  plan.types = plan.states;
  plan.types[plan.input] = {QUAMBA_I32, {ROWS}};
  for (const auto& item : json.at("weights", where).list("plan.weights")) {
    const std::string& ref = item.string("plan.weights");
    const auto given = weights.find(ref);
    if (given == weights.end()) throw wrong("plan.weights: '" + ref + "' was not given");
    plan.weights.push_back(ref);
    plan.types[ref] = given->second;
  }
  const auto& nodes = json.at("nodes", where).list("plan.nodes");
  for (size_t i = 0; i < nodes.size(); i++) {
    const std::string at = "plan.nodes[" + std::to_string(i) + "]";
    plan.nodes.push_back(nodeOf(nodes[i], at));
    for (const auto& node : plan.nodes.back().body) {
      infer(node, plan.types, at);
      for (const auto& [key, ref] : node.out)
        if ((key == "state") != plan.isState(ref)) throw wrong(at + ": '" + ref + "' is not what " + key + " can be");
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
