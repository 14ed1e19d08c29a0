// SPDX-License-Identifier: Apache-2.0
// Infers one input several times and writes the answer of the last exit to standard output; on x86, to standard error, also what
// the time-stamp counter went on by in the last inference but one, the last one, and each op of one more.
//
//   infer_joulet MODEL.jlt INPUT.bin TIMES ISA PATH
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "joulet.h"
#include "retired.h"

static void fail(const char *what, int status) {
  fprintf(stderr, "%s: %d\n", what, status);
  exit(1);
}

static void *aligned(size_t bytes) {
  void *to = NULL;
  if (posix_memalign(&to, 64, bytes ? bytes : 1)) {
    fail("memory", 0);
  }
  return to;
}

static uint8_t *read_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) {
    fail(path, 0);
  }
  *bytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *content = aligned(*bytes);
  if (fread(content, 1, *bytes, file) != *bytes) {
    fail(path, 1);
  }
  fclose(file);
  return content;
}

static int infer(jlt_engine_t *e, uint16_t path, const uint8_t *input, uint32_t bytes, uint8_t *answer, uint32_t answer_bytes) {
  const jlt_model_t *model = e->container->model;
  jlt_event_t event = {0};
  int status = jlt_engine_start(e, path);
  status = status ? status : jlt_engine_write(e, 0, input, bytes);
  while (!status && event.kind != JLT_EVENT_EXIT) {
    status = jlt_engine_step(e, (uint8_t)(model->n_exits - 1u), &event);
  }
  return status ? status : jlt_engine_read(e, model->outputs[0], answer, answer_bytes);
}

// The counter's steps in each op of one inference.
static void tell_ops(jlt_engine_t *e, uint16_t path, const uint8_t *input, uint32_t bytes) {
  const jlt_container_t *c = e->container;
  jlt_event_t event = {0};
  int status = jlt_engine_start(e, path);
  status = status ? status : jlt_engine_write(e, 0, input, bytes);
  for (uint32_t op = 0; !status && event.kind != JLT_EVENT_EXIT; op++) {
    const uint64_t before = retired();
    status = jlt_engine_step(e, (uint8_t)(c->model->n_exits - 1u), &event);
    fprintf(stderr, "op %" PRIu32 " %" PRIu64 "\n", op, retired() - before);
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fail("infer_joulet MODEL.jlt INPUT.bin TIMES ISA PATH", argc);
  }
  size_t model_bytes, input_bytes;
  const uint8_t *model = read_file(argv[1], &model_bytes), *input = read_file(argv[2], &input_bytes);
  const uint16_t path = (uint16_t)atoi(argv[5]);
  jlt_container_t c;
  int status = jlt_container_check(model, (uint32_t)model_bytes, &c);
  status = status ? status : jlt_container_use(&c, (uint32_t)atoi(argv[4]), false);
  if (status) {
    fail(argv[1], status);
  }
  const uint32_t arena_bytes = jlt_arena_bytes(&c, path), answer_bytes = jlt_tensor_bytes(&c.tensors[c.model->outputs[0]]);
  uint8_t *answer = aligned(answer_bytes);
  jlt_engine_t e;
  status = jlt_engine_init(&e, &c, aligned(arena_bytes), arena_bytes);
  const size_t calls_bytes = jlt_calls_bytes(&c);
  status = status ? status : jlt_engine_keep_calls(&e, aligned(calls_bytes), calls_bytes);
  uint64_t counts[2] = {0};
  for (int left = atoi(argv[3]); !status && left > 0; left--) {
    const uint64_t before = retired();
    status = infer(&e, path, input, (uint32_t)input_bytes, answer, answer_bytes);
    counts[0] = counts[1];
    counts[1] = retired() - before;
  }
  if (status) {
    fail("infer", status);
  }
  fwrite(answer, 1, answer_bytes, stdout);
  if (counts[1] > 0) {
    fprintf(stderr, "inference %" PRIu64 "\ninference %" PRIu64 "\n", counts[0], counts[1]);
    tell_ops(&e, path, input, (uint32_t)input_bytes);
  }
  return 0;
}
