#include "match.h"

#include <type_traits>

namespace quamba {

namespace {

/** Thrown where a plan is of another shape. */
struct Other {};

void demand(bool holds) {
  if (!holds) throw Other();
}

template <class W>
class Matcher {
 public:
  Matcher(const Plan& plan, const Constants& constants, const States& states)
      : plan(plan), constants(constants), states(states) {
    for (const auto& node : plan.nodes)
      for (const auto& op : node.body) {
        left++;
        for (const auto& [key, ref] : op.in) readers[ref].push_back(&op);
      }
  }

  DecodeModel<W> matched() {
    DecodeModel<W> model{};
    std::string h = embedding(model);
    for (;;) {
      const OpNode& norm = reader(h, "rms-norm");
      const float eps = static_cast<float>(norm.number("eps", 1e-5));
      const float* w = constant(norm.input("w"));
      float inScale = 0;
      const OpNode* quantize = QUANTIZED ? optionalReader(norm.output("y"), "quantize") : nullptr;
      const std::string in = quantize ? quantized(norm.output("y"), inScale) : norm.output("y");
      const OpNode& product = reader(in, quantize ? "linear-i8" : "linear");
      if (product.output("y") == plan.result) {
        model.finalNorm = w;
        model.finalEps = eps;
        head(model, product, inScale);
        break;
      }
      Layer<W> layer{};
      layer.norm = w;
      layer.eps = eps;
      layer.inScale = inScale;
      h = block(model, layer, product, h);
      model.layer.push_back(layer);
    }
    model.layers = static_cast<int>(model.layer.size());
    demand(model.layers > 0 && left == 0);
    return model;
  }

 private:
  static constexpr bool QUANTIZED = std::is_same_v<W, int8_t>;
  static constexpr const char* LINEAR = QUANTIZED ? "linear-i8" : "linear";

  const Plan& plan;
  const Constants& constants;
  const States& states;
  std::map<std::string, std::vector<const OpNode*>> readers;
  int left = 0;  // ops that nothing has taken yet

  const OpNode* optionalReader(const std::string& ref, const std::string& name) const {
    const OpNode* found = nullptr;
    const auto all = readers.find(ref);
    if (all != readers.end())
      for (const OpNode* op : all->second)
        if (op->name == name) {
          if (found) return nullptr;
          found = op;
        }
    return found;
  }
  /** The one op of this name that reads a value. Each is taken once. */
  const OpNode& reader(const std::string& ref, const std::string& name) {
    const OpNode* op = optionalReader(ref, name);
    demand(op != nullptr);
    left--;
    return *op;
  }

  const Constant& known(const std::string& ref) const {
    const auto at = constants.find(ref);
    demand(at != constants.end());
    return at->second;
  }
  /** f32; null for "". */
  const float* constant(const std::string& ref) const {
    if (ref.empty()) return nullptr;
    demand(known(ref).type.dtype == QUAMBA_F32 && !known(ref).half);
    return known(ref).memory.template get<float>();
  }
  float scalar(const std::string& ref) const {
    demand(known(ref).type.size() == 1);
    return known(ref).value;
  }
  float* state(const std::string& ref) const { return states.at(ref).template get<float>(); }

  /** The int8 steps of a value; F16 keeps the value itself. */
  std::string quantized(const std::string& ref, float& scale) {
    if (!QUANTIZED) return ref;
    const OpNode& op = reader(ref, "quantize");
    scale = scalar(op.input("scale"));
    return op.output("q");
  }
  /** What the steps stand for. */
  std::string real(const std::string& ref, float scale) {
    if (!QUANTIZED) return ref;
    const OpNode& op = reader(ref, "dequantize");
    demand(scalar(op.input("scale")) == scale);
    return op.output("x");
  }
  /** The matrix of a product, whose input has this scale. */
  const W* matrix(const OpNode& op, float inScale, float& weight, int o, int i) const {
    const Constant& w = known(op.input("w"));
    demand(w.type.shape[0] == o && w.type.shape[1] == i);
    if (QUANTIZED) {
      demand(scalar(op.input("xscale")) == inScale);
      weight = scalar(op.input("wscale"));
    } else {
      demand(w.half);
    }
    return w.memory.template get<W>();
  }
  std::string slice(const std::string& ref, int start, int size) {
    for (const OpNode* op : readers[ref])
      if (op->name == "slice" && op->number("start", 0) == start && plan.type(op->output("y")).width() == size) {
        left--;
        return op->output("y");
      }
    throw Other();
  }
  int width(const std::string& ref) const { return static_cast<int>(plan.type(ref).width()); }
  static void same(int& known, int size) {
    demand(known == 0 || known == size);
    known = size;
  }

