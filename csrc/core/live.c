// SPDX-License-Identifier: Apache-2.0
#include "core/live.h"

static uint32_t last_op(const jlt_container_t *c) { return c->exits[c->model->n_exits - 1u].last_op; }

static bool reads(const jlt_op_t *op, uint16_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

static bool written_before(const jlt_container_t *c, uint32_t end, uint16_t tensor) {
  bool written = (c->tensors[tensor].flags & JLT_TENSOR_FLAG_INPUT) != 0;
  for (uint32_t i = 0; i < end && !written; i++) {
    written = c->ops[i].output == tensor;
  }
  return written;
}

static bool needed_from(const jlt_container_t *c, uint32_t next_op, uint16_t tensor) {
  for (uint32_t i = next_op; i <= last_op(c); i++) {
    if (reads(&c->ops[i], tensor)) {
      return true;
    }
  }
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    const jlt_exit_t *exit = &c->exits[k];
    if (exit->last_op >= next_op && (exit->output == tensor || (exit->n_classes && exit->logits == tensor))) {
      return true;
    }
  }
  for (uint32_t i = 0; i < c->model->n_outputs; i++) {
    if (c->model->outputs[i] == tensor) {
      return true;
    }
  }
  return false;
}

bool jlt_live_at(const jlt_container_t *container, uint16_t next_op, uint32_t unit, uint16_t tensor) {
  if (!container || next_op > last_op(container) || tensor >= container->model->n_tensors ||
      (container->tensors[tensor].flags & JLT_TENSOR_FLAG_CONST)) {
    return false;
  }
  return written_before(container, next_op + (unit ? 1u : 0u), tensor) && needed_from(container, next_op, tensor);
}

// What an output being written has in common with its op's inputs.
static uint32_t shared_bytes(const jlt_container_t *c, const jlt_op_t *op) {
  uint64_t shared = 0;
  const uint64_t begin = c->arena_offsets[op->output];
  const uint64_t end = begin + jlt_tensor_bytes(&c->tensors[op->output]);
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    const uint16_t tensor = op->inputs[i];
    if ((c->tensors[tensor].flags & JLT_TENSOR_FLAG_CONST) || tensor == op->output || (i && tensor == op->inputs[0])) {
      continue;
    }
    const uint64_t from = c->arena_offsets[tensor];
    const uint64_t to = from + jlt_tensor_bytes(&c->tensors[tensor]);
    const uint64_t low = from > begin ? from : begin;
    const uint64_t high = to < end ? to : end;
    shared += high > low ? high - low : 0u;
  }
  return (uint32_t)shared;
}

uint32_t jlt_live_bytes(const jlt_container_t *container, uint16_t next_op, uint32_t unit) {
  uint32_t bytes = 0;
  if (!container || next_op > last_op(container)) {
    return 0;
  }
  for (uint32_t t = 0; t < container->model->n_tensors; t++) {
    if (jlt_live_at(container, next_op, unit, (uint16_t)t)) {
      bytes += jlt_tensor_bytes(&container->tensors[t]);
    }
  }
  const jlt_op_t *op = &container->ops[next_op];
  const bool under_way = unit && jlt_live_at(container, next_op, unit, op->output);
  return under_way ? bytes - shared_bytes(container, op) : bytes;
}
