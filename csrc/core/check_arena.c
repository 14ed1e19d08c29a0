// SPDX-License-Identifier: Apache-2.0
// Checks of the plan in use, the generic one or a part's: offsets, lifetimes, order of writing and reading, scratch; FORMAT.md §6.
#include "core/arena.h"
#include "core/check.h"
#include "core/overlap.h"
#include "kernels/variants.h"

#define ARENA_LIMIT_BYTES (1u << 29)  // times four at f32 still fits 32 bits

enum { NEVER = -1 };

static bool reads(const jlt_op_t *op, uint32_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

// Last op during which the tensor must keep its values; the number of ops for what a host reads at the end.
static int32_t last_use(const jlt_container_t *c, uint32_t tensor) {
  int32_t last = NEVER;
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    if (reads(&c->ops[i], tensor) || c->ops[i].output == tensor) {
      last = (int32_t)i;
    }
  }
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    const jlt_exit_t *e = &c->exits[k];
    const bool watched = e->output == tensor || (e->n_classes && e->logits == tensor);
    // read when that op has run: past it
    if (watched && e->last_op >= last) {
      last = e->last_op + 1;
    }
  }
  for (uint32_t i = 0; i < c->model->n_outputs; i++) {
    if (c->model->outputs[i] == tensor) {
      last = c->model->n_ops;
    }
  }
  return last;
}

static int32_t first_writer(const jlt_container_t *c, uint32_t tensor) {
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    if (c->ops[i].output == tensor) {
      return (int32_t)i;
    }
  }
  return NEVER;
}

static jlt_status_t check_offset(const jlt_container_t *c, uint32_t tensor) {
  const jlt_tensor_t *t = &c->tensors[tensor];
  const uint32_t offset = c->arena_offsets[tensor];
  if (t->flags & JLT_TENSOR_FLAG_CONST) {
    return offset == JLT_NO_OFFSET ? JLT_OK : JLT_ERR_ARENA;
  }
  if (offset == JLT_NO_OFFSET) {
    const bool used = (t->flags & JLT_TENSOR_FLAG_INPUT) || last_use(c, tensor) != NEVER;
    return used ? JLT_ERR_ARENA : JLT_OK;
  }
  const uint32_t alignment = t->dtype == JLT_DTYPE_S8 ? 1 : 4;
  if (offset % alignment || !jlt_within(offset, jlt_tensor_bytes(t), c->arena->tensor_bytes)) {
    return JLT_ERR_ARENA;
  }
  return JLT_OK;
}

static bool overlap(const jlt_container_t *c, uint32_t a, uint32_t b) {
  return jlt_ranges_overlap(c->arena_offsets[a], jlt_tensor_bytes(&c->tensors[a]), c->arena_offsets[b],
                            jlt_tensor_bytes(&c->tensors[b]));
}

// Scratch is the last bytes of the arena, where a plan part may have tensors that the op does not need. `from`: the lowest of any
// op's. Tensors above it meet the scratch of ops within their life.
static bool scratch_spoils(const jlt_container_t *c, const jlt_op_t *op, uint32_t tensor, uint32_t from) {
  const uint32_t end = c->arena_offsets[tensor] + jlt_tensor_bytes(&c->tensors[tensor]);
  return end > from && end > jlt_scratch_begin(jlt_arena_end(c, false), jlt_chosen_scratch_bytes(c, op));
}

// No tensor may be written over `tensor` from the op after `first` to its last use, and no scratch from `first` on.
static jlt_status_t check_lifetime(const jlt_container_t *c, uint32_t tensor, int32_t first, uint32_t scratch_from) {
  const int32_t last = last_use(c, tensor);
  const int32_t end = last < (int32_t)c->model->n_ops ? last : (int32_t)c->model->n_ops - 1;
  for (int32_t i = first < 0 ? 0 : first; i <= end; i++) {
    const jlt_op_t *op = &c->ops[i];
    if (scratch_spoils(c, op, tensor, scratch_from)) {
      return JLT_ERR_OVERLAP;
    }
    if (i == first || op->output == tensor || !overlap(c, op->output, tensor)) {
      continue;
    }
    if (i != last || !jlt_may_write_over(c, op, tensor)) {
      return JLT_ERR_OVERLAP;
    }
  }
  return JLT_OK;
}

