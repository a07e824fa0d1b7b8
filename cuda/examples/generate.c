/*
 * Writes on from token ids, the likeliest each time, with nothing but the library and a checkpoint that `quamba quantize` wrote.
 *
 *   cc -std=c99 -I cuda/include cuda/examples/generate.c cuda/build/libquamba_cuda.so -Wl,-rpath,$PWD/cuda/build -o generate
 *   ./generate models/mamba-books-15m/plan.quamba.safetensors 16 510 1543 3081
 *
 * Prints the ids; or in one sentence what is wrong, and ends with 1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "quamba.h"

static void expect(quamba_status status) {
  if (status == QUAMBA_OK) return;
  fprintf(stderr, "%s\n", quamba_error());
  exit(1);
}

static void *allocate(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (memory) return memory;
  fprintf(stderr, "out of memory\n");
  exit(1);
}

static void *read_file(const char *path, uint64_t *size) {
  FILE *file = fopen(path, "rb");
  long length = -1;
  void *bytes;
  if (file && fseek(file, 0, SEEK_END) == 0) length = ftell(file);
  if (length < 0 || fseek(file, 0, SEEK_SET) != 0) {
    fprintf(stderr, "%s: cannot be read\n", path);
    exit(1);
  }
  bytes = allocate((size_t)length);
  *size = fread(bytes, 1, (size_t)length, file);
  fclose(file);
  return bytes;
}

static int32_t likeliest(const float *logits, int32_t vocabulary) {
  int32_t best = 0, i;
  for (i = 1; i < vocabulary; i++)
    if (logits[i] > logits[best]) best = i;
  return best;
}

int main(int argc, char **argv) {
  const int32_t length = argc - 3;
  const quamba_options options = {0, 0, 0, 0};
  quamba_device_info device;
  quamba_context *context;
  quamba_context_info info;
  uint64_t size;
  void *checkpoint;
  int32_t *prompt, token, left, i;
  float *logits;
  quamba_turn turn = {0, 0, NULL, NULL};
  if (length < 1) {
    fprintf(stderr, "usage: generate CHECKPOINT COUNT TOKEN...\n");
    return 2;
  }
  expect(quamba_device(&device));
  checkpoint = read_file(argv[1], &size);
  expect(quamba_open_checkpoint(checkpoint, size, &options, &context));
  free(checkpoint);
  expect(quamba_context_describe(context, &info));

  prompt = allocate((size_t)length * sizeof *prompt);
  logits = allocate((size_t)info.vocabulary * sizeof *logits);
  for (i = 0; i < length; i++) prompt[i] = (int32_t)strtol(argv[3 + i], NULL, 10);
  turn.length = length;
  turn.tokens = prompt;
  turn.logits = logits;
  expect(quamba_feed(context, &turn, 1, QUAMBA_LAST));
  turn.length = 1;
  turn.tokens = &token;
  for (left = (int32_t)strtol(argv[2], NULL, 10); left > 0; left--) {
    token = likeliest(logits, info.vocabulary);
    printf(left > 1 ? "%d " : "%d\n", (int)token);
    if (left > 1) expect(quamba_feed(context, &turn, 1, QUAMBA_LAST));
  }
  quamba_close(context);
  free(prompt);
  free(logits);
  return 0;
}
