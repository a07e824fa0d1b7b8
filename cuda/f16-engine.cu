// The F16 engine: the launches that W8A8 has, with f16 matrices and activations and f32 sums. What W8A8 is measured against.
#include "elementwise.cuh"
#include "engine.h"
#include "fused.h"

namespace quamba {

namespace {

class F16Engine : public Engine {
 public:
  F16Engine(const DecodeModel<__half>& model, int chunk, cudaStream_t stream)
      : model(model),
        stream(stream),
        h(bytes(chunk, model.m, 4)),
        out(bytes(chunk, model.m, 4)),
        in(bytes(chunk, model.m, 2)),
        x(bytes(chunk, model.d, 2)),
        z(bytes(chunk, model.d, 2)),
        u(bytes(chunk, model.d, 2)),
        dt(bytes(chunk, model.d, 2)),
        y(bytes(chunk, model.d, 2)),
        parts(bytes(chunk, model.r + 2 * model.n, 2)),
        logits(bytes(TAIL_ROWS, model.v, 4)) {}

  void body(const Batch& batch) override {
    const int rows = batch.rows, r = model.r, n = model.n;
    embedRows(batch.tokens, rows);
    __half *low = parts.get<__half>(), *B = low + static_cast<size_t>(rows) * r, *C = B + static_cast<size_t>(rows) * n;
    bool first = true;
    for (const auto& layer : model.layer) {
      norm(first ? nullptr : out.get<float>(), 0, rows, layer.norm, layer.eps);
      first = false;
      gemm(stream, {in.get<__half>(), layer.inProj, nullptr, rows, model.m, 2 * model.d, nullptr, 2,
                    {{0, model.d, stored(x)}, {model.d, model.d, stored(z)}}});
      convStored<__half>(stream, {read(x), layer.convW, layer.convB, layer.convState, 1, {{0, model.d, stored(u)}}, true,
                                  batch.turns, model.d, model.k, nullptr});
      gemm(stream, {u.get<__half>(), layer.xProj, nullptr, rows, model.d, r + 2 * n, nullptr, 3,
                    {{0, r, {low, nullptr}}, {r, n, {B, nullptr}}, {r + n, n, {C, nullptr}}}});
      gemm(stream, {low, layer.dtProj, layer.dtBias, rows, r, model.d, nullptr, 1, {{0, model.d, stored(dt)}}});
      scanStored<__half, __half>(stream, {read(u), read(dt), {B, nullptr}, {C, nullptr}, read(z), true, layer.A, layer.D,
                                          layer.ssmState, y.get<__half>(), batch.turns, model.d, n});
      gemm(stream, {y.get<__half>(), layer.outProj, nullptr, rows, model.d, model.m, out.get<float>(), 0, {}});
    }
  }

  const float* tail(int row, int count) override {
    norm(out.get<float>(), row, count, model.finalNorm, model.finalEps);
    gemm(stream, {in.get<__half>() + static_cast<size_t>(row) * model.m, static_cast<const __half*>(model.head), model.headBias,
                  count, model.m, model.v, logits.get<float>(), 0, {}});
    return logits.get<float>();
  }

  size_t memory() const override {
    size_t sum = 0;
    for (const Buffer* b : {&h, &out, &in, &x, &z, &u, &dt, &y, &parts, &logits}) sum += b->size();
    return sum;
  }

 private:
  const DecodeModel<__half> model;
  const cudaStream_t stream;
  const Buffer h, out, in, x, z, u, dt, y, parts, logits;

  static size_t bytes(int rows, int width, size_t each) { return static_cast<size_t>(rows) * width * each; }
  static Stored<__half> stored(const Buffer& b) { return {b.get<__half>(), nullptr}; }
  static Stored<const __half> read(const Buffer& b) { return {b.get<__half>(), nullptr}; }

  void embedRows(const int32_t* tokens, int rows) {
    if (model.embeddingType == TableType::f16)
      embedding(stream, tokens, static_cast<const __half*>(model.embedding), h.get<float>(), rows, model.m);
    else
      embedding(stream, tokens, static_cast<const float*>(model.embedding), h.get<float>(), rows, model.m);
  }

  /** in = the norm of h + `more`, which becomes h. */
  void norm(const float* more, int row, int rows, const float* w, float eps) {
    const size_t at = static_cast<size_t>(row) * model.m;
    float* sum = h.get<float>() + at;
    addNorm<__half>(stream, {sum, more ? more + at : nullptr, w, eps, sum, {in.get<__half>() + at, nullptr}, rows, model.m, nullptr});
  }
};

}  // namespace

std::unique_ptr<Engine> makeF16Engine(const DecodeModel<__half>& model, int chunk, cudaStream_t stream) {
  return std::make_unique<F16Engine>(model, chunk, stream);
}

}  // namespace quamba