  std::string embedding(DecodeModel<W>& model) {
    const OpNode* plain = optionalReader(plan.input, "embedding");
    const OpNode& op = reader(plan.input, plain ? "embedding" : "embedding-i8");
    const Constant& w = known(op.input("w"));
    model.embedding = w.memory.get();
    model.embeddingType = !plain ? TableType::i8 : w.half ? TableType::f16 : TableType::f32;
    if (!plain) model.embeddingScale = constant(op.input("scale"));
    model.v = static_cast<int>(w.type.shape[0]);
    model.m = static_cast<int>(w.type.shape[1]);
    return op.output("y");
  }

  void head(DecodeModel<W>& model, const OpNode& op, float inScale) {
    const Constant& w = known(op.input("w"));
    demand(w.type.shape[0] == model.v && w.type.shape[1] == model.m);
    model.head = w.memory.get();
    model.headBias = constant(op.input("b"));
    model.headType = w.type.dtype == QUAMBA_I8 ? TableType::i8 : w.half ? TableType::f16 : TableType::f32;
    if (model.headType != TableType::i8) return;
    const Type& scales = known(op.input("wscale")).type;
    demand(scalar(op.input("xscale")) == inScale && scales.shape[1] == 1);
    model.headInScale = inScale;
    model.headWeight = constant(op.input("wscale"));
    model.headWeightEachRow = scales.shape[0] != 1;
  }

  /** From the first product of a layer on; returns the residual after it. */
  std::string block(DecodeModel<W>& model, Layer<W>& layer, const OpNode& inProj, const std::string& h) {
    demand(inProj.input("b").empty() && width(inProj.output("y")) % 2 == 0);
    same(model.d, width(inProj.output("y")) / 2);
    const int m = model.m, d = model.d;
    layer.inProj = matrix(inProj, layer.inScale, layer.inWeight, 2 * d, m);
    const std::string x = quantized(slice(inProj.output("y"), 0, d), layer.convInScale);
    const std::string z = quantized(slice(inProj.output("y"), d, d), layer.gateScale);

    const OpNode& conv = reader(real(x, layer.convInScale), "causal-conv1d");
    for (const auto& attribute : conv.attributes) demand(attribute.name != "activation" || attribute.text == "silu");
    layer.convW = constant(conv.input("w"));
    layer.convB = constant(conv.input("b"));
    layer.convState = state(conv.state("past"));
    same(model.k, width(conv.input("w")));
    const std::string u = quantized(conv.output("y"), layer.uScale);

    const OpNode& xProj = reader(u, LINEAR);
    const std::string parts = xProj.output("y");
    const std::string uReal = real(u, layer.uScale), zReal = real(z, layer.gateScale);
    const OpNode& scan = reader(uReal, "selective-scan");
    demand(scan.input("u") == uReal && scan.input("z") == zReal && xProj.input("b").empty());
    layer.A = constant(scan.input("A"));
    layer.D = constant(scan.input("D"));
    layer.ssmState = state(scan.state("h"));
    same(model.n, width(scan.input("A")));
    const int n = model.n;
    same(model.r, width(parts) - 2 * n);
    const int r = model.r;
    demand(r > 0);
    layer.xProj = matrix(xProj, layer.uScale, layer.xWeight, r + 2 * n, d);
    const std::string low = quantized(slice(parts, 0, r), layer.dtLowScale);
    const std::string B = quantized(slice(parts, r, n), layer.bScale), C = quantized(slice(parts, r + n, n), layer.cScale);
    demand(scan.input("B") == real(B, layer.bScale) && scan.input("C") == real(C, layer.cScale));

    const OpNode& dtProj = reader(low, LINEAR);
    layer.dtProj = matrix(dtProj, layer.dtLowScale, layer.dtWeight, d, r);
    layer.dtBias = constant(dtProj.input("b"));
    const std::string dt = quantized(dtProj.output("y"), layer.dtScale);
    demand(scan.input("dt") == reader(real(dt, layer.dtScale), "softplus").output("y"));

    std::string y = scan.output("y");
    if (const OpNode* fwht = QUANTIZED ? optionalReader(y, "fwht") : nullptr) {
      demand(fwht->number("inverse", 0) == 0 && (model.layer.empty() || model.hadamard));
      left--;
      model.hadamard = true;
      y = fwht->output("y");
    } else {
      demand(!model.hadamard);
    }
    const OpNode& outProj = reader(quantized(y, layer.yScale), LINEAR);
    demand(outProj.input("b").empty());
    layer.outProj = matrix(outProj, layer.yScale, layer.outWeight, m, d);
    const OpNode& sum = reader(outProj.output("y"), "add");
    demand(sum.input("x") == h && sum.input("y") == outProj.output("y"));
    return sum.output("sum");
  }
};

}  // namespace

template <class W>
std::optional<DecodeModel<W>> match(const Plan& plan, const Constants& constants, const States& states) {
  try {
    return Matcher<W>(plan, constants, states).matched();
  } catch (const Other&) {
    return std::nullopt;
  }
}

template std::optional<DecodeModel<int8_t>> match(const Plan&, const Constants&, const States&);
template std::optional<DecodeModel<__half>> match(const Plan&, const Constants&, const States&);

}  // namespace quamba
