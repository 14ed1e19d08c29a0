// SPDX-License-Identifier: Apache-2.0
// Runs containers on the kernels of one instruction set, each path whole, in tiles, and its first op once more with every buffer an
// allocation of exactly its size (for AddressSanitizer), and writes the answers of the last exit to standard output.
//
//   run_kernels ISA SAMPLES (MODEL.jlt INPUTS.bin)...
//
// INPUTS.bin holds the samples one after another, all inputs of a sample in order.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "joulet.h"
#include "kernels/variants.h"

static void fail(const char *what, int status) {
  fprintf(stderr, "%s: %d\n", what, status);
  exit(1);
}

static uint8_t *aligned(const void *from, size_t bytes, size_t alignment) {
  void *to = NULL;
  if (posix_memalign(&to, alignment, bytes ? bytes : 1)) {
    fail("memory", 0);
  }
  if (from) {
    memcpy(to, from, bytes);
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
  uint8_t *content = aligned(NULL, *bytes, 64);
  if (fread(content, 1, *bytes, file) != *bytes) {
    fail(path, 1);
  }
  fclose(file);
  return content;
}

static const uint8_t *start(jlt_engine_t *e, uint16_t path, const uint8_t *inputs) {
  int status = jlt_engine_start(e, path);
  for (uint16_t i = 0; status == JLT_OK && i < e->container->model->n_inputs; i++) {
    const uint32_t bytes = jlt_tensor_bytes(&e->container->tensors[e->container->model->inputs[i]]);
    status = jlt_engine_write(e, i, inputs, bytes);
    inputs += bytes;
  }
  if (status) {
    fail("start", status);
  }
  return inputs;
}

// A copy of an array of the container's or the arena's, with nothing around it.
static const void *alone(const void *from, size_t bytes) { return from ? aligned(from, bytes, 64) : NULL; }

// Of the copy that an op's weights are read from; a sparse one is taken for the last of its section.
static size_t copy_bytes(const jlt_container_t *c, const jlt_op_t *op, const jlt_call_t *call, const uint8_t *copy, uint32_t bits) {
  const uint8_t *sparse = (const uint8_t *)c->sparse;
  if (sparse && copy >= sparse && copy < sparse + c->sparse->section_bytes) {
    return (size_t)(sparse + c->sparse->section_bytes - copy);
  }
  return jlt_variant_of(c->isa, op->code, call->params, call->weights.record)->packed_bytes(call->params, call->weights.record, bits);
}

// The first op once more on buffers of their own, and its output compared with the engine's.
static void run_alone(jlt_engine_t *e, uint16_t path, const uint8_t *inputs) {
  const jlt_container_t *c = e->container;
  const jlt_op_t *op = &c->ops[0];
  const jlt_tensor_t *out = &c->tensors[op->output];
  start(e, path, inputs);
  jlt_call_t call = {.params = c->pool + op->params_offset, .out_tensor = out, .end = jlt_op_units(c, 0, false)};
  uint32_t bits = 0;
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    const jlt_tensor_t *t = &c->tensors[op->inputs[i]];
    const void *at = t->flags & JLT_TENSOR_FLAG_CONST ? (const void *)(c->pool + t->const_offset)
                                                      : (const void *)(e->arena + c->arena_offsets[op->inputs[i]]);
    call.in_tensor[i] = t;
    call.in[i] = alone(at, jlt_tensor_bytes(t));
  }
  if (op->weight != JLT_NO_INDEX) {
    const jlt_weight_t *w = &c->weights[op->weight];
    const jlt_layer_t *layer = &c->layers[c->paths[path].precisions[0] * c->model->n_weights + op->weight];
    bits = layer->bits;
    call.weights.record = w;
    call.weights.bias = alone(c->pool + layer->bias_offset, 4u * ((const jlt_conv_params_t *)call.params)->out_c);
    call.weights.multipliers = alone(c->pool + w->multiplier_offset, 4u * w->n_multipliers);
    call.weights.shifts = alone(c->pool + w->shift_offset, 4u * w->n_multipliers);
    if (w->storage == JLT_STORAGE_S8) {
      call.weights.s8 = c->data_s8 + w->offset;
    } else {
      call.weights.high = c->plane_high + w->offset;
      call.weights.low = bits == 8 ? c->plane_low + w->offset : NULL;
    }
  }
  const jlt_choice_t choice = jlt_choose(c, op, bits);
  if (choice.packed) {
    call.weights.packed = alone(choice.packed, copy_bytes(c, op, &call, choice.packed, bits));
  }
  const uint32_t bytes = jlt_tensor_bytes(out);
  call.out = aligned(NULL, bytes, 64);
  call.scratch = aligned(NULL, jlt_chosen_scratch_bytes(c, op), 16);
  memset(call.scratch, 0xA5, jlt_chosen_scratch_bytes(c, op));
  choice.run(&call);
  jlt_event_t event;
  if (jlt_engine_step(e, (uint8_t)(c->model->n_exits - 1u), &event) ||
      memcmp(call.out, e->arena + c->arena_offsets[op->output], bytes) != 0) {
    fail("alone", 0);
  }
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    free((void *)(uintptr_t)call.in[i]);
  }
  free(call.out);
  free(call.scratch);
  free((void *)(uintptr_t)call.weights.packed);
  free((void *)(uintptr_t)call.weights.bias);
  free((void *)(uintptr_t)call.weights.multipliers);
  free((void *)(uintptr_t)call.weights.shifts);
}

