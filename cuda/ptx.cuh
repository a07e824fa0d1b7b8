// Every instruction that CUDA C++ has no word for. emulate/ptx.cuh is the twin of this file for runs without a GPU.
#pragma once

#include <cstdint>

namespace quamba {

__device__ inline unsigned sharedAddress(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

/** Begins to copy 16 bytes into shared memory, zeros where they are not `real`: `global` is then not read. */
__device__ inline void cpAsync16(void* shared, const void* global, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(shared)), "l"(global), "r"(real ? 16 : 0)
               : "memory");
}

/** What has begun since the last commit is one group. */
__device__ inline void cpAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/** Waits until all groups of this thread but the N youngest have arrived. Other threads see them after a barrier. */
template <int N>
__device__ inline void cpAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/** Four (two) matrices of 8 rows × 16 bytes. Thread 8i + j names row j of matrix i; t gets word t % 4 of row t / 4. */
__device__ inline void ldmatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row)));
}
__device__ inline void ldmatrix2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(sharedAddress(row)));
}

/** acc += a (16 rows × 32) · b (32 × 8 columns), the parts of each thread as PTX lays them out. */
__device__ inline void mmaI8(int (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** acc += a (16 rows × 16) · b (16 × 8 columns), two f16 a word. */
__device__ inline void mmaF16(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/** Asks for the line of 128 bytes that holds this address. */
__device__ inline void prefetchL2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(global)));
}
/** A block asks for a region, a multiple of 16 bytes: in one instruction where there is one. */
__device__ inline void prefetchRegion(const char* global, int bytes) {
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x == 0 && bytes > 0)
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(global)), "r"(bytes) : "memory");
#else
  for (int at = threadIdx.x * 128; at < bytes; at += blockDim.x * 128) prefetchL2(global + at);
#endif
}

/** 16 aligned bytes that are read once, and that nobody writes while the kernel runs. */
__device__ inline int4 loadStreaming16(const void* global) {
  int4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.s32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(__cvta_generic_to_global(global)));
  return v;
}

/** Words of 8 bytes that other blocks write while the kernel runs. Each is read and written whole, in any order. */
__device__ inline uint2 loadWord(const void* global) {
  unsigned long long v;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(__cvta_generic_to_global(global)) : "memory");
  return make_uint2(static_cast<unsigned>(v), static_cast<unsigned>(v >> 32));
}
/** Two neighbours, at an address that is a multiple of 16. */
__device__ inline uint4 loadWords(const void* global) {
  unsigned long long a, b;
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0,%1}, [%2];"
               : "=l"(a), "=l"(b)
               : "l"(__cvta_generic_to_global(global))
               : "memory");
  return make_uint4(static_cast<unsigned>(a), static_cast<unsigned>(a >> 32), static_cast<unsigned>(b),
                    static_cast<unsigned>(b >> 32));
}
__device__ inline void storeWord(void* global, uint2 word) {
  const unsigned long long v = static_cast<unsigned long long>(word.y) << 32 | word.x;
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(__cvta_generic_to_global(global)), "l"(v) : "memory");
}

/** Between two looks at what another block will write. */
__device__ inline void nap() { __nanosleep(20); }

}  // namespace quamba
