// Every op in one list, as in src/ops/list.ts.
#include "ops.h"

#include <cmath>

#include "absmax-scale.cuh"
#include "attention.h"
#include "causal-conv1d.cuh"
#include "elementwise.cuh"
#include "fwht.cuh"
#include "gated-rms-norm.cuh"
#include "linear-i4.cuh"
#include "linear-i8.cuh"
#include "linear.cuh"
#include "pages.h"
#include "quantize.cuh"
#include "rms-norm.cuh"
#include "rope-table.cuh"
#include "selective-scan.cuh"
#include "ssd-scan.cuh"

namespace quamba {

namespace {

void none(const Call&) {}

void oneOrEachRow(const Call& call) {
  call.require(call.dim("s") == 1 || call.dim("s") == call.dim("l"), "C1", "scale must have one value or one for each row",
               {"s", "l"});
}

void tokensInTable(const Call& call) {
  const auto* tokens = static_cast<const int32_t*>(call.host("tokens")->data);
  const int v = call.dim("v");
  for (int t = 0; t < call.dim("l"); t++)
    if (tokens[t] < 0 || tokens[t] >= v)
      throw Failure(QUAMBA_BAD_VALUE,
                    call.name + " C1: every token must lie in 0 … " + std::to_string(v - 1) + "; got " +
                        std::to_string(tokens[t]) + " at position " + std::to_string(t),
                    t);
}

}  // namespace

const Op OPS[] = {
    {"absmax-scale(x f32[l, n]) -> scale f32[l]", none,
     [](const Call& call, const Resident& on) {
       absmaxScale(on.stream, on.in<float>("x"), on.out<float>("scale"), call.dim("l"), call.dim("n"));
     }},
    {"add(x f32[l, m], y f32[l, m]) -> sum f32[l, m]", none,
     [](const Call& call, const Resident& on) {
       add(on.stream, on.in<float>("x"), on.in<float>("y"), on.out<float>("sum"), call.dim("l"), call.dim("m"));
     }},
    {"attention(q f32[l, h*p], k f32[l, g*p], v f32[l, g*p]; K f32[t, g, p], V f32[t, g, p]; h, g, scale) -> y f32[l, h*p]",
     [](const Call& call) {
       const int g = call.dim("g"), h = call.dim("h");
       call.require(g >= 1 && h % g == 0, "C1", "the key heads g must divide the query heads h", {"g", "h"});
       call.require(call.dim("p") % 4 == 0, "C2", "p must be a multiple of 4", {"p"});
     },
     [](const Call& call, const Resident& on) {
       const int l = call.dim("l"), past = call.dim("t") - l, h = call.dim("h"), g = call.dim("g"), p = call.dim("p");
       Attention a{on.in<float>("q"), on.in<float>("k"), on.in<float>("v"), on.out<float>("y")};
       a.scale = static_cast<float>(call.number("scale", 1));
       a.h = h;
       a.keys = {Kept::f32, 0, g, p};
       a.values = {Kept::f32, a.keys.bytes(), g, p};
       Pages pages(a.keys.bytes() + a.values.bytes(), h * (HEAD_SCRATCH + p));
       pages.grow(past, on.stream);
       const Buffer zeros(sizeof(float) * past * g * p), turn(sizeof(Turn));
       check(cudaMemsetAsync(zeros.get(), 0, zeros.size(), on.stream));
       pages.write(a.keys, on.inputs.count("K") ? on.in<float>("K") : zeros.get<float>(), on.stream);
       pages.write(a.values, on.inputs.count("V") ? on.in<float>("V") : zeros.get<float>(), on.stream);
       pages.grow(l, on.stream);
       const Turn given = pages.turn(0, 0, l, past);
       check(cudaMemcpyAsync(turn.get(), &given, sizeof given, cudaMemcpyHostToDevice, on.stream));
       a.turns = {turn.get<Turn>(), 1, l};
       launchAttention(on.stream, a);
       pages.read(a.keys, on.out<float>("K"), on.stream);
       pages.read(a.values, on.out<float>("V"), on.stream);
       check(cudaStreamSynchronize(on.stream));
     }},
    {"causal-conv1d(x f32[l, d], w f32[d, k], b f32[d]?; past f32[d, k-1]; activation) -> y f32[l, d]",
     [](const Call& call) {
       const std::string activation = call.text("activation", "silu");
       call.require(activation == "silu" || activation == "none", "C1", "activation must be 'silu' or 'none'", {"activation"});
     },
     [](const Call& call, const Resident& on) {
       causalConv1d(on.stream, {on.in<float>("x"), on.in<float>("w"), on.in<float>("b"), on.in<float>("past"),
                                on.out<float>("y"), on.out<float>("past"), {nullptr, 1, call.dim("l")}, call.dim("d"),
                                call.dim("k"), call.text("activation", "silu") == "silu"});
     }},
    {"dequantize(q i8[l, n], scale f32[s]) -> x f32[l, n]", oneOrEachRow,
     [](const Call& call, const Resident& on) {
       dequantize(on.stream, on.in<int8_t>("q"), on.in<float>("scale"), call.dim("s") != 1, on.out<float>("x"),
                  call.dim("l"), call.dim("n"));
     }},
    {"dequantize-i4(q i8[l, h], scale f32[l, g]; n) -> x f32[l, n]",
     [](const Call& call) {
       const int h = call.dim("h"), g = call.dim("g"), n = call.dim("n");
       call.require(n >= 1 && h == (n + 1) / 2, "C1", "a row of q must hold n halves of bytes", {"h", "n"});
       call.require(g > 0 && n % g == 0, "C2", "the groups g must divide n", {"g", "n"});
     },
     [](const Call& call, const Resident& on) {
       dequantizeI4(on.stream, on.in<int8_t>("q"), on.in<float>("scale"), call.dim("g"), on.out<float>("x"), call.dim("l"),
                    call.dim("n"));
     }},
    {"embedding(tokens i32[l], w f32[v, m]) -> y f32[l, m]", tokensInTable,
     [](const Call& call, const Resident& on) {
       embedding(on.stream, on.in<int32_t>("tokens"), on.in<float>("w"), on.out<float>("y"), call.dim("l"), call.dim("m"));
     }},
    {"embedding-i8(tokens i32[l], w i8[v, m], scale f32[v]) -> y f32[l, m]", tokensInTable,
     [](const Call& call, const Resident& on) {
       embeddingI8(on.stream, on.in<int32_t>("tokens"), on.in<int8_t>("w"), on.in<float>("scale"), on.out<float>("y"),
                   call.dim("l"), call.dim("m"));
     }},
    {"fwht(x f32[l, n]; inverse) -> y f32[l, n]",
     [](const Call& call) {
       call.require(factor(call.dim("n")).K > 0, "C1", "on CUDA n must be m·2^k with m in {1, 12, 20, 28, 40}", {"n"});
     },
     [](const Call& call, const Resident& on) {
       fwht(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"), call.number("inverse", 0) != 0);
     }},
    {"gated-rms-norm(x f32[l, d], z f32[l, d], w f32[d]?; eps, g) -> y f32[l, d]",
     [](const Call& call) {
       const double g = call.number("g", 1);
       call.require(call.number("eps", 1e-5) > 0, "C1", "eps must be positive", {"eps"});
       const bool divides = g >= 1 && std::floor(g) == g && std::fmod(call.dim("d"), g) == 0;
       call.require(divides, "C2", "the groups g must divide the channels d", {"g", "d"});
     },
     [](const Call& call, const Resident& on) {
       GatedNorm<float, float> norm{};
       norm.x = on.in<float>("x"), norm.z.data = on.in<float>("z"), norm.w = on.in<float>("w"), norm.out.data = on.out<float>("y");
       norm.rows = call.dim("l"), norm.d = call.dim("d"), norm.groups = static_cast<int>(call.number("g", 1));
       norm.eps = static_cast<float>(call.number("eps", 1e-5));
       launchGatedNorm(on.stream, norm);
     }},
    {"linear(x f32[l, i], w f32[o, i], b f32[o]?) -> y f32[l, o]", none,
     [](const Call& call, const Resident& on) {
       linear(on.stream, on.in<float>("x"), on.in<float>("w"), on.in<float>("b"), on.out<float>("y"), call.dim("l"),
              call.dim("i"), call.dim("o"));
     }},
    {"linear-i4(x i8[l, i], xscale f32[s], w i8[o, h], wscale f32[o, g], b f32[o]?) -> y f32[l, o]",
     [](const Call& call) {
       const int l = call.dim("l"), i = call.dim("i"), h = call.dim("h"), s = call.dim("s"), g = call.dim("g");
       call.require(s == 1 || s == l, "C1", "xscale must have one value or one for each token", {"s", "l"});
       call.require(h == (i + 1) / 2, "C2", "a row of w must hold i halves of bytes", {"h", "i"});
       call.require(g > 0 && i % g == 0, "C3", "the groups g must divide i", {"g", "i"});
       call.require(i <= 2097151, "C4", "i must be at most 2097151, so that the int32 sum cannot overflow", {"i"});
     },
     [](const Call& call, const Resident& on) {
       linearI4(on.stream, {on.in<int8_t>("x"), on.in<float>("xscale"), on.in<int8_t>("w"), on.in<float>("wscale"),
                            on.in<float>("b"), on.out<float>("y"), call.dim("l"), call.dim("i"), call.dim("o"),
                            call.dim("g"), call.dim("s") != 1, true});
     }},
    {"linear-i8(x i8[l, i], xscale f32[s], w i8[o, i], wscale f32[p, g], b f32[o]?) -> y f32[l, o]",
     [](const Call& call) {
       const int l = call.dim("l"), i = call.dim("i"), o = call.dim("o"), s = call.dim("s"), p = call.dim("p");
       const int g = call.dim("g");
       call.require(s == 1 || s == l, "C1", "xscale must have one value or one for each token", {"s", "l"});
       call.require(p == 1 || p == o, "C2", "wscale must have one row or one for each output", {"p", "o"});
       call.require(g > 0 && i % g == 0, "C3", "the groups g must divide i", {"g", "i"});
       call.require(g == 1 || p == o, "C4", "more than one group needs one row of scales for each output", {"g", "p", "o"});
       call.require(i <= 131071, "C5", "i must be at most 131071, so that the int32 sum cannot overflow", {"i"});
     },
     [](const Call& call, const Resident& on) {
       linearI8(on.stream, {on.in<int8_t>("x"), on.in<float>("xscale"), on.in<int8_t>("w"), on.in<float>("wscale"),
                            on.in<float>("b"), on.out<float>("y"), call.dim("l"), call.dim("i"), call.dim("o"),
                            call.dim("g"), call.dim("s") != 1, call.dim("p") != 1});
     }},
    {"neg-exp(x f32[l, n]) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       negExp(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"));
     }},
    {"quantize(x f32[l, n], scale f32[s]) -> q i8[l, n]", oneOrEachRow,
     [](const Call& call, const Resident& on) {
       quantize(on.stream, on.in<float>("x"), on.in<float>("scale"), call.dim("s") != 1, on.out<int8_t>("q"), call.dim("l"),
                call.dim("n"), on.nan);
     }},
    {"rms-norm(x f32[l, m], w f32[m]?; eps) -> y f32[l, m]",
     [](const Call& call) { call.require(call.number("eps", 1e-5) > 0, "C1", "eps must be positive", {"eps"}); },
     [](const Call& call, const Resident& on) {
       rmsNorm(on.stream, on.in<float>("x"), on.in<float>("w"), on.out<float>("y"), call.dim("l"), call.dim("m"),
               static_cast<float>(call.number("eps", 1e-5)));
     }},
    {"rope(x f32[l, h*p], cos f32[l, r], sin f32[l, r]; h) -> y f32[l, h*p]",
     [](const Call& call) { call.require(2 * call.dim("r") <= call.dim("p"), "C1", "2r must be at most p", {"r", "p"}); },
     [](const Call& call, const Resident& on) {
       rope(on.stream, on.in<float>("x"), on.in<float>("cos"), on.in<float>("sin"), on.out<float>("y"), call.dim("l"),
            call.dim("h"), call.dim("p"), call.dim("r"));
     }},
    {"rope-table(tokens i32[l], freq f32[r]; fed f32[1]; sine) -> y f32[l, r]", none,
     [](const Call& call, const Resident& on) {
       launchRopeTable(on.stream, {on.in<float>("freq"), on.in<float>("fed"), on.out<float>("y"), on.out<float>("fed"),
                             call.number("sine", 0) != 0, {nullptr, 1, call.dim("l")}, call.dim("r")});
     }},
    {"scale-channels(x f32[l, n], c f32[n]; inverse) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       scaleChannels(on.stream, on.in<float>("x"), on.in<float>("c"), call.number("inverse", 0) != 0, on.out<float>("y"),
                     call.dim("l"), call.dim("n"));
     }},
    {"selective-scan(u f32[l, d], dt f32[l, d], A f32[d, n], B f32[l, n], C f32[l, n], D f32[d]?, z f32[l, d]?; "
     "h f32[d, n]) -> y f32[l, d]",
     none,
     [](const Call& call, const Resident& on) {
       Scan scan{};
       scan.u = on.in<float>("u"), scan.dt = on.in<float>("dt"), scan.A = on.in<float>("A");
       scan.B = on.in<float>("B"), scan.C = on.in<float>("C"), scan.D = on.in<float>("D"), scan.z = on.in<float>("z");
       scan.before = on.in<float>("h"), scan.y = on.out<float>("y"), scan.after = on.out<float>("h");
       scan.turns = {nullptr, 1, call.dim("l")}, scan.d = call.dim("d"), scan.n = call.dim("n");
       selectiveScan(on.stream, scan);
     }},
    {"silu(x f32[l, n]) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       silu(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"));
     }},
    {"slice(x f32[l, n]; start, size) -> y f32[l, size]",
     [](const Call& call) {
       const double start = call.number("start", 0);
       call.require(start >= 0 && call.dim("size") >= 1 && start + call.dim("size") <= call.dim("n"), "C1",
                    "start + size must be at most n, start at least 0, size at least 1", {"start", "size", "n"});
     },
     [](const Call& call, const Resident& on) {
       slice(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"),
             static_cast<int>(call.number("start", 0)), call.dim("size"));
     }},
    {"softplus(x f32[l, n]) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       softplus(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"));
     }},
    {"squared-relu(x f32[l, n]) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       squaredRelu(on.stream, on.in<float>("x"), on.out<float>("y"), call.dim("l"), call.dim("n"));
     }},
    {"ssd-scan(dt f32[l, h], x f32[l, h*p], A f32[h, 1], B f32[l, g*n], C f32[l, g*n], D f32[h]?, bias f32[h]?; S f32[h, n, p]; "
     "g, lo, hi) -> y f32[l, h*p]",
     [](const Call& call) {
       const int g = call.dim("g"), h = call.dim("h");
       const double lo = call.number("lo", 0), hi = call.number("hi", NO_LIMIT);
       call.require(g >= 1 && h % g == 0, "C1", "the groups g must divide the heads h", {"g", "h"});
       call.require(call.dim("n") % 4 == 0, "C2", "n must be a multiple of 4", {"n"});
       call.require(0 <= lo && lo <= hi, "C3", "lo must be at least 0 and at most hi", {"lo", "hi"});
     },
     [](const Call& call, const Resident& on) {
       SsdScan<float> scan{};
       scan.dt.data = on.in<float>("dt"), scan.x.data = on.in<float>("x");
       scan.B.data = on.in<float>("B"), scan.C.data = on.in<float>("C");
       scan.A = on.in<float>("A"), scan.D = on.in<float>("D"), scan.bias = on.in<float>("bias");
       scan.before = on.in<float>("S"), scan.y = on.out<float>("y"), scan.after = on.out<float>("S");
       scan.turns = {nullptr, 1, call.dim("l")};
       scan.h = call.dim("h"), scan.p = call.dim("p"), scan.groups = call.dim("g"), scan.n = call.dim("n");
       scan.lo = static_cast<float>(call.number("lo", 0)), scan.hi = static_cast<float>(call.number("hi", NO_LIMIT));
       launchSsdScan(on.stream, scan);
     }},
    {"swiglu(gate f32[l, n], up f32[l, n]) -> y f32[l, n]", none,
     [](const Call& call, const Resident& on) {
       swiglu(on.stream, on.in<float>("gate"), on.in<float>("up"), on.out<float>("y"), call.dim("l"), call.dim("n"));
     }},
};

const int OP_COUNT = sizeof OPS / sizeof *OPS;

}  // namespace quamba
