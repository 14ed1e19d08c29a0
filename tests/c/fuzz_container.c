// SPDX-License-Identifier: Apache-2.0
// Harness of the container check and of everything it admits: what passes is run along every path to every exit, once in
// whole ops and once in tiles of random sizes with marks taken and put back. Sound ones must answer the same; a mutated
// one may have an op that leaves a part of its output as it was, and answer with what the arena held before.
//
// libFuzzer entry by default. With -DJLT_STANDALONE a main takes containers as arguments (or one on stdin) and runs
// each as it is and then `-n` times mutated. Checksums are repaired first, or no mutation would get past them. Buffers
// have their exact size, so that ASan sees every byte outside.
#define _POSIX_C_SOURCE 200112L  // posix_memalign

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/crc32.h"
#include "core/live.h"
#include "host/isa.h"
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

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

// All of the arena, in whichever memories it lies.
static void fill(const jlt_engine_t *engine, int byte) {
  memset(engine->arena, byte, engine->arena_bytes - engine->slow_bytes);
  if (engine->slow_bytes > 0) {
    memset(engine->slow, byte, engine->slow_bytes);
  }
}

static void keep(const jlt_engine_t *engine, uint8_t *kept) {
  memcpy(kept + engine->slow_bytes, engine->arena, engine->arena_bytes - engine->slow_bytes);
  if (engine->slow_bytes > 0) {
    memcpy(kept, engine->slow, engine->slow_bytes);
  }
}

static bool start(jlt_engine_t *engine, uint16_t path, const uint8_t *zeros) {
  const jlt_container_t *c = engine->container;
  fill(engine, 0);
  if (jlt_engine_start(engine, path)) {
    return false;
  }
  for (uint16_t i = 0; i < c->model->n_inputs; i++) {
    if (jlt_engine_write(engine, i, zeros, jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]))) {
      abort();
    }
  }
  return true;
}

// A mark with a byte or two changed must be refused, or leave an engine that a run cannot lead out of its arena.
static void restore_hostile(jlt_engine_t *engine, uint8_t exit, const jlt_engine_mark_t *mark, uint32_t *state) {
  const jlt_container_t *c = engine->container;
  jlt_engine_mark_t hostile = *mark;
  for (uint32_t times = next_random(state) % 3; times > 0; times--) {
    ((uint8_t *)&hostile)[next_random(state) % sizeof(hostile)] = (uint8_t)(next_random(state) % 5);
  }
  jlt_event_t event;
  if (jlt_engine_restore(engine, &hostile) == JLT_OK && engine->next_op <= c->exits[exit].last_op) {
    if (jlt_engine_tile(engine, exit, 1, &event)) {
      abort();
    }
  }
}

// What is not live at this point is overwritten, and the engine is put back as after a loss of power.
static void lose_power(jlt_engine_t *engine, uint8_t exit, uint8_t *kept, uint32_t *state) {
  const jlt_container_t *c = engine->container;
  jlt_engine_mark_t mark;
  jlt_engine_save(engine, &mark);
  keep(engine, kept);
  restore_hostile(engine, exit, &mark, state);
  fill(engine, (int)(next_random(state) & 0xFFu));
  uint64_t live_bytes = 0;
  for (uint32_t t = 0; t < c->model->n_tensors; t++) {
    if (jlt_live_at(c, mark.next_op, mark.unit, (uint16_t)t)) {
      const uint32_t bytes = engine->is_f32 ? c->tensors[t].elements * 4u : jlt_tensor_bytes(&c->tensors[t]);
      const size_t at = engine->is_f32 ? (size_t)c->f32_offsets[t] * 4u : c->arena_offsets[t];
      memcpy(jlt_arena_at(engine, at), kept + at, bytes);
      live_bytes += jlt_tensor_bytes(&c->tensors[t]);
    }
  }
  if (jlt_live_bytes(c, mark.next_op, mark.unit) > live_bytes || jlt_engine_restore(engine, &mark)) {
    abort();
  }
}

static void check_written(const jlt_engine_t *engine, const jlt_event_t *event) {
  const jlt_container_t *c = engine->container;
  uint16_t tensor;
  uint32_t from;
  uint32_t to;
  if (jlt_engine_written(engine, &tensor, &from, &to) || tensor != c->ops[event->op].output || from >= to ||
      to > c->tensors[tensor].elements * 4u) {
    abort();
  }
}

// Runs to an exit; with a state in tiles, and now and then through a loss of power.
static bool run_to(jlt_engine_t *engine, uint16_t path, uint8_t exit, uint8_t *kept, uint32_t *state) {
  const jlt_container_t *c = engine->container;
  jlt_event_t event = {0};
  while (event.kind != JLT_EVENT_EXIT) {
    const uint32_t units = state ? next_random(state) % 9 : 0;
    if (jlt_engine_tile(engine, exit, units, &event)) {
      abort();  // a checked container always reaches each of its exits
    }
    check_written(engine, &event);
    if (state && event.kind != JLT_EVENT_EXIT && next_random(state) % 4 == 0) {
      lose_power(engine, exit, kept, state);
    }
    const jlt_status_t other = jlt_engine_switch(engine, (uint16_t)((path + 1u) % c->model->n_paths));
    const jlt_status_t back = jlt_engine_switch(engine, path);
    if (event.kind == JLT_EVENT_TILE && (other != JLT_ERR_STATE || back != JLT_ERR_STATE)) {
      abort();
    }
    if (event.kind != JLT_EVENT_TILE && back) {
      return false;
    }
  }
  return true;
}

