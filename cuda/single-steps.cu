// The steps of single ops.
#include "attention.h"
#include "causal-conv1d.cuh"
#include "compiler.h"
#include "elementwise.cuh"
#include "linear.cuh"
#include "ops.h"
#include "rope-table.cuh"
#include "selective-scan.cuh"
#include "ssd-scan.cuh"

namespace quamba {

namespace {

/** Points to the key. */
quamba_tensor tensorOf(const std::string& key, const Type& type, int rows, char* at) {
  quamba_tensor t{key.c_str(), type.dtype, static_cast<int32_t>(type.shape.size()), {}, at};
  for (size_t i = 0; i < type.shape.size(); i++) t.shape[i] = type.shape[i] == ROWS ? rows : type.shape[i];
  return t;
}

/** A tensor of an op and where it lies: a value, or else at `fixed`. */
struct Operand {
  std::string key;
  Type type;
  int value;
  char* fixed;

  quamba_tensor of(const Rows& rows) const {
    return tensorOf(key, type, rows.count, value < 0 ? fixed : rows.at<char>(value));
  }
};

Call callOf(const OpNode& op, const std::vector<quamba_attribute>& attributes, const std::vector<quamba_tensor>& in,
                   const std::vector<quamba_tensor>& out) {
  return Call(signatureOf(op.op), in.data(), static_cast<int32_t>(in.size()), attributes.data(),
              static_cast<int32_t>(attributes.size()), out.data(), static_cast<int32_t>(out.size()));
}

}  // namespace

bool Compiler::isActivated(const OpNode& conv) {
  for (const auto& attribute : conv.attributes)
    if (attribute.name == "activation") return attribute.text == "silu";
  return true;
}

void Compiler::single(const OpNode& op) {
  if (op.states.empty()) {
    if (!product(op) && !floatProduct(op) && !table(op)) general(op);
  } else if (op.name == "causal-conv1d") {
    conv(op);
  } else if (op.name == "selective-scan") {
    scan(op);
  } else if (op.name == "ssd-scan") {
    ssdSingle(op);
  } else if (op.name == "rope-table") {
    ropeTable(op);
  } else {
    attention(op);
  }
}

int Compiler::rowsOf(const std::string& ref) {
  if (isConstant(ref)) throw Failure(QUAMBA_WRONG_CALL, "plan: '" + ref + "' is a constant where the tokens of a text are expected");
  return value(ref);
}

void Compiler::conv(const OpNode& op) {
  const Type& w = plan.type(op.input("w"));
  Conv a{};
  a.w = constant(op.input("w"));
  a.b = constant(op.input("b"));
  a.before = a.after = state(op.state("past"));
  a.d = static_cast<int>(w.shape[0]);
  a.k = static_cast<int>(w.shape[1]);
  a.activated = isActivated(op);
  const int x = rowsOf(op.input("x")), y = value(op.output("y"));
  add({x}, {y}, true, [=](const Rows& rows) {
    Conv g = a;
    g.x = rows.at<float>(x);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    causalConv1d(rows.stream, g);
  });
}

void Compiler::scan(const OpNode& op) {
  const Type& A = plan.type(op.input("A"));
  Scan a{};
  a.A = constant(op.input("A"));
  a.D = constant(op.input("D"));
  a.before = a.after = state(op.state("h"));
  a.d = static_cast<int>(A.shape[0]);
  a.n = static_cast<int>(A.shape[1]);
  const int u = rowsOf(op.input("u")), dt = rowsOf(op.input("dt")), B = rowsOf(op.input("B")), C = rowsOf(op.input("C"));
  const int z = op.input("z").empty() ? -1 : rowsOf(op.input("z")), y = value(op.output("y"));
  std::vector<int> reads{u, dt, B, C};
  if (z >= 0) reads.push_back(z);
  add(reads, {y}, true, [=](const Rows& rows) {
    Scan g = a;
    g.u = rows.at<float>(u), g.dt = rows.at<float>(dt), g.B = rows.at<float>(B), g.C = rows.at<float>(C);
    g.z = z < 0 ? nullptr : rows.at<float>(z);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    selectiveScan(rows.stream, g);
  });
}

template <class T>
SsdScan<T> Compiler::ssdScan(const OpNode& op) const {
  const Type& S = plan.states.at(op.state("S"));
  SsdScan<T> a{};
  a.A = constant(op.input("A"));
  a.D = constant(op.input("D"));
  a.bias = constant(op.input("bias"));
  a.before = a.after = state(op.state("S"));
  a.h = static_cast<int>(S.shape[0]);
  a.n = static_cast<int>(S.shape[1]);
  a.p = static_cast<int>(S.shape[2]);
  a.groups = static_cast<int>(op.number("g", 1));
  a.lo = static_cast<float>(op.number("lo", 0));
  a.hi = static_cast<float>(op.number("hi", NO_LIMIT));
  return a;
}
template SsdScan<int8_t> Compiler::ssdScan<int8_t>(const OpNode&) const;

void Compiler::ssdSingle(const OpNode& op) {
  const SsdScan<float> a = ssdScan<float>(op);
  const int dt = rowsOf(op.input("dt")), x = rowsOf(op.input("x")), B = rowsOf(op.input("B")), C = rowsOf(op.input("C"));
  const int y = value(op.output("y"));
  add({dt, x, B, C}, {y}, true, [=](const Rows& rows) {
    SsdScan<float> g = a;
    g.dt.data = rows.at<float>(dt), g.x.data = rows.at<float>(x);
    g.B.data = rows.at<float>(B), g.C.data = rows.at<float>(C);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    launchSsdScan(rows.stream, g);
  });
}

void Compiler::ropeTable(const OpNode& op) {
  const Type& freq = plan.type(op.input("freq"));
  RopeTable a{};
  a.freq = constant(op.input("freq"));
  a.before = a.after = state(op.state("fed"));
  a.sine = op.number("sine", 0) != 0;
  a.r = static_cast<int>(freq.shape[0]);
  const int y = value(op.output("y"));
  add({}, {y}, true, [=](const Rows& rows) {
    RopeTable g = a;
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    launchRopeTable(rows.stream, g);
  });
}

void Compiler::attention(const OpNode& op) {
  Attention a{};
  a.scale = static_cast<float>(op.number("scale", 1));
  a.h = static_cast<int>(op.number("h", 1));
  a.keys = plan.paged.at(op.state("K"));
  a.values = plan.paged.at(op.state("V"));
  const int q = rowsOf(op.input("q")), k = rowsOf(op.input("k")), v = rowsOf(op.input("v")), y = value(op.output("y"));
  add({q, k, v}, {y}, true, [=](const Rows& rows) {
    Attention g = a;
    g.q = rows.at<float>(q), g.k = rows.at<float>(k), g.v = rows.at<float>(v);
    g.y = rows.at<float>(y);
    g.turns = rows.turns;
    launchAttention(rows.stream, g);
  });
}

bool Compiler::product(const OpNode& op) {
  GemmI8 a;
  if (!product(op, a)) return false;
  const int x = value(op.input("x")), y = value(op.output("y"));
  add({x}, {y}, false, [=](const Rows& rows) {
    GemmI8 g = a;
    g.x = rows.at<int8_t>(x);
    g.y = rows.at<float>(y);
    g.rows = rows.count;
    gemm(rows.stream, g);
  });
  return true;
}

bool Compiler::floatProduct(const OpNode& op) {
  if (op.name != "linear" || isConstant(op.input("x")) || !isConstant(op.input("w"))) return false;
  if (!op.input("b").empty() && !isConstant(op.input("b"))) return false;
  const Constant& w = constants.at(op.input("w"));
  const int x = value(op.input("x")), y = value(op.output("y"));
  const int o = static_cast<int>(w.type.shape[0]), i = static_cast<int>(w.type.shape[1]);
  const float* b = constant(op.input("b"));
  add({x}, {y}, false, [=, &w](const Rows& rows) {
    if (w.half) linear(rows.stream, rows.at<float>(x), w.memory.get<__half>(), b, rows.at<float>(y), rows.count, i, o);
    else linear(rows.stream, rows.at<float>(x), w.memory.get<float>(), b, rows.at<float>(y), rows.count, i, o);
  });
  return true;
}

bool Compiler::table(const OpNode& op) {
  if (op.name != "embedding" || !isConstant(op.input("w"))) return false;
  const Constant& w = constants.at(op.input("w"));
  const int tokens = value(op.input("tokens")), y = value(op.output("y")), m = static_cast<int>(w.type.shape[1]);
  add({tokens}, {y}, false, [=, &w](const Rows& rows) {
    const int32_t* ids = rows.at<int32_t>(tokens);
    if (w.half) embedding(rows.stream, ids, w.memory.get<__half>(), rows.at<float>(y), rows.count, m);
    else embedding(rows.stream, ids, w.memory.get<float>(), rows.at<float>(y), rows.count, m);
  });
  return true;
}

void Compiler::check(const OpNode& op) const {
  if (!op.input("tokens").empty()) return;
  char* const anywhere = reinterpret_cast<char*>(256);
  std::vector<quamba_tensor> in, out;
  for (const auto& [key, ref] : op.in) in.push_back(tensorOf(key, plan.type(ref), 1, anywhere));
  for (const auto& [key, ref] : op.out) out.push_back(tensorOf(key, plan.type(ref), 1, anywhere));
  for (const auto& [key, ref] : op.states) out.push_back(tensorOf(key, plan.states.at(ref), 1, anywhere));
  OPS[op.op].constraints(callOf(op, attributesOf(op), in, out));
}

void Compiler::general(const OpNode& op) {
  std::vector<Operand> inputs, outputs;
  std::vector<int> reads, writes;
  const auto operand = [&](const std::string& key, const std::string& ref) -> Operand {
    const Type& type = plan.type(ref);
    if (!isConstant(ref)) return {key, type, value(ref), nullptr};
    if (constants.at(ref).half) throw Failure(QUAMBA_WRONG_CALL, "plan: '" + ref + "' is kept as f16, which " + key + " cannot be");
    return {key, type, -1, constants.at(ref).memory.get()};
  };
  for (const auto& [key, ref] : op.in) inputs.push_back(operand(key, ref));
  for (const auto& [key, ref] : op.out) outputs.push_back(operand(key, ref));
  for (const auto& o : inputs)
    if (o.value >= 0) reads.push_back(o.value);
  for (const auto& o : outputs) writes.push_back(o.value);
  add(reads, writes, op.name == "quantize", [=, nan = nan, node = op](const Rows& rows) {
    std::vector<quamba_tensor> in, out;
    Resident on{};
    on.nan = nan;
    on.stream = rows.stream;
    for (const auto& o : inputs) in.push_back(o.of(rows)), on.inputs[o.key] = in.back().data;
    for (const auto& o : outputs) out.push_back(o.of(rows)), on.outputs[o.key] = out.back().data;
    OPS[node.op].run(callOf(node, attributesOf(node), in, out), on);
  });
}

}  // namespace quamba
