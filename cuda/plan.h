// A plan as its JSON has it (src/plan/graph-json.ts), with every name resolved and every shape known.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cache.h"
#include "call.h"

namespace quamba {

/** Stands for the number of rows in a shape: the tokens that are fed; of a state that grows, all of its text so far. */
constexpr int64_t ROWS = -1;

struct Type {
  int32_t dtype;  // a quamba_dtype
  std::vector<int64_t> shape;

  bool perRow() const { return !shape.empty() && shape[0] == ROWS; }
  /** Values, of one row where it is per row. */
  int64_t size() const;
  size_t bytes() const;
  /** The size of the last axis. */
  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
};

struct Attribute {
  std::string name;
  double number;
  std::string text;
  bool isText;
};

struct OpNode {
  int op;  // in OPS
  std::string name;
  std::map<std::string, std::string> in, states, out;  // names of values and states
  std::vector<Attribute> attributes;

  /** The value of an input; "" where it is left out. */
  std::string input(const std::string& key) const;
  std::string output(const std::string& key) const { return out.at(key); }
  std::string state(const std::string& key) const { return states.at(key); }
  double number(const std::string& key, double otherwise) const;
};

/** One op, or those that a fused node stands for. */
struct Node {
  std::string fused;  // "" for one op
  std::vector<OpNode> body;
};

struct Plan {
  std::string input, result;
  std::vector<std::string> weights;
  std::map<std::string, Type> states;
  std::map<std::string, Cache> paged;  // the states that grow
  size_t pageBytes = 0;                // of a page of all of those (pages.h)
  size_t scratchValues = 0;            // f32, of a page in scratch memory
  std::vector<Node> nodes;
  std::map<std::string, Type> types;  // of every value and constant

  const Type& type(const std::string& ref) const { return types.at(ref); }
};

/** `given`: the type of each tensor that was given. Throws a Failure that names the node and the field. */
Plan parsePlan(const std::string& json, const std::map<std::string, Type>& given);

/** What quamba_op takes, for a node whose tensors lie anywhere. */
std::vector<quamba_attribute> attributesOf(const OpNode& node);

const Signature& signatureOf(int op);
/** The place in OPS of an op; fails where there is none. */
int opNamed(const std::string& name);

}  // namespace quamba
