// SPDX-License-Identifier: Apache-2.0
// Infers one input several times with LiteRT through its C API, one thread, XNNPACK, and writes the answer to standard output; on x86,
// to standard error, also what the time-stamp counter went on by in the last inference but one and in the last.
//
//   infer_litert libLiteRt.so MODEL.tflite INPUT.bin TIMES
//
// The wheel ai-edge-litert ships the library and no headers: what is called is declared here.
#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retired.h"

typedef void *handle_t;

// A tensor's type, as LiteRT lays it out.
typedef struct {
  int element;
  struct {
    unsigned rank : 7;
    bool has_strides : 1;
    int32_t dims[8];
    uint32_t strides[8];
  } layout;
} tensor_type_t;

enum { ON_CPU = 1, TO_READ = 0, TO_WRITE = 1 };

static void fail(const char *what, int status) {
  fprintf(stderr, "%s: %d\n", what, status);
  exit(1);
}

static void must(const char *what, int status) {
  if (status) {
    fail(what, status);
  }
}

static void *found(void *library, const char *name) {
  void *function = dlsym(library, name);
  if (!function) {
    fail(name, 0);
  }
  return function;
}

#define CALL(library, name, types, ...) must(#name, ((int(*) types)found(library, "LiteRt" #name))(__VA_ARGS__))

// A buffer for the model's only input or output.
static handle_t buffer_of(void *library, handle_t environment, handle_t compiled, handle_t tensor, bool is_input) {
  tensor_type_t type = {0};
  handle_t needs, buffer;
  CALL(library, GetRankedTensorType, (handle_t, tensor_type_t *), tensor, &type);
  if (is_input) {
    CALL(library, GetCompiledModelInputBufferRequirements, (handle_t, size_t, size_t, handle_t *), compiled, 0, 0, &needs);
  } else {
    CALL(library, GetCompiledModelOutputBufferRequirements, (handle_t, size_t, size_t, handle_t *), compiled, 0, 0, &needs);
  }
  CALL(library, CreateManagedTensorBufferFromRequirements, (handle_t, tensor_type_t *, handle_t, handle_t *), environment, &type,
       needs, &buffer);
  return buffer;
}

static void *locked(void *library, handle_t buffer, int mode, size_t *bytes) {
  void *memory;
  CALL(library, GetTensorBufferPackedSize, (handle_t, size_t *), buffer, bytes);
  CALL(library, LockTensorBuffer, (handle_t, void **, int), buffer, &memory, mode);
  return memory;
}

static void take_input(void *library, handle_t buffer, const char *path) {
  size_t bytes;
  void *memory = locked(library, buffer, TO_WRITE, &bytes);
  FILE *file = fopen(path, "rb");
  if (!file || fread(memory, 1, bytes, file) != bytes) {
    fail(path, 0);
  }
  fclose(file);
  CALL(library, UnlockTensorBuffer, (handle_t), buffer);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fail("infer_litert libLiteRt.so MODEL.tflite INPUT.bin TIMES", argc);
  }
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fail(dlerror(), 0);
  }
  handle_t environment, model, options, compiled, graph, in, out;
  CALL(library, CreateEnvironment, (int, void *, handle_t *), 0, NULL, &environment);
  CALL(library, CreateModelFromFile, (handle_t, const char *, handle_t *), environment, argv[2], &model);
  CALL(library, CreateOptions, (handle_t *), &options);
  CALL(library, SetOptionsHardwareAccelerators, (handle_t, int), options, ON_CPU);
  CALL(library, CreateCompiledModel, (handle_t, handle_t, handle_t, handle_t *), environment, model, options, &compiled);
  CALL(library, GetModelSubgraph, (handle_t, size_t, handle_t *), model, 0, &graph);
  CALL(library, GetSubgraphInput, (handle_t, size_t, handle_t *), graph, 0, &in);
  CALL(library, GetSubgraphOutput, (handle_t, size_t, handle_t *), graph, 0, &out);
  in = buffer_of(library, environment, compiled, in, true);
  out = buffer_of(library, environment, compiled, out, false);
  take_input(library, in, argv[3]);
  int (*run)(handle_t, size_t, size_t, handle_t *, size_t, handle_t *) = found(library, "LiteRtRunCompiledModel");
  uint64_t counts[2] = {0};
  for (int left = atoi(argv[4]); left > 0; left--) {
    const uint64_t before = retired();
    must("RunCompiledModel", run(compiled, 0, 1, &in, 1, &out));
    counts[0] = counts[1];
    counts[1] = retired() - before;
  }
  size_t bytes;
  const void *answer = locked(library, out, TO_READ, &bytes);
  fwrite(answer, 1, bytes, stdout);
  if (counts[1] > 0) {
    fprintf(stderr, "inference %" PRIu64 "\ninference %" PRIu64 "\n", counts[0], counts[1]);
  }
  return 0;
}
