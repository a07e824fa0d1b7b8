// How the fused ops read and write Stored values: some neighbours at once, and as the real numbers that they stand for.
#pragma once

#include "fused.h"
#include "quantize.cuh"

namespace quamba {

/** V neighbours, which are read and written at once. */
template <class T, int V>
struct alignas(V * sizeof(T) < 16 ? V * sizeof(T) : 16) Pack {
  T at[V];
};

template <int V, class T>
__device__ inline Pack<T, V> loadPack(const T* from) {
  return *reinterpret_cast<const Pack<T, V>*>(from);
}

template <class T, int V>
__device__ inline void storePack(T* to, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

/** Whether Packs of V may begin at this address (which may be null) and at every V-th place from there. */
template <int V, class T>
bool packed(const T* from) {
  return reinterpret_cast<uintptr_t>(from) % alignof(Pack<T, V>) == 0;
}

__device__ inline float restored(int8_t q, float scale) { return mul(scale, static_cast<float>(q)); }
__device__ inline float restored(__half x, float) { return widen(x); }
__device__ inline float restored(float x, float) { return x; }

/** Any number where there is no scale. */
template <class T>
__device__ inline float scaleOf(const Stored<T>& stored) {
  return stored.scale ? *stored.scale : 1.0f;
}

/** Stored values, read as real ones. */
template <class T>
struct Restored {
  const T* data;
  float scale;
  const float* channels;

  /** Where there are no channels. */
  __device__ float operator[](size_t i) const { return restored(data[i], scale); }
  __device__ float at(size_t i, int channel) const {
    const float x = restored(data[i], scale);
    return channels ? mul(x, channels[channel]) : x;
  }
};

template <class T>
__device__ inline Restored<T> restoredOf(const Stored<const T>& stored) {
  return {stored.data, scaleOf(stored), stored.channels};
}

/** Makes a real value, divided by its channel's factor, what is stored of it. `place`: where in the output. */
template <class T>
struct Storer {
  __device__ Storer(const Stored<T>&, NanPlace*) {}
  __device__ T operator()(float x, size_t) const { return static_cast<T>(x); }
};

template <>
struct Storer<int8_t> {
  float scale, inverse;
  NanPlace* nan;

  __device__ Storer(const Stored<int8_t>& out, NanPlace* nan) : scale(*out.scale), inverse(inverseOf(scale)), nan(nan) {}
  __device__ int8_t operator()(float x, size_t place) const { return quantizeFast(x, scale, inverse, place, nan); }
};

}  // namespace quamba
