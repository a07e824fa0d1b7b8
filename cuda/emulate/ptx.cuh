// The twin of ../ptx.cuh in C++.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace quamba {

inline void demandAligned(const void* address, const char* what) {
  if (reinterpret_cast<uintptr_t>(address) % 16) emulated::fail("%s of an address that is no multiple of 16", what);
}

inline void cpAsync16(void* shared, const void* global, bool real) {
  demandAligned(shared, "cp.async"), demandAligned(global, "cp.async");
  emulated::copyAsync(shared, real ? global : nullptr, 16);
}
inline void cpAsyncCommit() { emulated::commitCopies(); }
template <int N>
void cpAsyncWait() {
  emulated::waitForCopies(N);
}

template <int N>
void ldmatrix(uint32_t (&r)[N], const void* row) {
  struct Own {
    uint32_t* r;
    const void* row;
  } own{r, row};
  emulated::meet("ldmatrix", ~0u, &own, [](void* const(&lanes)[32]) {
    for (int i = 0; i < N; i++)
      for (int t = 0; t < 32; t++) {
        const void* row = static_cast<const Own*>(lanes[8 * i + t / 4])->row;
        demandAligned(row, "ldmatrix");
        static_cast<const Own*>(lanes[t])->r[i] = static_cast<const uint32_t*>(row)[t % 4];
      }
  });
}
inline void ldmatrix4(uint32_t (&r)[4], const void* row) { ldmatrix(r, row); }
inline void ldmatrix2(uint32_t (&r)[2], const void* row) { ldmatrix(r, row); }

/**
 * acc += a · b of a whole warp, for T of which a word holds PART. Word i of a in thread t is of row t / 4 + 8 (i % 2) and of
 * the columns from PART (t % 4 + 4 (i / 2)) on; word i of b of column t / 4 and of the rows from PART (t % 4 + 4 i) on.
 */
template <class T, class Sum>
void mma(Sum (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Own {
    Sum* acc;
    const uint32_t *a, *b;
  } own{acc, a, b};
  emulated::meet("mma", ~0u, &own, [](void* const(&lanes)[32]) {
    constexpr int PART = 4 / sizeof(T), K = 8 * PART;
    Sum left[16][K], right[8][K];
    const auto unpack = [](uint32_t word, Sum* to) {
      T values[PART];
      std::memcpy(values, &word, sizeof values);
      for (int e = 0; e < PART; e++) to[e] = static_cast<Sum>(values[e]);
    };
    for (int t = 0; t < 32; t++) {
      const Own& own = *static_cast<const Own*>(lanes[t]);
      for (int i = 0; i < 4; i++) unpack(own.a[i], &left[t / 4 + i % 2 * 8][PART * (t % 4 + i / 2 * 4)]);
      for (int i = 0; i < 2; i++) unpack(own.b[i], &right[t / 4][PART * (t % 4 + i * 4)]);
    }
    for (int t = 0; t < 32; t++)
      for (int i = 0; i < 4; i++) {
        const Sum *x = left[t / 4 + i / 2 * 8], *w = right[t % 4 * 2 + i % 2];
        Sum sum = 0;
        for (int k = 0; k < K; k++) sum += x[k] * w[k];
        static_cast<const Own*>(lanes[t])->acc[i] += sum;
      }
  });
}
inline void mmaI8(int (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma<int8_t>(acc, a, b); }
inline void mmaF16(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma<__half>(acc, a, b); }

inline void prefetchL2(const void*) {}
inline void prefetchRegion(const char*, int) {}
inline int4 loadStreaming16(const void* global) { return *static_cast<const int4*>(global); }

// What looks for the writes of other blocks lets them run.
inline uint2 loadWord(const void* global) {
  emulated::yield();
  return *static_cast<const uint2*>(global);
}
inline uint4 loadWords(const void* global) {
  emulated::yield();
  return *static_cast<const uint4*>(global);
}
inline void storeWord(void* global, uint2 word) {
  emulated::progress();
  *static_cast<uint2*>(global) = word;
}
inline void nap() { emulated::yield(); }

}  // namespace quamba