// What an op reads has been written before, by an op that runs whenever this one does.
static jlt_status_t check_order(const jlt_container_t *c, uint32_t index) {
  const jlt_op_t *op = &c->ops[index];
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    const uint16_t tensor = op->inputs[i];
    if (c->tensors[tensor].flags & (JLT_TENSOR_FLAG_CONST | JLT_TENSOR_FLAG_INPUT)) {
      continue;
    }
    const int32_t writer = first_writer(c, tensor);
    if (writer == NEVER || writer >= (int32_t)index) {
      return JLT_ERR_OP;
    }
    const uint8_t owner = c->ops[writer].exit;
    if (owner != JLT_BACKBONE && owner != op->exit) {
      return JLT_ERR_OP;
    }
  }
  return JLT_OK;
}

static jlt_status_t check_answer(const jlt_container_t *c, uint16_t tensor, uint32_t exit) {
  if (c->tensors[tensor].flags & JLT_TENSOR_FLAG_INPUT) {
    return JLT_OK;
  }
  const int32_t writer = first_writer(c, tensor);
  if (writer == NEVER || writer > c->exits[exit].last_op) {
    return JLT_ERR_EXIT;
  }
  const uint8_t owner = c->ops[writer].exit;
  return owner == JLT_BACKBONE || owner == exit ? JLT_OK : JLT_ERR_EXIT;
}

static jlt_status_t check_answers(const jlt_container_t *c) {
  const uint32_t last = c->model->n_exits - 1u;
  for (uint32_t k = 0; k <= last; k++) {
    const jlt_exit_t *e = &c->exits[k];
    jlt_status_t err = check_answer(c, e->output, k);
    if (!err && e->n_classes) {
      err = check_answer(c, e->logits, k);
    }
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}

// What every op asks for is there; `from`: the lowest byte of it. Only a plan part's may lie over tensors.
static jlt_status_t check_scratch(const jlt_container_t *c, uint32_t *from) {
  const bool with_f32 = jlt_runs_f32(c);
  const bool generic = c->arena == c->f32_arena;
  const uint32_t end = jlt_arena_end(c, false);
  const uint32_t room = generic ? c->arena->scratch_bytes : end;
  *from = end;
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const jlt_op_t *op = &c->ops[i];
    const void *params = c->pool + op->params_offset;
    const uint32_t bytes = jlt_chosen_scratch_bytes(c, op);
    if (bytes > room || (with_f32 && jlt_op_scratch_bytes(op->code, params, true) > c->f32_arena->scratch_f32_bytes)) {
      return JLT_ERR_ARENA;
    }
    const uint32_t begin = jlt_scratch_begin(end, bytes);
    *from = begin < *from ? begin : *from;
  }
  return JLT_OK;
}

static jlt_status_t check_tensors(const jlt_container_t *c, uint32_t scratch_from) {
  for (uint32_t t = 0; t < c->model->n_tensors; t++) {
    const jlt_status_t err = check_offset(c, t);
    if (err) {
      return err;
    }
  }
  for (uint32_t t = 0; t < c->model->n_tensors; t++) {
    const bool is_input = (c->tensors[t].flags & JLT_TENSOR_FLAG_INPUT) != 0;
    const int32_t first = is_input ? NEVER : first_writer(c, t);
    if ((c->tensors[t].flags & JLT_TENSOR_FLAG_CONST) || (!is_input && first == NEVER)) {
      continue;
    }
    const jlt_status_t err = check_lifetime(c, t, first, scratch_from);
    if (err) {
      return err;
    }
  }
  for (uint32_t a = 0; a < c->model->n_inputs; a++) {
    for (uint32_t b = 0; b < a; b++) {
      if (overlap(c, c->model->inputs[a], c->model->inputs[b])) {
        return JLT_ERR_OVERLAP;
      }
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_check_arena(const jlt_container_t *c) {
  const jlt_arena_t *arena = c->arena;
  if (arena->n_tensors != c->model->n_tensors || arena->tensor_bytes > ARENA_LIMIT_BYTES ||
      arena->scratch_bytes > ARENA_LIMIT_BYTES || arena->scratch_f32_bytes > ARENA_LIMIT_BYTES) {
    return JLT_ERR_ARENA;
  }
  uint32_t scratch_from;
  jlt_status_t err = check_scratch(c, &scratch_from);
  if (!err) {
    err = check_tensors(c, scratch_from);
  }
  if (err) {
    return err;
  }
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    err = check_order(c, i);
    if (err) {
      return err;
    }
  }
  return check_answers(c);
}
