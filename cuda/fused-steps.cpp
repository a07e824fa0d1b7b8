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
  return addNormQuantize(body) || gemmQuantize(body) || conv(body) || scan(body) || ssd(body) || gatedNorm(body) ||
         fwhtQuantized(body) || swigluQuantized(body);
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

const OpNode* Compiler::maker(const std::vector<OpNode>& body, const std::string& ref, const char* name) const {
  if (leaves(body, ref)) return nullptr;
  for (const auto& op : body)
    if (op.name == name && op.out.begin()->second == ref) return &op;
  return nullptr;
}

int Compiler::restored(const std::vector<OpNode>& body, std::string ref, Stored<const int8_t>& stored, size_t& used) {
  const OpNode* scaled = maker(body, ref, "scale-channels");
  if (scaled) {
    if (scaled->number("inverse", 0) != 0 || !isConstant(scaled->input("c"))) return -1;
    stored.channels = constant(scaled->input("c"));
    ref = scaled->input("x");
  }
  const OpNode* steps = maker(body, ref, "dequantize");
  if (!steps || isConstant(steps->input("q"))) return -1;
  stored.scale = constant(steps->input("scale"));
  used += scaled ? 2 : 1;
  return value(steps->input("q"));
}

std::vector<int> Compiler::segments(
    const std::vector<OpNode>& body, const std::string& ref, Segment<int8_t> (&segment)[4], size_t& used) {
  if (leaves(body, ref)) return {};
  std::vector<int> outs;
  for (const auto& op : body) {
    if (op.name != "quantize") continue;
    if (outs.size() == 4) return {};
    std::string x = op.input("x");
    Segment<int8_t> made{0, static_cast<int>(plan.type(x).width()), steps(nullptr, op)};
    if (const OpNode* scaled = maker(body, x, "scale-channels")) {
      if (scaled->number("inverse", 0) == 0 || !isConstant(scaled->input("c"))) return {};
      made.out.channels = constant(scaled->input("c"));
      x = scaled->input("x");
      used++;
    }
    if (const OpNode* part = maker(body, x, "slice")) {
      made.start = static_cast<int>(part->number("start", 0));
      x = part->input("x");
      used++;
    }
    if (x != ref) return {};
    for (size_t s = 0; s < outs.size(); s++)
      if (made.start < segment[s].start + segment[s].size && segment[s].start < made.start + made.size) return {};
    segment[outs.size()] = made;
    outs.push_back(value(op.output("q")));
    used++;
  }
  return outs;
}

