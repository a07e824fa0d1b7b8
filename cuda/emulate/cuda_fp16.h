// f16 as CUDA has it: conversions round to nearest even; arithmetic is that of f32, rounded, which is right for + − × ÷.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_runtime_api.h"

namespace emulated {

/** The bits of x as f16: adding a power of two in f32 leaves the bits that are too many to the rounding of the sum. */
inline unsigned short halfBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const unsigned sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return 0x7fff;                                     // NaN, as on a GPU
  if (bits >= 0x477ff000) return static_cast<unsigned short>(sign | 0x7c00);  // at least 65520
  if (bits < 0x38800000) {                                                  // below 2⁻¹⁴: in steps of 2⁻²⁴
    float magnitude;
    std::memcpy(&magnitude, &bits, sizeof bits);
    magnitude += 0.5f;  // the steps of f32 are 2⁻²⁴ here
    std::memcpy(&bits, &magnitude, sizeof bits);
    return static_cast<unsigned short>(sign | (bits - 0x3f000000));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return static_cast<unsigned short>(sign | ((bits >> 13) - (112 << 10)));
}

inline float ofHalfBits(unsigned short half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, rest = half & 0x3ff;
  uint32_t bits = exponent == 31 ? 0x7f800000 | rest << 13 : (exponent + 112) << 23 | rest << 13;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(rest) * 0x1p-24f;
    std::memcpy(&bits, &magnitude, sizeof bits);
  }
  bits |= sign;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace emulated

struct __half_raw {
  unsigned short x;
};
struct __half {
  unsigned short bits;
  __half() = default;
  __half(__half_raw raw) : bits(raw.x) {}
  __half(float x) : bits(emulated::halfBits(x)) {}
  operator float() const { return emulated::ofHalfBits(bits); }
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;

inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
inline __half __ushort_as_half(unsigned short bits) {
  __half x;
  x.bits = bits;
  return x;
}
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 make_half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __float22half2_rn(float2 v) { return {v.x, v.y}; }
inline __half2 __float2half2_rn(float x) { return {x, x}; }
inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }
inline float __low2float(__half2 v) { return v.x; }
inline float __high2float(__half2 v) { return v.y; }
inline __half __low2half(__half2 v) { return v.x; }
inline __half __high2half(__half2 v) { return v.y; }
inline __half __hadd(__half a, __half b) { return float(a) + float(b); }
inline __half __hmul(__half a, __half b) { return float(a) * float(b); }
