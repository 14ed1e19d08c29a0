// SPDX-License-Identifier: Apache-2.0
// Harness of the container check and of everything it admits: what passes is run along every path to every exit.
//
// libFuzzer entry by default. With -DJLT_STANDALONE a main takes containers as arguments (or one on stdin) and runs
// each as it is and then `-n` times mutated. Checksums are repaired first, or no mutation would get past them. Buffers
// have their exact size, so that ASan sees every byte outside.
#define _POSIX_C_SOURCE 200112L  // posix_memalign

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/crc32.h"
#include "joulet.h"

enum { ARENA_LIMIT = 1 << 22, WORK_LIMIT = 20000000 };

static void repair_checksums(uint8_t *data, uint32_t bytes) {
  jlt_header_t *header = (jlt_header_t *)(void *)data;
  if (bytes < sizeof(*header) || header->n_sections > (bytes - sizeof(*header)) / sizeof(jlt_section_t)) {
    return;
  }
  jlt_section_t *sections = (jlt_section_t *)(void *)(header + 1);
  for (uint32_t i = 0; i < header->n_sections; i++) {
    if (sections[i].offset <= bytes && sections[i].bytes <= bytes - sections[i].offset) {
      sections[i].crc32 = jlt_crc32(0, data + sections[i].offset, sections[i].bytes);
    }
  }
  header->crc32 = 0;
  header->crc32 = jlt_crc32(0, data, sizeof(*header) + header->n_sections * sizeof(jlt_section_t));
}

// Rough operations of one inference, so that a harmless but huge convolution does not count as a hang.
static uint64_t work(const jlt_container_t *c) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const jlt_op_t *op = &c->ops[i];
    uint64_t each = c->tensors[op->output].elements;
    if (op->n_inputs) {
      each += c->tensors[op->inputs[0]].elements;
    }
    if (op->code == JLT_OP_CODE_CONV || op->code == JLT_OP_CODE_DWCONV || op->code == JLT_OP_CODE_FC) {
      const jlt_conv_params_t *p = (const jlt_conv_params_t *)(const void *)(c->pool + op->params_offset);
      each *= (uint64_t)p->k_h * p->k_w * (op->code == JLT_OP_CODE_DWCONV ? 1 : p->in_c);
    } else if (op->code == JLT_OP_CODE_AVGPOOL || op->code == JLT_OP_CODE_MAXPOOL) {
      const jlt_pool_params_t *p = (const jlt_pool_params_t *)(const void *)(c->pool + op->params_offset);
      const uint64_t rows = p->k_h < p->in_h ? p->k_h : p->in_h;
      const uint64_t columns = p->k_w < p->in_w ? p->k_w : p->in_w;
      each *= rows * columns;
    }
    sum += each;
  }
  return sum;
}

static int run_to(jlt_engine_t *engine, uint16_t path, uint8_t exit, const uint8_t *zeros) {
  const jlt_container_t *c = engine->container;
  if (jlt_engine_start(engine, path)) {
    return 0;
  }
  for (uint16_t i = 0; i < c->model->n_inputs; i++) {
    if (jlt_engine_write(engine, i, zeros, jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]))) {
      abort();
    }
  }
  jlt_event_t event = {0};
  while (event.kind != JLT_EVENT_EXIT) {
    if (jlt_engine_step(engine, exit, &event)) {
      abort();  // a checked container always reaches each of its exits
    }
    (void)!jlt_engine_switch(engine, (uint16_t)((path + 1u) % c->model->n_paths));
    if (jlt_engine_switch(engine, path)) {
      return 0;
    }
  }
  const uint16_t output = c->exits[exit].output;
  const uint32_t bytes = jlt_tensor_bytes(&c->tensors[output]);
  uint8_t *answer = malloc(bytes);
  if (!answer || jlt_engine_read(engine, output, answer, bytes)) {
    abort();
  }
  const int first = answer[0];
  free(answer);
  return first;
}

static uint8_t *aligned(size_t bytes, size_t alignment) {
  void *memory = NULL;
  if (posix_memalign(&memory, alignment, bytes ? bytes : 1)) {
    abort();
  }
  return memory;
}

static void run_all(const jlt_container_t *c) {
  uint32_t input_bytes = 0;
  for (uint32_t i = 0; i < c->model->n_inputs; i++) {
    const uint32_t bytes = jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]);
    input_bytes = bytes > input_bytes ? bytes : input_bytes;
  }
  if (input_bytes > ARENA_LIMIT || work(c) > WORK_LIMIT) {
    return;
  }
  uint8_t *zeros = calloc(1, input_bytes);
  const uint16_t n_paths = c->model->n_paths < 4 ? c->model->n_paths : 4;
  for (uint16_t path = 0; path < n_paths; path++) {
    const uint32_t arena_bytes = jlt_arena_bytes(c, path);
    if (arena_bytes == 0 || arena_bytes > ARENA_LIMIT) {
      continue;
    }
    uint8_t *arena = aligned(arena_bytes, JLT_ARENA_ALIGN_BYTES);
    memset(arena, 0, arena_bytes);
    jlt_engine_t engine;
    if (jlt_engine_init(&engine, c, arena, arena_bytes)) {
      abort();
    }
    for (uint32_t exit = 0; exit < c->model->n_exits; exit++) {
      (void)run_to(&engine, path, (uint8_t)exit, zeros);
    }
    free(arena);
  }
  free(zeros);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > (1u << 24)) {
    return 0;
  }
  uint8_t *copy = aligned(size, JLT_BASE_ALIGN_BYTES);
  memcpy(copy, data, size);
  repair_checksums(copy, (uint32_t)size);
  jlt_container_t container;
  if (jlt_container_check(copy, (uint32_t)size, &container) == JLT_OK) {
    run_all(&container);
  }
  free(copy);
  return 0;
}

#ifdef JLT_STANDALONE

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

static void mutate(uint8_t *data, size_t size, uint32_t *state) {
  static const uint32_t extremes[] = {0, 1, 2, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  for (uint32_t times = 1 + next_random(state) % 3; times > 0; times--) {
    const size_t at = next_random(state) % size;
    if (next_random(state) % 2) {
      data[at] ^= (uint8_t)(1u << (next_random(state) % 8));
    } else if (at + 4 <= size) {
      const uint32_t value = extremes[next_random(state) % (sizeof(extremes) / sizeof(extremes[0]))];
      memcpy(data + at / 4 * 4, &value, 4);
    }
  }
}

static int run_file(FILE *file, uint32_t mutations, uint32_t seed) {
  const size_t limit = 1u << 24;
  uint8_t *data = malloc(limit);
  uint8_t *copy = malloc(limit);
  if (!data || !copy) {
    return 1;
  }
  const size_t size = fread(data, 1, limit, file);
  LLVMFuzzerTestOneInput(data, size);
  for (uint32_t i = 0; i < mutations && size > 0; i++) {
    memcpy(copy, data, size);
    mutate(copy, size, &seed);
    LLVMFuzzerTestOneInput(copy, size);
  }
  free(data);
  free(copy);
  return 0;
}

int main(int argc, char **argv) {
  uint32_t mutations = 0;
  int first = 1;
  if (argc > 2 && strcmp(argv[1], "-n") == 0) {
    mutations = (uint32_t)strtoul(argv[2], NULL, 10);
    first = 3;
  }
  if (first == argc) {
    return run_file(stdin, mutations, 1);
  }
  for (int i = first; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file) {
      perror(argv[i]);
      return 1;
    }
    const int err = run_file(file, mutations, (uint32_t)i);
    fclose(file);
    if (err) {
      return err;
    }
  }
  return 0;
}

#endif
