/*
 * quamba on CUDA: plans of quantized Mamba, and the ops of src/ops, with the reference's bits, for C, Python and Node.
 *
 * C99. Every function that can fail returns a quamba_status; quamba_error() then says in one sentence what was wrong.
 * Nothing is thrown across this boundary. The GPU is the first that the driver shows (CUDA_VISIBLE_DEVICES chooses it).
 * Calls may come from several threads, those of one context from one at a time.
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
#define QUAMBA_ABI 3

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

/**
 * The ops it has, from 0 on, as "add(x f32[l, m], y f32[l, m]) -> sum f32[l, m]"; NULL after the last. States and attributes come
 * after the inputs: "causal-conv1d(x f32[l, d], w f32[d, k], b f32[d]?; past f32[d, k-1]; activation) -> y f32[l, d]".
 */
QUAMBA_API const char *quamba_op_signature(int32_t index);

/**
 * Runs one op on host memory: copies the inputs to the GPU, runs it, copies the outputs back, and waits for them. For
 * conformance and for ops on their own, not for speed. An optional input is left out, or given with data NULL. A state stands
 * among the inputs as it is before, where one that is left out is zeros, and among the outputs as it is after; one that grows
 * has as many rows more there as the call has tokens.
 */
QUAMBA_API quamba_status quamba_op(
    const char *name,
    const quamba_tensor *inputs, int32_t input_count,
    const quamba_attribute *attributes, int32_t attribute_count,
    const quamba_tensor *outputs, int32_t output_count);

/** A plan with its constants and states in memory of the GPU. */
typedef struct quamba_context quamba_context;

typedef enum quamba_precision {
  QUAMBA_EXACT = 0, /* the plan as it is, with the reference's bits */
  QUAMBA_F16 = 1    /* a float plan (recipe fp32) with its matrices and activations in f16 and its sums in f32: what W8A8 is measured against. Not the reference's bits */
} quamba_precision;

/** How one token of one sequence runs. One token of each of several runs as a graph, unless the choice is NODES. */
typedef enum quamba_decode {
  QUAMBA_DECODE_BEST = 0,       /* the fastest that the plan's shape and the GPU allow */
  QUAMBA_DECODE_NODES = 1,      /* a launch for each node of the plan */
  QUAMBA_DECODE_GRAPH = 2,      /* the launches as one CUDA graph */
  QUAMBA_DECODE_PERSISTENT = 3  /* one cooperative kernel */
} quamba_decode;

/** Zeros are the defaults. */
typedef struct quamba_options {
  int32_t sequences; /* independent texts, each with states of its own; 1 by default */
  int32_t chunk;     /* rows (tokens of all turns) computed at once, at most; 1024 by default */
  int32_t precision; /* a quamba_precision */
  int32_t decode;    /* a quamba_decode; another than BEST fails where it cannot run */
} quamba_options;

typedef struct quamba_context_info {
  int32_t sequences;
  int32_t chunk;
  int32_t vocabulary;     /* values of a row of logits */
  int32_t states;         /* states of a sequence, see quamba_state_tensor */
  int32_t decode;         /* the quamba_decode that a single token runs as */
  int32_t launches;       /* kernels that a single token takes */
  uint64_t memory;        /* bytes of the GPU that it holds */
  uint64_t bytes_per_token; /* what one token reads of the constants, and reads and writes of the states; without those that grow */
} quamba_context_info;

/**
 * Uploads a plan. `graph`: its JSON, as the metadata `graph` of a quantized checkpoint has it. `weights`: the constants that the
 * graph names, f32 or i8, in any order; they are copied, and not needed any more when it returns.
 */
QUAMBA_API quamba_status quamba_open(
    const char *graph, const quamba_tensor *weights, int32_t weight_count, const quamba_options *options,
    quamba_context **context);

/** Uploads the plan of a quantized checkpoint: the bytes of the file that `quamba quantize` writes. */
QUAMBA_API quamba_status quamba_open_checkpoint(
    const void *bytes, uint64_t size, const quamba_options *options, quamba_context **context);

/** Frees it. NULL is nothing. */
QUAMBA_API void quamba_close(quamba_context *context);

QUAMBA_API quamba_status quamba_context_describe(const quamba_context *context, quamba_context_info *info);

/** Which rows of logits come back. */
typedef enum quamba_logits { QUAMBA_ALL = 0, QUAMBA_LAST = 1 } quamba_logits;

/** Some tokens for one sequence. */
typedef struct quamba_turn {
  int32_t sequence;      /* 0 to sequences - 1 */
  int32_t length;        /* 1 or more */
  const int32_t *tokens; /* i32[length] */
  float *logits;         /* f32[length, vocabulary], or f32[vocabulary] for QUAMBA_LAST; NULL: they stay on the GPU */
} quamba_turn;

/**
 * Feeds each turn from the present state of its sequence on, which becomes that after its last token. The turns are of different
 * sequences, any of them, and of any lengths; the weights are read once for all. The bits of a sequence do not depend on who is
 * fed beside it, nor on how its text is cut into turns. The call waits for the logits; where no turn wants them it returns
 * as soon as the work is queued (quamba_wait waits). After a failure the states of these sequences are unspecified: set them before
 * feeding on.
 */
QUAMBA_API quamba_status quamba_feed(quamba_context *context, const quamba_turn *turns, int32_t count, int32_t which);

/** Waits for all that is queued; fails where a NaN was to be quantized since the last wait. */
QUAMBA_API quamba_status quamba_wait(quamba_context *context);

/**
 * Describes the state `index` of a sequence: name, dtype f32, shape; data is NULL. Names live as long as the context. The first
 * size of a state that grows is −1: it has a row for each token fed so far.
 */
QUAMBA_API quamba_status quamba_state_tensor(const quamba_context *context, int32_t index, quamba_tensor *tensor);

/** Copies every state of a sequence out of the GPU: tensors by name, f32, all of them. */
QUAMBA_API quamba_status quamba_get_state(
    quamba_context *context, int32_t sequence, const quamba_tensor *tensors, int32_t count);

/**
 * Copies them in. Those that are not given become zeros, as at the start of a text. All that grow are given with the same number of
 * rows, or none of them.
 */
QUAMBA_API quamba_status quamba_set_state(
    quamba_context *context, int32_t sequence, const quamba_tensor *tensors, int32_t count);

/** Makes the states of the sequence `to` those of the sequence `from`. */
QUAMBA_API quamba_status quamba_copy_state(quamba_context *context, int32_t from, int32_t to);

/** Bytes per second that a plain read of `bytes` of memory of the GPU reaches, and that a copy (read and written) of them does. */
QUAMBA_API quamba_status quamba_bandwidth(uint64_t bytes, double *read, double *copy);

#ifdef __cplusplus
}
#endif

#endif