static void run_to_end(jlt_engine_t *e, uint32_t *drawn, uint8_t *answer, uint32_t bytes) {
  const uint8_t exit = (uint8_t)(e->container->model->n_exits - 1u);
  jlt_event_t event = {0};
  while (event.kind != JLT_EVENT_EXIT) {
    *drawn = *drawn ? *drawn * 1664525u + 1013904223u : 0;
    const int status = jlt_engine_tile(e, exit, *drawn ? 1u + (*drawn >> 24) % 3u : 0, &event);
    if (status) {
      fail("tile", status);
    }
  }
  if (jlt_engine_read(e, e->container->model->outputs[0], answer, bytes)) {
    fail("read", 0);
  }
}

static void run_model(uint32_t isa, uint32_t samples, const char *model, const char *inputs) {
  size_t bytes, input_bytes;
  uint8_t *content = read_file(model, &bytes);
  uint8_t *all = read_file(inputs, &input_bytes);
  jlt_container_t c;
  int status = jlt_container_check(content, (uint32_t)bytes, &c);
  status = status ? status : jlt_container_use(&c, isa, false);
  if (status) {
    fail(model, status);
  }
  const uint32_t out_bytes = jlt_tensor_bytes(&c.tensors[c.model->outputs[0]]);
  uint8_t *whole = aligned(NULL, out_bytes, 16), *tiles = aligned(NULL, out_bytes, 16);
  for (uint16_t path = 0; path < c.model->n_paths; path++) {
    const uint32_t arena_bytes = jlt_arena_bytes(&c, path);
    uint8_t *arena = aligned(NULL, arena_bytes, 16);
    memset(arena, 0x5A, arena_bytes);
    jlt_engine_t e;
    if (jlt_engine_init(&e, &c, arena, arena_bytes)) {
      fail("init", 0);
    }
    const uint8_t *at = all;
    uint32_t drawn = 12345, none = 0;
    for (uint32_t i = 0; i < samples; i++) {
      run_alone(&e, path, at);
      start(&e, path, at);
      run_to_end(&e, &none, whole, out_bytes);
      const uint8_t *next = start(&e, path, at);
      run_to_end(&e, &drawn, tiles, out_bytes);
      if (memcmp(whole, tiles, out_bytes) != 0) {
        fail("tiles", (int)i);
      }
      fwrite(whole, 1, out_bytes, stdout);
      at = next;
    }
    free(arena);
  }
  free(whole);
  free(tiles);
  free(all);
  free(content);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fail("run_kernels ISA SAMPLES (MODEL.jlt INPUTS.bin)...", argc);
  }
  for (int i = 3; i + 1 < argc; i += 2) {
    run_model((uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), argv[i], argv[i + 1]);
  }
  return 0;
}
