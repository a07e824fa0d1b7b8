#include "steps.h"

#include <algorithm>

#include "causal-conv1d.cuh"
#include "elementwise.cuh"
#include "fused.h"
#include "linear.cuh"
#include "ops.h"
#include "selective-scan.cuh"

namespace quamba {

namespace {

class Compiler {
 public:
  Compiler(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan)
      : plan(plan), constants(constants), states(states), nan(nan) {
    for (const auto& node : plan.nodes)
      for (const auto& op : node.body)
        for (const auto& [key, ref] : op.in) readers[ref].push_back(&op);
  }

  Program compiled() {
    program.tokens = value(plan.input);
    for (const auto& node : plan.nodes)
      if (node.fused.empty() || !fused(node.body))
        for (const auto& op : node.body) single(op);
    program.result = value(plan.result);
    return std::move(program);
  }

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
    return ref.empty() ? nullptr : constants.at(ref).memory.get<T>();
  }
  float* state(const std::string& ref) const { return states.at(ref).get<float>(); }

  int value(const std::string& ref) {
    const auto [at, isNew] = values.emplace(ref, static_cast<int>(program.rowBytes.size()));
    if (isNew) program.rowBytes.push_back(plan.type(ref).bytes());
    return at->second;
  }

  void add(std::vector<int> reads, std::vector<int> writes, bool mixes, std::function<void(const Rows&)> run) {
    program.steps.push_back({std::move(reads), std::move(writes), mixes, std::move(run)});
  }

  // ---- fused nodes

  static const OpNode* find(const std::vector<OpNode>& body, const char* name) {
    for (const auto& op : body)
      if (op.name == name) return &op;
    return nullptr;
  }
  static bool consistsOf(const std::vector<OpNode>& body, std::vector<std::string> names) {
    std::vector<std::string> has;
    for (const auto& op : body) has.push_back(op.name);
    std::sort(has.begin(), has.end());
    std::sort(names.begin(), names.end());
    return has == names;
  }
  /** Somebody outside of the body needs the value. */
  bool leaves(const std::vector<OpNode>& body, const std::string& ref) const {
    if (ref == plan.result) return true;
    const auto found = readers.find(ref);
    if (found == readers.end()) return false;
    for (const OpNode* reader : found->second)
      if (reader < body.data() || reader >= body.data() + body.size()) return true;
    return false;
  }
  bool isStatic(const std::string& scale) const { return isConstant(scale) && constants.at(scale).type.size() == 1; }
  Stored<int8_t> steps(int8_t* data, const OpNode& op) const { return {data, constant(op.input("scale"))}; }

  /** Adds a step for the whole body where there is a kernel for it. */
  bool fused(const std::vector<OpNode>& body) {
    for (const auto& op : body)
      if ((op.name == "quantize" || op.name == "dequantize") && !isStatic(op.input("scale"))) return false;
    return addNormQuantize(body) || gemmQuantize(body) || conv(body) || scan(body) || fwhtQuantized(body);
  }

  bool addNormQuantize(const std::vector<OpNode>& body) {
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
    add(sum ? std::vector<int>{x, y} : std::vector<int>{x}, sum ? std::vector<int>{total, out} : std::vector<int>{out}, false,
        [=, nan = nan](const Rows& rows) {
          addNorm<int8_t>(rows.stream, {rows.at<float>(x), y < 0 ? nullptr : rows.at<float>(y), w, eps,
                                        total < 0 ? nullptr : rows.at<float>(total),
                                        {rows.at<int8_t>(out), stored.scale}, rows.count, m, nan});
        });
    return true;
  }

