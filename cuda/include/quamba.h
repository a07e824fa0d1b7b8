/*
 * quamba on CUDA: the ops of src/ops with the reference's bits, for C, Python and Node.
 *
 * C99. Every function that can fail returns a quamba_status; quamba_error() then says in one sentence what was wrong.
 * Nothing is thrown across this boundary. The GPU is the first that the driver shows (CUDA_VISIBLE_DEVICES chooses it).
 * Calls may come from several threads.
 */
#ifndef QUAMBA_H
#define QUAMBA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(QUAMBA_BUILD)
#define QUAMBA_API __declspec(dllexport)
#elif defined(__GNUC__)
#define QUAMBA_API __attribute__((visibility("default")))
#else
#define QUAMBA_API
#endif

/** Grows with every change of this file that an older caller would stumble over. */
#define QUAMBA_ABI 1

typedef enum quamba_status {
  QUAMBA_OK = 0,
  QUAMBA_NO_DRIVER = 1,     /* no NVIDIA driver, or one too old for this library */
  QUAMBA_NO_DEVICE = 2,     /* a driver, but no GPU that it shows */
  QUAMBA_WRONG_DEVICE = 3,  /* a GPU that this library was not built for */
  QUAMBA_UNKNOWN_OP = 4,
  QUAMBA_WRONG_CALL = 5,    /* a name, dtype, shape, attribute or constraint of the op */
  QUAMBA_BAD_VALUE = 6,     /* a NaN that is to be quantized, a token outside of the table: see quamba_error_index */
  QUAMBA_OUT_OF_MEMORY = 7,
  QUAMBA_CUDA_ERROR = 8
} quamba_status;

typedef enum quamba_dtype { QUAMBA_F32 = 0, QUAMBA_I8 = 1, QUAMBA_I32 = 2 } quamba_dtype;

#define QUAMBA_MAX_RANK 4

/** A tensor in host memory: row-major, no strides. Its name is the one that the op's signature gives it. */
typedef struct quamba_tensor {
  const char *name;
  int32_t dtype; /* a quamba_dtype */
  int32_t rank;
  int64_t shape[QUAMBA_MAX_RANK];
  void *data;
} quamba_tensor;

/** An attribute: a number (true is 1, false 0), or a text where `text` is not NULL. One that is left out has its default. */
typedef struct quamba_attribute {
  const char *name;
  double number;
  const char *text;
} quamba_attribute;

typedef struct quamba_device_info {
  char name[256];
  int32_t sm; /* compute capability, 87 for 8.7 */
  int32_t multiprocessors;
  uint64_t memory; /* bytes */
} quamba_device_info;

/** The QUAMBA_ABI that the library was compiled with. */
QUAMBA_API int32_t quamba_abi(void);

/** The architectures with machine code in the library: "sm_80 sm_87". */
QUAMBA_API const char *quamba_built_for(void);

/** What the last failed call of this thread has to say. Valid until its next failure. */
QUAMBA_API const char *quamba_error(void);

/** The place, in the flattened tensor, of the value that the last QUAMBA_BAD_VALUE of this thread is about. */
QUAMBA_API int64_t quamba_error_index(void);

/** Describes the GPU; fails where there is none that can run this library. */
QUAMBA_API quamba_status quamba_device(quamba_device_info *info);

/** The ops it has, from 0 on, as "add(x f32[l, m], y f32[l, m]) -> sum f32[l, m]"; NULL after the last. */
QUAMBA_API const char *quamba_op_signature(int32_t index);

/**
 * Runs one op on host memory: copies the inputs to the GPU, runs it, copies the outputs back, and waits for them. For
 * conformance and for ops on their own, not for speed. An optional input is left out, or given with data NULL.
 */
QUAMBA_API quamba_status quamba_op(
    const char *name,
    const quamba_tensor *inputs, int32_t input_count,
    const quamba_attribute *attributes, int32_t attribute_count,
    const quamba_tensor *outputs, int32_t output_count);

#ifdef __cplusplus
}
#endif

#endif
