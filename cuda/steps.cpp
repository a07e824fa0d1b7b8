#include "steps.h"

#include "compiler.h"

namespace quamba {

Program Compiler::compiled() {
  program.tokens = value(plan.input);
  for (const auto& node : plan.nodes) {
    for (const auto& op : node.body) check(op);
    if (node.fused.empty() || !fused(node.body))
      for (const auto& op : node.body) single(op);
  }
  program.result = value(plan.result);
  return std::move(program);
}

Program compile(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan) {
  return Compiler(plan, constants, states, nan).compiled();
}

}  // namespace quamba