  /** A product with static scales, without what its results go to. */
  bool product(const OpNode& op, GemmI8& a) const {
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

  bool gemmQuantize(const std::vector<OpNode>& body) {
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
    add({x}, outs, false, [=](const Rows& rows) {
      GemmI8 g = a;
      g.x = rows.at<int8_t>(x);
      g.rows = rows.count;
      for (int s = 0; s < g.segments; s++) g.segment[s].out.data = rows.at<int8_t>(outs[s]);
      gemm(rows.stream, g);
    });
    return true;
  }

  bool conv(const std::vector<OpNode>& body) {
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

  bool scan(const std::vector<OpNode>& body) {
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

  bool fwhtQuantized(const std::vector<OpNode>& body) {
    const OpNode *fwht = find(body, "fwht"), *quantize = find(body, "quantize");
    if (!consistsOf(body, {"fwht", "quantize"})) return false;
    if (quantize->input("x") != fwht->output("y") || leaves(body, fwht->output("y"))) return false;
    const int x = value(fwht->input("x")), q = value(quantize->output("q"));
    const int n = static_cast<int>(plan.type(fwht->input("x")).width());
    const bool inverse = fwht->number("inverse", 0) != 0;
    const float* scale = constant(quantize->input("scale"));
    add({x}, {q}, false, [=, nan = nan](const Rows& rows) {
      fwhtQuantize(rows.stream, rows.at<float>(x), {rows.at<int8_t>(q), scale}, rows.count, n, inverse, nan);
    });
    return true;
  }

  // ---- single ops

  void single(const OpNode& op) {
    if (op.states.empty()) {
      if (!product(op) && !floatProduct(op) && !table(op)) general(op);
    } else {
      check(op);
      if (op.name == "causal-conv1d") conv(op);
      else scan(op);
    }
  }

  /** A float for each row and column, which an op with states reads. */
  int rowsOf(const std::string& ref) {
    if (isConstant(ref)) throw Failure(QUAMBA_WRONG_CALL, "plan: '" + ref + "' is a constant where the tokens of a text are expected");
    return value(ref);
  }

  static bool isActivated(const OpNode& conv) {
    for (const auto& attribute : conv.attributes)
      if (attribute.name == "activation") return attribute.text == "silu";
    return true;
  }

  void conv(const OpNode& op) {
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

  void scan(const OpNode& op) {
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

  bool product(const OpNode& op) {
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

  bool floatProduct(const OpNode& op) {
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

  bool table(const OpNode& op) {
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

  /** Points to the key. */
  static quamba_tensor tensorOf(const std::string& key, const Type& type, int rows, char* at) {
    quamba_tensor t{key.c_str(), type.dtype, static_cast<int32_t>(type.shape.size()), {}, at};
    for (size_t i = 0; i < type.shape.size(); i++) t.shape[i] = type.shape[i] == ROWS ? rows : type.shape[i];
    return t;
  }

  Operand operand(const std::string& key, const std::string& ref) {
    const Type& type = plan.type(ref);
    if (!isConstant(ref)) return {key, type, value(ref), nullptr};
    if (constants.at(ref).half) throw Failure(QUAMBA_WRONG_CALL, "plan: '" + ref + "' is kept as f16, which " + key + " cannot be");
    return {key, type, -1, constants.at(ref).memory.get()};
  }

  static Call callOf(const OpNode& op, const std::vector<quamba_attribute>& attributes, const std::vector<quamba_tensor>& in,
                     const std::vector<quamba_tensor>& out) {
    return Call(signatureOf(op.op), in.data(), static_cast<int32_t>(in.size()), attributes.data(),
                static_cast<int32_t>(attributes.size()), out.data(), static_cast<int32_t>(out.size()));
  }

  /** The constraints of an op, for one row, before there are any. */
  void check(const OpNode& op) const {
    char* const anywhere = reinterpret_cast<char*>(256);
    std::vector<quamba_tensor> in, out;
    for (const auto& [key, ref] : op.in) in.push_back(tensorOf(key, plan.type(ref), 1, anywhere));
    for (const auto& [key, ref] : op.out) out.push_back(tensorOf(key, plan.type(ref), 1, anywhere));
    for (const auto& [key, ref] : op.states) out.push_back(tensorOf(key, plan.states.at(ref), 1, anywhere));
    OPS[op.op].constraints(callOf(op, attributesOf(op), in, out));
  }

  /** Any op without states, as quamba_op runs it. */
  void general(const OpNode& op) {
    std::vector<Operand> inputs, outputs;
    std::vector<int> reads, writes;
    for (const auto& [key, ref] : op.in) inputs.push_back(operand(key, ref));
    for (const auto& [key, ref] : op.out) outputs.push_back(operand(key, ref));
    for (const auto& o : inputs)
      if (o.value >= 0) reads.push_back(o.value);
    for (const auto& o : outputs) writes.push_back(o.value);
    if (op.name != "embedding-i8") check(op);  // whose constraint is about the tokens, which are not here yet
    add(reads, writes, false, [=, nan = nan, node = op](const Rows& rows) {
      std::vector<quamba_tensor> in, out;
      Resident on{};
      on.nan = nan;
      on.stream = rows.stream;
      for (const auto& o : inputs) in.push_back(o.of(rows)), on.inputs[o.key] = in.back().data;
      for (const auto& o : outputs) out.push_back(o.of(rows)), on.outputs[o.key] = out.back().data;
      OPS[node.op].run(callOf(node, attributesOf(node), in, out), on);
    });
  }
};

}  // namespace

Program compile(const Plan& plan, const Constants& constants, const States& states, NanPlace* nan) {
  return Compiler(plan, constants, states, nan).compiled();
}

}  // namespace quamba
