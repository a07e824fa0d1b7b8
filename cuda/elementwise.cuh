// The ops in which every output has one thread and no sum: add, dequantize, dequantize-i4, embedding, embedding-i8, neg-exp,
// rope, scale-channels, silu, slice, softplus, squared-relu, swiglu.
#pragma once

#include "launch.cuh"
#include "numerics.cuh"

namespace quamba {

inline void add(cudaStream_t stream, const float* x, const float* y, float* sum, int l, int m) {
  each(stream, l, m, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * m + j;
    sum[at] = add(x[at], y[at]);
  });
}

/** One scale for all, or one for each row. */
inline void dequantize(cudaStream_t stream, const int8_t* q, const float* scale, bool eachRow, float* x, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    x[at] = mul(scale[eachRow ? t : 0], static_cast<float>(q[at]));
  });
}

/** Two steps in a byte, the even column in the low half; one scale for each row and group of columns. */
inline void dequantizeI4(cudaStream_t stream, const int8_t* q, const float* scale, int groups, float* x, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const int pair = q[static_cast<size_t>(t) * ((n + 1) / 2) + j / 2];
    const int step = j % 2 ? pair >> 4 : ((pair & 15) ^ 8) - 8;
    x[static_cast<size_t>(t) * n + j] = mul(scale[static_cast<size_t>(t) * groups + j / (n / groups)], static_cast<float>(step));
  });
}

/** The tokens have been checked. W: float, or __half for values that are f16 in any case. */
template <class W>
void embedding(cudaStream_t stream, const int32_t* tokens, const W* w, float* y, int l, int m) {
  each(stream, l, m, [=] __device__(int t, int j) {
    y[static_cast<size_t>(t) * m + j] = widen(w[static_cast<size_t>(tokens[t]) * m + j]);
  });
}

/** The tokens have been checked. */
inline void embeddingI8(
    cudaStream_t stream, const int32_t* tokens, const int8_t* w, const float* scale, float* y, int l, int m) {
  each(stream, l, m, [=] __device__(int t, int j) {
    const int token = tokens[t];
    y[static_cast<size_t>(t) * m + j] = mul(scale[token], static_cast<float>(w[static_cast<size_t>(token) * m + j]));
  });
}

inline void negExp(cudaStream_t stream, const float* x, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = -exp(x[at]);
  });
}

/** Of each head of p channels, those from i and i + r on are turned together, for i < r. */
inline void rope(cudaStream_t stream, const float* x, const float* cos, const float* sin, float* y, int l, int h, int p, int r) {
  each(stream, l, h * p, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * h * p + j;
    const int i = j % p, pair = i < r ? i : i - r;
    if (pair >= r) {
      y[at] = x[at];
      return;
    }
    const float c = cos[static_cast<size_t>(t) * r + pair], s = sin[static_cast<size_t>(t) * r + pair];
    y[at] = i < r ? sub(mul(x[at], c), mul(x[at + r], s)) : add(mul(x[at], c), mul(x[at - r], s));
  });
}

inline void scaleChannels(
    cudaStream_t stream, const float* x, const float* c, bool inverse, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = inverse ? divide(x[at], c[j]) : mul(x[at], c[j]);
  });
}

inline void silu(cudaStream_t stream, const float* x, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = silu(x[at]);
  });
}

inline void slice(cudaStream_t stream, const float* x, float* y, int l, int n, int start, int size) {
  each(stream, l, size, [=] __device__(int t, int j) {
    y[static_cast<size_t>(t) * size + j] = x[static_cast<size_t>(t) * n + start + j];
  });
}

inline void softplus(cudaStream_t stream, const float* x, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = softplus(x[at]);
  });
}

inline void squaredRelu(cudaStream_t stream, const float* x, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = x[at] <= 0.0f ? 0.0f : mul(x[at], x[at]);
  });
}

inline void swiglu(cudaStream_t stream, const float* gate, const float* up, float* y, int l, int n) {
  each(stream, l, n, [=] __device__(int t, int j) {
    const size_t at = static_cast<size_t>(t) * n + j;
    y[at] = mul(silu(gate[at]), up[at]);
  });
}

}  // namespace quamba