static uint8_t *answer_of(const jlt_engine_t *engine, uint8_t exit, uint32_t *bytes) {
  const jlt_container_t *c = engine->container;
  const uint16_t output = c->exits[exit].output;
  *bytes = jlt_tensor_bytes(&c->tensors[output]);
  uint8_t *answer = malloc(*bytes);
  if (!answer || jlt_engine_read(engine, output, answer, *bytes)) {
    abort();
  }
  return answer;
}

static void run_twice(jlt_engine_t *engine, uint16_t path, uint8_t exit, const uint8_t *zeros, uint8_t *kept,
                      bool is_sound) {
  uint32_t state = path * 977u + exit;
  uint32_t bytes;
  if (!start(engine, path, zeros) || !run_to(engine, path, exit, kept, NULL)) {
    return;
  }
  uint8_t *whole = answer_of(engine, exit, &bytes);
  const jlt_engine_t ended = *engine;
  if (!start(engine, path, zeros) || !run_to(engine, path, exit, kept, &state)) {
    abort();
  }
  uint8_t *tiled = answer_of(engine, exit, &bytes);
  if ((is_sound && memcmp(whole, tiled, bytes) != 0) || ended.macs != engine->macs || ended.ops_run != engine->ops_run) {
    abort();
  }
  free(whole);
  free(tiled);
}

static uint8_t *aligned(size_t bytes, size_t alignment) {
  void *memory = NULL;
  if (posix_memalign(&memory, alignment, bytes ? bytes : 1)) {
    abort();
  }
  return memory;
}

static bool path_is_f32(const jlt_container_t *c, uint16_t path) {
  return c->precisions[c->paths[path].precisions[0]].is_f32 != 0;
}

// An engine with an arena of exactly the bytes that a path needs: in one piece, or in the two that a plan with two memories has.
typedef struct {
  jlt_engine_t engine;
  uint8_t *fast;
  uint8_t *slow;
} made_t;

static made_t make(const jlt_container_t *c, uint16_t path, bool in_two) {
  const uint32_t slow_bytes = in_two ? c->slow_bytes : 0;
  const uint32_t fast_bytes = jlt_arena_bytes(c, path) - slow_bytes;
  made_t made = {.fast = aligned(fast_bytes, JLT_ARENA_ALIGN_BYTES), .slow = aligned(slow_bytes, JLT_ARENA_ALIGN_BYTES)};
  if (in_two ? jlt_engine_init_two(&made.engine, c, made.fast, fast_bytes, made.slow, slow_bytes)
             : jlt_engine_init(&made.engine, c, made.fast, fast_bytes)) {
    abort();
  }
  return made;
}

static void run_all(const jlt_container_t *c, bool is_sound) {
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
    uint8_t *kept = aligned(arena_bytes, JLT_ARENA_ALIGN_BYTES);
    for (uint32_t pieces = 1; pieces <= (c->slow_bytes > 0 && !path_is_f32(c, path) ? 2u : 1u); pieces++) {
      made_t made = make(c, path, pieces == 2);
      for (uint32_t exit = 0; exit < c->model->n_exits; exit++) {
        run_twice(&made.engine, path, (uint8_t)exit, zeros, kept, is_sound);
      }
      free(made.slow);
      free(made.fast);
    }
    free(kept);
  }
  free(zeros);
}

static void run_bytes(const uint8_t *data, size_t size, bool is_sound) {
  if (size > (1u << 24)) {
    return;
  }
  uint8_t *copy = aligned(size, JLT_BASE_ALIGN_BYTES);
  memcpy(copy, data, size);
  repair_checksums(copy, (uint32_t)size);
  jlt_container_t container;
  if (jlt_container_check(copy, (uint32_t)size, &container) == JLT_OK) {
    run_all(&container, is_sound);
    // the plan part of each instruction set too: its arena, and its kernels where they are plain C or this core's
    for (uint32_t isa = JLT_ISA_ARMV6M; isa <= JLT_ISA_AVX512VNNI; isa++) {
      if (jlt_host_runs(isa) && jlt_container_use(&container, isa, false) == JLT_OK) {
        run_all(&container, is_sound);
      }
    }
  }
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  run_bytes(data, size, false);
  return 0;
}

#ifdef JLT_STANDALONE

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
  run_bytes(data, size, true);
  for (uint32_t i = 0; i < mutations && size > 0; i++) {
    memcpy(copy, data, size);
    mutate(copy, size, &seed);
    run_bytes(copy, size, false);
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
