// The steps of fused nodes: one launch for a whole body.
#include <algorithm>

#include "compiler.h"

namespace quamba {

namespace {

const OpNode* find(const std::vector<OpNode>& body, const char* name) {
  for (const auto& op : body)
    if (op.name == name) return &op;
  return nullptr;
}
bool consistsOf(const std::vector<OpNode>& body, std::vector<std::string> names) {
  std::vector<std::string> has;
  for (const auto& op : body) has.push_back(op.name);
  std::sort(has.begin(), has.end());
  std::sort(names.begin(), names.end());
  return has == names;
}

}  // namespace

bool Compiler::leaves(const std::vector<OpNode>& body, const std::string& ref) const {
  if (ref == plan.result) return true;
  const auto found = readers.find(ref);
  if (found == readers.end()) return false;
  for (const OpNode* reader : found->second)
    if (reader < body.data() || reader >= body.data() + body.size()) return true;
  return false;
}

bool Compiler::fused(const std::vector<OpNode>& body) {
  for (const auto& op : body)
    if ((op.name == "quantize" || op.name == "dequantize") && !isStatic(op.input("scale"))) return false;
  return addNormQuantize(body) || gemmQuantize(body) || conv(body) || scan(body) || fwhtQuantized(body);
}

bool Compiler::addNormQuantize(const std::vector<OpNode>& body) {
  const OpNode *sum = find(body, "add"), *norm = find(body, "rms-norm"), *quantize = find(body, "quantize");
  if (!consistsOf(body, {"rms-norm", "quantize"}) && !consistsOf(body, {"add", "rms-norm", "quantize"})) return false;
  if (leaves(body, norm->output("y")) || quantize->input("x") != norm->output("y")) return false;
  if (sum && sum->output("sum") != norm->input("x")) return false;
  if (!norm->input("w").empty() && !isConstant(norm->input("w"))) return false;
  const int x = value(sum ? sum->input("x") : norm->input("x")), y = sum ? value(sum->input("y")) : -1;
  const int total = sum ? value(sum->output("sum")) : -1, out = value(quantize->output("q"));
  const int m = static_cast<int>(plan.type(norm->input("x")).width());
  const float eps = static_cast<float>(norm->number("eps", 1e-5));
  const float* w = constant(norm->input("w"));
  const Stored<int8_t> stored = steps(nullptr, *quantize);
  add(sum ? std::vector<int>{x, y} : std::vector<int>{x}, sum ? std::vector<int>{total, out} : std::vector<int>{out}, true,
      [=, nan = nan](const Rows& rows) {
        addNorm<int8_t>(rows.stream, {rows.at<float>(x), y < 0 ? nullptr : rows.at<float>(y), w, eps,
                                      total < 0 ? nullptr : rows.at<float>(total),
                                      {rows.at<int8_t>(out), stored.scale}, rows.count, m, nan});
      });
  return true;
}

bool Compiler::product(const OpNode& op, GemmI8& a) const {
  if (op.name != "linear-i8" || !isStatic(op.input("xscale")) || !isConstant(op.input("w")) || !isConstant(op.input("wscale")))
    return false;
  const Type& scales = constants.at(op.input("wscale")).type;
  if (scales.shape[1] != 1 || (!op.input("b").empty() && !isConstant(op.input("b")))) return false;
  const Type& w = constants.at(op.input("w")).type;
  a = {};
  a.xscale = constant(op.input("xscale"));
  a.w = constant<int8_t>(op.input("w"));
  a.wscale = constant(op.input("wscale"));
  a.scaleEachOutput = scales.shape[0] != 1;
  a.b = constant(op.input("b"));
  a.i = static_cast<int>(w.shape[1]);
  a.o = static_cast<int>(w.shape[0]);
  a.nan = nan;
  return true;
}

bool Compiler::gemmQuantize(const std::vector<OpNode>& body) {
  const OpNode* linear = find(body, "linear-i8");
  GemmI8 a;
  if (!linear || !product(*linear, a) || leaves(body, linear->output("y"))) return false;
  std::vector<int> outs;
  for (const auto& op : body) {
    if (op.name == "slice") {
      if (op.input("x") != linear->output("y") || leaves(body, op.output("y"))) return false;
    } else if (op.name == "quantize") {
      if (a.segments == 4) return false;
      int start = op.input("x") == linear->output("y") ? 0 : -1;
      for (const auto& slice : body)
        if (slice.name == "slice" && slice.output("y") == op.input("x")) start = static_cast<int>(slice.number("start", 0));
      if (start < 0) return false;
      a.segment[a.segments++] = {start, static_cast<int>(plan.type(op.input("x")).width()), steps(nullptr, op)};
      outs.push_back(value(op.output("q")));
    } else if (&op != linear) {
      return false;
    }
  }
  if (a.segments == 0) return false;
  const int x = value(linear->input("x"));
  add({x}, outs, true, [=](const Rows& rows) {
    GemmI8 g = a;
    g.x = rows.at<int8_t>(x);
    g.rows = rows.count;
    for (int s = 0; s < g.segments; s++) g.segment[s].out.data = rows.at<int8_t>(outs[s]);
    gemm(rows.stream, g);
  });
  return true;
}

bool Compiler::conv(const std::vector<OpNode>& body) {
  const OpNode *in = find(body, "dequantize"), *conv = find(body, "causal-conv1d"), *out = find(body, "quantize");
  if (!consistsOf(body, {"dequantize", "causal-conv1d", "quantize"})) return false;
  if (conv->input("x") != in->output("x") || out->input("x") != conv->output("y")) return false;
  if (leaves(body, in->output("x")) || leaves(body, conv->output("y"))) return false;
  if (!isConstant(conv->input("w")) || (!conv->input("b").empty() && !isConstant(conv->input("b")))) return false;
  ConvStored<int8_t> a{};
  const Type& w = plan.type(conv->input("w"));
  a.x.scale = constant(in->input("scale"));
  a.w = constant(conv->input("w"));
  a.b = constant(conv->input("b"));
  a.state = state(conv->state("past"));
  a.out.scale = constant(out->input("scale"));
  a.activated = isActivated(*conv);
  a.d = static_cast<int>(w.shape[0]);
  a.k = static_cast<int>(w.shape[1]);
  a.nan = nan;
  const int x = value(in->input("q")), q = value(out->output("q"));
  add({x}, {q}, true, [=](const Rows& rows) {
    ConvStored<int8_t> g = a;
    g.x.data = rows.at<int8_t>(x);
    g.out.data = rows.at<int8_t>(q);
    g.turns = rows.turns;
    convStored(rows.stream, g);
  });
  return true;
}

bool Compiler::scan(const std::vector<OpNode>& body) {
  const OpNode *scan = find(body, "selective-scan"), *softplus = find(body, "softplus");
  if (!scan) return false;
  if (!isConstant(scan->input("A")) || (!scan->input("D").empty() && !isConstant(scan->input("D")))) return false;
  ScanStored<int8_t, float> a{};
  size_t used = 1;
  /** Where the int8 steps of an input are; −1 where it is left out, −2 where they are none. */
  const auto source = [&](std::string ref, Stored<const int8_t>& stored) {
    if (ref.empty()) return -1;
    for (const auto& op : body)
      if (op.name == "dequantize" && op.output("x") == ref && !leaves(body, ref)) {
        stored.scale = constant(op.input("scale"));
        used++;
        return value(op.input("q"));
      }
    return -2;
  };
  std::string step = scan->input("dt");
  if (softplus) {
    if (softplus->output("y") != step || leaves(body, step)) return false;
    a.softplus = true;
    used++;
    step = softplus->input("x");
  }
  const int u = source(scan->input("u"), a.u), dt = source(step, a.dt), B = source(scan->input("B"), a.B);
  const int C = source(scan->input("C"), a.C), z = source(scan->input("z"), a.z);
  if (u < 0 || dt < 0 || B < 0 || C < 0 || z == -2 || used != body.size()) return false;
  const Type& A = plan.type(scan->input("A"));
  a.A = constant(scan->input("A"));
  a.D = constant(scan->input("D"));
  a.state = state(scan->state("h"));
  a.d = static_cast<int>(A.shape[0]);
  a.n = static_cast<int>(A.shape[1]);
  const int y = value(scan->output("y"));
  std::vector<int> reads{u, dt, B, C};
  if (z >= 0) reads.push_back(z);
  add(reads, {y}, true, [=](const Rows& rows) {
    ScanStored<int8_t, float> g = a;
    g.u.data = rows.at<int8_t>(u), g.dt.data = rows.at<int8_t>(dt);
    g.B.data = rows.at<int8_t>(B), g.C.data = rows.at<int8_t>(C);
    g.z.data = z < 0 ? nullptr : rows.at<int8_t>(z);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    scanStored(rows.stream, g);
  });
  return true;
}

bool Compiler::fwhtQuantized(const std::vector<OpNode>& body) {
  const OpNode *fwht = find(body, "fwht"), *quantize = find(body, "quantize");
  if (!consistsOf(body, {"fwht", "quantize"})) return false;
  if (quantize->input("x") != fwht->output("y") || leaves(body, fwht->output("y"))) return false;
  const int x = value(fwht->input("x")), q = value(quantize->output("q"));
  const int n = static_cast<int>(plan.type(fwht->input("x")).width());
  const bool inverse = fwht->number("inverse", 0) != 0;
  const float* scale = constant(quantize->input("scale"));
  add({x}, {q}, true, [=, nan = nan](const Rows& rows) {
    fwhtQuantize(rows.stream, rows.at<float>(x), {rows.at<int8_t>(q), scale}, rows.count, n, inverse, nan);
  });
  return true;
}

}  // namespace quamba