bool Compiler::gemmQuantize(const std::vector<OpNode>& body) {
  const OpNode* linear = find(body, "linear-i8");
  GemmI8 a;
  if (!linear || !product(*linear, a)) return false;
  size_t used = 1;
  const std::vector<int> outs = segments(body, linear->output("y"), a.segment, used);
  if (outs.empty() || used != body.size()) return false;
  a.segments = static_cast<int>(outs.size());
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
  const OpNode* conv = find(body, "causal-conv1d");
  if (!conv || !isConstant(conv->input("w")) || (!conv->input("b").empty() && !isConstant(conv->input("b")))) return false;
  ConvStored<int8_t> a{};
  size_t used = 1;
  const int x = restored(body, conv->input("x"), a.x, used);
  if (x < 0) return false;
  const std::vector<int> outs = segments(body, conv->output("y"), a.segment, used);
  if (outs.empty() || used != body.size()) return false;
  const Type& w = plan.type(conv->input("w"));
  a.w = constant(conv->input("w"));
  a.b = constant(conv->input("b"));
  a.state = state(conv->state("past"));
  a.segments = static_cast<int>(outs.size());
  a.activated = isActivated(*conv);
  a.d = static_cast<int>(w.shape[0]);
  a.k = static_cast<int>(w.shape[1]);
  a.nan = nan;
  add({x}, outs, true, [=](const Rows& rows) {
    ConvStored<int8_t> g = a;
    g.x.data = rows.at<int8_t>(x);
    for (int s = 0; s < g.segments; s++) g.segment[s].out.data = rows.at<int8_t>(outs[s]);
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
  std::string step = scan->input("dt");
  if (softplus) {
    if (softplus->output("y") != step || leaves(body, step)) return false;
    a.softplus = true;
    used++;
    step = softplus->input("x");
  }
  const int u = restored(body, scan->input("u"), a.u, used), dt = restored(body, step, a.dt, used);
  const int B = restored(body, scan->input("B"), a.B, used), C = restored(body, scan->input("C"), a.C, used);
  const int z = scan->input("z").empty() ? -1 : restored(body, scan->input("z"), a.z, used);
  if (u < 0 || dt < 0 || B < 0 || C < 0 || (z < 0 && !scan->input("z").empty()) || used != body.size()) return false;
  for (const auto* stored : {&a.u, &a.dt, &a.B, &a.C, &a.z})
    if (stored->channels) return false;
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

bool Compiler::ssd(const std::vector<OpNode>& body) {
  const OpNode* scan = find(body, "ssd-scan");
  if (!scan) return false;
  for (const char* key : {"A", "D", "bias"})
    if (!scan->input(key).empty() && !isConstant(scan->input(key))) return false;
  SsdScan<int8_t> a = ssdScan<int8_t>(*scan);
  size_t used = 1;
  const int dt = restored(body, scan->input("dt"), a.dt, used), x = restored(body, scan->input("x"), a.x, used);
  const int B = restored(body, scan->input("B"), a.B, used), C = restored(body, scan->input("C"), a.C, used);
  if (dt < 0 || x < 0 || B < 0 || C < 0 || used != body.size()) return false;
  const int y = value(scan->output("y"));
  add({dt, x, B, C}, {y}, true, [=](const Rows& rows) {
    SsdScan<int8_t> g = a;
    g.dt.data = rows.at<int8_t>(dt), g.x.data = rows.at<int8_t>(x);
    g.B.data = rows.at<int8_t>(B), g.C.data = rows.at<int8_t>(C);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    ssdScanStored(rows.stream, g);
  });
  return true;
}

bool Compiler::gatedNorm(const std::vector<OpNode>& body) {
  const OpNode *norm = find(body, "gated-rms-norm"), *quantize = find(body, "quantize");
  if (!norm || (!norm->input("w").empty() && !isConstant(norm->input("w")))) return false;
  if (quantize && (quantize->input("x") != norm->output("y") || leaves(body, norm->output("y")))) return false;
  if (isConstant(norm->input("x"))) return false;
  Stored<const int8_t> gate{};
  size_t used = quantize ? 2 : 1;
  const int x = value(norm->input("x")), z = restored(body, norm->input("z"), gate, used);
  if (z < 0 || used != body.size()) return false;
  const int d = static_cast<int>(plan.type(norm->input("x")).width()), groups = static_cast<int>(norm->number("g", 1));
  const float eps = static_cast<float>(norm->number("eps", 1e-5));
  const float *w = constant(norm->input("w")), *scale = quantize ? constant(quantize->input("scale")) : nullptr;
  const int out = value(quantize ? quantize->output("q") : norm->output("y"));
  add({x, z}, {out}, quantize != nullptr, [=, nan = nan](const Rows& rows) {
    const Stored<const int8_t> gates{rows.at<int8_t>(z), gate.scale, gate.channels};
    const float* from = rows.at<float>(x);
    if (scale)
      gatedNormStored<int8_t>(
          rows.stream, {from, gates, w, eps, {rows.at<int8_t>(out), scale, nullptr}, rows.count, d, groups, nan});
    else
      gatedNormStored<float>(
          rows.stream, {from, gates, w, eps, {rows.at<float>(out), nullptr, nullptr}, rows.count, d, groups, nan});
  });
  return true;
}

bool Compiler::fwhtQuantized(const std::vector<OpNode>& body) {
  const OpNode *fwht = find(body, "fwht"), *quantize = find(body, "quantize");
  if (!consistsOf(body, {"fwht", "quantize"})) return false;
  if (quantize->input("x") != fwht->output("y") || leaves(body, fwht->output("y"))) return false;
  transformQuantized(*fwht, *quantize);
  return true;
}

void Compiler::transformQuantized(const OpNode& fwht, const OpNode& quantize) {
  const int x = value(fwht.input("x")), q = value(quantize.output("q"));
  const int n = static_cast<int>(plan.type(fwht.input("x")).width());
  const bool inverse = fwht.number("inverse", 0) != 0;
  const float* scale = constant(quantize.input("scale"));
  add({x}, {q}, true, [=, nan = nan](const Rows& rows) {
    fwhtQuantize(rows.stream, rows.at<float>(x), {rows.at<int8_t>(q), scale}, rows.count, n, inverse, nan);
  });
}

bool Compiler::swigluQuantized(const std::vector<OpNode>& body) {
  const OpNode *swiglu = find(body, "swiglu"), *fwht = find(body, "fwht"), *quantize = find(body, "quantize");
  if (!swiglu || !quantize || leaves(body, swiglu->output("y"))) return false;
  if (fwht && (fwht->input("x") != swiglu->output("y") || leaves(body, fwht->output("y")))) return false;
  if (quantize->input("x") != (fwht ? fwht : swiglu)->output("y")) return false;
  size_t used = fwht ? 3 : 2;
  struct Part {
    int value, start, width;
  };
  const auto part = [&](const std::string& ref) -> Part {
    const OpNode* slice = maker(body, ref, "slice");
    const std::string& whole = slice ? slice->input("x") : ref;
    used += slice ? 1 : 0;
    if (isConstant(whole)) return {-1, 0, 0};
    return {value(whole), slice ? static_cast<int>(slice->number("start", 0)) : 0, static_cast<int>(plan.type(whole).width())};
  };
  const Part gate = part(swiglu->input("gate")), up = part(swiglu->input("up"));
  if (gate.value < 0 || up.value < 0 || used != body.size()) return false;
  const float* scale = fwht ? nullptr : constant(quantize->input("scale"));
  const int out = value(fwht ? swiglu->output("y") : quantize->output("q"));
  const int n = static_cast<int>(plan.type(swiglu->output("y")).width());
  add({gate.value, up.value}, {out}, !fwht, [=, nan = nan](const Rows& rows) {
    const auto columns = [&](const Part& of) { return Strided{rows.at<float>(of.value) + of.start, of.width}; };
    const Strided g = columns(gate), u = columns(up);
    if (scale) swigluStored<int8_t>(rows.stream, {g, u, {rows.at<int8_t>(out), scale, nullptr}, rows.count, n, nan});
    else swigluStored<float>(rows.stream, {g, u, {rows.at<float>(out), nullptr, nullptr}, rows.count, n, nan});
  });
  if (fwht) transformQuantized(*fwht, *quantize);
  return true;
}

}  // namespace quamba
