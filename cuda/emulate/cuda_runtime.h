// What a kernel sees of CUDA: the built-in variables and functions that the library uses. An operation on f32 rounds once,
// as long as the compiler contracts none.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "cuda_runtime_api.h"
#include "threads.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emulated {

/** Each lane gets the value of lane `from`. */
template <class T>
T shuffled(const char* what, unsigned mask, T value, int from) {
  struct Own {
    T value, got;
    int from;
    const char* what;
  } own{value, value, from, what};
  meet(what, mask, &own, [](void* const(&lanes)[32]) {
    for (void* lane : lanes) {
      auto* own = static_cast<Own*>(lane);
      if (!own) continue;
      const auto* source = static_cast<const Own*>(lanes[own->from]);
      if (!source) fail("%s from lane %d, which does not take part", own->what, own->from);
      own->got = source->value;
    }
  });
  return own.got;
}

/** Each lane gets F of all values. */
template <class F, class T>
T reduced(const char* what, unsigned mask, T value) {
  meet(what, mask, &value, [](void* const(&lanes)[32]) {
    const T* before = nullptr;
    T result{};
    for (void* lane : lanes)
      if (const auto* value = static_cast<const T*>(lane)) result = before ? F()(result, *value) : *value, before = value;
    for (void* lane : lanes)
      if (lane) *static_cast<T*>(lane) = result;
  });
  return value;
}
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Most {
  template <class T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

template <class F, class T>
T atomically(T* at, T value) {
  progress();
  const T before = *at;
  *at = F()(before, value);
  return before;
}

template <class To, class From>
To sameBits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/** `from` where it lies in this thread's part of `width` lanes, else the thread itself. */
inline int laneOr(int from, int width) { return (from ^ lane()) & -width ? lane() : from; }

template <class T>
using Same = std::common_type_t<T>;  // another argument says what T is

}  // namespace emulated

inline void __syncthreads() { emulated::barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { emulated::meet("__syncwarp", mask, &mask, [](void* const(&)[32]) {}); }

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  return emulated::shuffled("__shfl_sync", mask, value, (emulated::lane() & -width) | (from & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32) {
  return emulated::shuffled("__shfl_xor_sync", mask, value, emulated::laneOr(emulated::lane() ^ flip, width));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return emulated::shuffled("__shfl_down_sync", mask, value, emulated::laneOr(emulated::lane() + by, width));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return emulated::shuffled("__shfl_up_sync", mask, value, emulated::laneOr(emulated::lane() - by, width));
}
template <class T>
T __reduce_add_sync(unsigned mask, T value) {
  return emulated::reduced<std::plus<>>("__reduce_add_sync", mask, value);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value) {
  return emulated::reduced<emulated::Least>("__reduce_min_sync", mask, value);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value) {
  return emulated::reduced<emulated::Most>("__reduce_max_sync", mask, value);
}
inline unsigned __ballot_sync(unsigned mask, int yes) {
  return emulated::reduced<std::bit_or<>>("__ballot_sync", mask, yes ? 1u << emulated::lane() : 0u);
}
inline int __any_sync(unsigned mask, int yes) { return __ballot_sync(mask, yes) != 0; }
inline int __all_sync(unsigned mask, int yes) { return __ballot_sync(mask, !yes) == 0; }

template <class T>
T atomicAdd(T* at, emulated::Same<T> value) {
  return emulated::atomically<std::plus<>>(at, value);
}
template <class T>
T atomicMin(T* at, emulated::Same<T> value) {
  return emulated::atomically<emulated::Least>(at, value);
}
template <class T>
T atomicMax(T* at, emulated::Same<T> value) {
  return emulated::atomically<emulated::Most>(at, value);
}
inline void __threadfence() {}
inline void __nanosleep(unsigned) { emulated::yield(); }
inline long long clock64() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

template <class T>
T __ldg(const T* at) {
  return *at;
}
template <class T>
T __ldcg(const T* at) {
  return *at;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

inline int __float_as_int(float x) { return emulated::sameBits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated::sameBits<unsigned>(x); }
inline float __int_as_float(int x) { return emulated::sameBits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated::sameBits<float>(x); }
/** Saturates; NaN becomes 0. */
inline int __float2int_rn(float x) {
  if (x != x) return 0;
  return x >= 0x1p31f ? INT32_MAX : x < -0x1p31f ? INT32_MIN : static_cast<int>(std::lrint(x));
}
inline float __int2float_rn(int x) { return static_cast<float>(x); }

inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
  return c;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selectors) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 32; i += 8, selectors >>= 4) {
    const auto byte = static_cast<uint8_t>(bytes >> (selectors & 7) * 8);
    result |= static_cast<unsigned>(selectors & 8 ? (byte >> 7) * 0xff : byte) << i;
  }
  return result;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

/** Of a number and NaN the number. */
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  const std::common_type_t<A, B> x = a, y = b;
  return x < y || y != y ? x : y;
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  const std::common_type_t<A, B> x = a, y = b;
  return x > y || y != y ? x : y;
}
