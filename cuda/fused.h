// The fused ops, on values that stay in memory of the GPU between them. Each has the bits of the base ops it stands for where
// T is int8_t or float; T = __half is the F16 engine, which is near them.
//
// Rows are tokens: those of a turn after those of the turn before (batch.h). All pointers are memory of the GPU. `nan`: where a
// kernel notes the least place, in its own output, of a NaN that it was to quantize.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "batch.h"
#include "nan-place.h"

namespace quamba {

/** A value in memory: f32, f16, or int8 steps of one static scale (f32[1]; null for the others), times factors of its channels. */
template <class T>
struct Stored {
  T* data;
  const float* scale;
  const float* channels;  // null: none
};

/** sum = x + y, or x itself where y is null (sum is then not written); out = sum / rms(sum) · w, stored. w may be null. */
template <class T>
struct AddNorm {
  const float *x, *y, *w;
  float eps;
  float* sum;
  Stored<T> out;
  int rows, m;
  NanPlace* nan;
};
template <class T>  // int8_t, __half, float
void addNorm(cudaStream_t stream, const AddNorm<T>& a);

/** Columns start … start + size − 1 of a result, as a tensor [rows, size] of their own. No two segments share a column. */
template <class T>
struct Segment {
  int start, size;
  Stored<T> out;
};

/** out = x wᵀ (+ b), on the tensor cores where there are rows enough, in up to four segments (T) or whole in f32 (`y`, else null). */
struct GemmI8 {
  const int8_t* x;
  const float* xscale;  // f32[1]
  const int8_t* w;      // [o, i]
  const float* wscale;  // f32[1] or f32[o]
  bool scaleEachOutput;
  const float* b;       // f32[o] or null
  int rows, i, o;       // any sizes; fast where i is a multiple of 16 (i at most 131071)
  float* y;             // f32[rows, o], or null
  int segments;
  Segment<int8_t> segment[4];
  NanPlace* nan;
};
void gemm(cudaStream_t stream, const GemmI8& a);

struct GemmF16 {
  const __half *x, *w;
  const float* b;
  int rows, i, o;  // i is a multiple of 8
  float* y;
  int segments;
  Segment<__half> segment[4];
};
void gemm(cudaStream_t stream, const GemmF16& a);

/** The causal convolution over each turn, then silu where activated, in segments. state f32[places, d, k−1], in place. */
template <class T>
struct ConvStored {
  Stored<const T> x;
  const float *w, *b;  // f32[d, k]; f32[d] or null
  float* state;
  int segments;
  Segment<T> segment[4];
  bool activated;
  Turns turns;
  int d, k;
  NanPlace* nan;
};
template <class T>  // int8_t, __half
void convStored(cudaStream_t stream, const ConvStored<T>& a);

/**
 * The selective scan over each turn. dt is before softplus where `softplus`; D, z may be null. state f32[places, d, n], in place.
 * Y: float for int8_t, __half for __half.
 */
template <class T, class Y>
struct ScanStored {
  Stored<const T> u, dt, B, C, z;
  bool softplus;
  const float *A, *D;
  float* state;
  Y* y;
  Turns turns;
  int d, n;
};
template <class T, class Y>
void scanStored(cudaStream_t stream, const ScanStored<T, Y>& a);

/**
 * The SSD scan over each turn; T = float is the op itself. A f32[h]; D, bias f32[h] or null. The state before (null: zeros) and after
 * f32[places, h, n, p], which may be one. y f32[rows, h · p].
 */
template <class T>
struct SsdScan {
  Stored<const T> dt, x, B, C;
  const float *A, *D, *bias;
  const float* before;
  float *after, *y;
  float lo, hi;
  Turns turns;
  int h, p, groups, n;
};
void ssdScanStored(cudaStream_t stream, const SsdScan<int8_t>& a);

/** out = v / rms(v) · w in each of the groups of channels, v = x · silu(z), stored. w may be null. */
template <class Z, class Y>
struct GatedNorm {
  const float* x;
  Stored<const Z> z;
  const float* w;
  float eps;
  Stored<Y> out;
  int rows, d, groups;
  NanPlace* nan;
};
template <class Y>  // int8_t, float
void gatedNormStored(cudaStream_t stream, const GatedNorm<int8_t, Y>& a);

/** Rows that begin `stride` values apart. */
struct Strided {
  const float* data;
  int stride;
};
/** out = silu(gate) · up, each n columns, stored. */
template <class Y>
struct Swiglu {
  Strided gate, up;
  Stored<Y> out;
  int rows, n;
  NanPlace* nan;
};
template <class Y>  // int8_t, float
void swigluStored(cudaStream_t stream, const Swiglu<Y>& a);

/** out = the steps of the transform of x f32[rows, n]. */
void fwhtQuantize(cudaStream_t stream, const float* x, Stored<int8_t> out, int rows, int n, bool inverse, NanPlace* nan);

}  // namespace quamba
