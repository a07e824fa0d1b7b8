// Makes the steps of a plan: what they share, and what each file of them defines.
#pragma once

#include "fused.h"
#include "steps.h"

namespace quamba {

class Compiler {
 public:
  Compiler(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan)
      : plan(plan), constants(constants), states(states), nan(nan) {
    for (const auto& node : plan.nodes)
      for (const auto& op : node.body)
        for (const auto& [key, ref] : op.in) readers[ref].push_back(&op);
  }

  Program compiled();

 private:
  const Plan& plan;
  const Constants& constants;
  const States& states;
  NanPlace* const nan;
  std::map<std::string, std::vector<const OpNode*>> readers;
  std::map<std::string, int> values;
  Program program;

  bool isConstant(const std::string& ref) const { return constants.count(ref) > 0; }
  /** Null for "". */
  template <class T = float>
  const T* constant(const std::string& ref) const {
    if (ref.empty()) return nullptr;
    if (!isConstant(ref)) throw Failure(QUAMBA_WRONG_CALL, "plan: '" + ref + "' expected a constant");
    return constants.at(ref).memory.get<T>();
  }
  float* state(const std::string& ref) const { return states.at(ref).get<float>(); }

  int value(const std::string& ref) {
    const auto [at, isNew] = values.emplace(ref, static_cast<int>(program.rowBytes.size()));
    if (isNew) program.rowBytes.push_back(plan.type(ref).bytes());
    return at->second;
  }

  void add(std::vector<int> reads, std::vector<int> writes, bool everyRow, std::function<void(const Rows&)> run) {
    program.steps.push_back({std::move(reads), std::move(writes), everyRow, std::move(run)});
  }

  static bool isActivated(const OpNode& conv);

  // fused-steps.cpp

  /** Adds a step for a whole body where there is a kernel for it. */
  bool fused(const std::vector<OpNode>& body);
  bool addNormQuantize(const std::vector<OpNode>& body);
  bool gemmQuantize(const std::vector<OpNode>& body);
  bool conv(const std::vector<OpNode>& body);
  bool scan(const std::vector<OpNode>& body);
  bool ssd(const std::vector<OpNode>& body);
  bool gatedNorm(const std::vector<OpNode>& body);
  bool fwhtQuantized(const std::vector<OpNode>& body);
  void transformQuantized(const OpNode& fwht, const OpNode& quantize);
  bool swigluQuantized(const std::vector<OpNode>& body);
  /** A product with static scales, without what its results go to. */
  bool product(const OpNode& op, GemmI8& a) const;
  /** Somebody outside of the body needs the value. */
  bool leaves(const std::vector<OpNode>& body, const std::string& ref) const;
  bool isStatic(const std::string& scale) const { return isConstant(scale) && constants.at(scale).type.size() == 1; }
  Stored<int8_t> steps(int8_t* data, const OpNode& op) const { return {data, constant(op.input("scale"))}; }
  /** The op of a body that makes a value, of this name, where nobody else needs that value; else null. */
  const OpNode* maker(const std::vector<OpNode>& body, const std::string& ref, const char* name) const;
  /**
   * Where the int8 steps are of which a body makes a real value, by channel or not, that nobody else needs; −1 where it is none.
   * `used` grows by the ops that make it.
   */
  int restored(const std::vector<OpNode>& body, std::string ref, Stored<const int8_t>& stored, size_t& used);
  /**
   * Where the steps go that a body makes of a value: of the whole or of columns, by channel or not. None where others need the
   * value, or a column twice. `used` grows by the ops that make them.
   */
  std::vector<int> segments(
      const std::vector<OpNode>& body, const std::string& ref, Segment<int8_t> (&segment)[4], size_t& used);

  // single-steps.cu

  void single(const OpNode& op);
  /** The constraints of an op, for one row, before there are any. Those of an embedding are about tokens: see Context. */
  void check(const OpNode& op) const;
  void conv(const OpNode& op);
  void scan(const OpNode& op);
  void ssdSingle(const OpNode& op);
  void ropeTable(const OpNode& op);
  void attention(const OpNode& op);
  /** Without its inputs of the tokens, and where its results go. */
  template <class T>
  SsdScan<T> ssdScan(const OpNode& op) const;
  bool product(const OpNode& op);
  bool floatProduct(const OpNode& op);
  bool table(const OpNode& op);
  /** Any op without states, as quamba_op runs it. */
  void general(const OpNode& op);
  /** A value with a row for each token, which an op with states reads. */
  int rowsOf(const std::string& ref);
};

}  // namespace quamba
