// SPDX-License-Identifier: Apache-2.0
// Checks of the plan in use, the generic one or a part's: offsets, lifetimes, order of writing and reading, scratch; FORMAT.md §6.
#include "core/arena.h"
#include "core/bands.h"
#include "core/check.h"
#include "core/overlap.h"
#include "kernels/variants.h"

#define ARENA_LIMIT_BYTES (1u << 29)  // times four at f32 still fits 32 bits

enum { NEVER = -1 };

static bool reads(const jlt_op_t *op, uint32_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

int32_t jlt_last_use(const jlt_container_t *c, uint32_t tensor) {
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

int32_t jlt_first_writer(const jlt_container_t *c, uint32_t tensor) {
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    if (c->ops[i].output == tensor) {
      return (int32_t)i;
    }
  }
  return NEVER;
}

// What the arena has of a tensor that op `writer` writes first.
static uint32_t room_of(const jlt_container_t *c, uint32_t tensor, int32_t writer) {
  return !JLT_BANDS || writer == NEVER ? jlt_tensor_bytes(&c->tensors[tensor]) : jlt_band_room(c, (uint32_t)writer);
}

static jlt_status_t check_offset(const jlt_container_t *c, uint32_t tensor) {
  const jlt_tensor_t *t = &c->tensors[tensor];
  const uint32_t offset = c->arena_offsets[tensor];
  if (t->flags & JLT_TENSOR_FLAG_CONST) {
    return offset == JLT_NO_OFFSET ? JLT_OK : JLT_ERR_ARENA;
  }
  if (offset == JLT_NO_OFFSET) {
    const bool used = (t->flags & JLT_TENSOR_FLAG_INPUT) || jlt_last_use(c, tensor) != NEVER;
    return used ? JLT_ERR_ARENA : JLT_OK;
  }
  const uint32_t alignment = t->dtype == JLT_DTYPE_S8 ? 1 : 4;
  if (offset % alignment || !jlt_within(offset, room_of(c, tensor, jlt_first_writer(c, tensor)), c->arena->tensor_bytes)) {
    return JLT_ERR_ARENA;
  }
  return JLT_OK;
}

// A tensor in the arena: who writes it first, who uses it last, and its bytes there.
typedef struct {
  uint32_t tensor;
  int32_t first;
  int32_t last;
  uint32_t offset;
  uint32_t bytes;
} life_t;

// Scratch is the last bytes of the arena, where a plan part may have tensors that the op does not need. `from`: the lowest of any
// op's. Tensors above it meet the scratch of ops within their life.
static bool scratch_spoils(const jlt_container_t *c, const jlt_op_t *op, const life_t *life, uint32_t from) {
  const uint32_t end = life->offset + life->bytes;
  return end > from && end > jlt_scratch_begin(jlt_arena_end(c, false), jlt_chosen_scratch_bytes(c, op));
}

static bool is_overlapped(const jlt_container_t *c, uint32_t op, const life_t *life) {
  const uint32_t output = c->ops[op].output;
  return output != life->tensor &&
         jlt_ranges_overlap(c->arena_offsets[output], jlt_band_room(c, op), life->offset, life->bytes);
}

// A group writes over what no op after it reads, and only with its last op.
static bool may_overlap(const jlt_container_t *c, uint32_t op, const life_t *life) {
  const jlt_band_group_t *group = jlt_band_group_of(c, op);
  if (!group) {
    return (int32_t)op == life->last && jlt_may_write_over(c, &c->ops[op], life->tensor);
  }
  const int32_t first = group->first_op;
  const int32_t last = first + group->n_ops - 1;
  return (int32_t)op == last && life->first < first && life->last <= last && jlt_band_may_write_over(c, group, life->tensor);
}

// No tensor may be written over another from the op after its first to its last use, and no scratch from its first on. What a group
// uses lives throughout the group.
static jlt_status_t check_lifetime(const jlt_container_t *c, const life_t *life, uint32_t scratch_from) {
  // NEVER is in no group, and one more than it is 0
  const jlt_band_group_t *group = jlt_band_group_of(c, (uint32_t)life->first);
  const uint32_t first = group ? group->first_op : life->first == NEVER ? 0 : (uint32_t)life->first;
  const uint32_t end = jlt_band_last(c, (uint32_t)life->last) + 1u;
  for (uint32_t i = first; i < end && i < c->model->n_ops; i++) {
    if (scratch_spoils(c, &c->ops[i], life, scratch_from) || (is_overlapped(c, i, life) && !may_overlap(c, i, life))) {
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
    const int32_t writer = jlt_first_writer(c, tensor);
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
  const int32_t writer = jlt_first_writer(c, tensor);
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

// Bytes of the arena's beginning that may lie in another memory than the rest.
static uint32_t slow_bytes_of(const jlt_container_t *c) {
#if JLT_TWO_MEMORIES
  return c->slow_bytes;
#else
  (void)c;
  return 0;
#endif
}

static bool inputs_overlap(const jlt_container_t *c, uint32_t a, uint32_t b) {
  return jlt_ranges_overlap(c->arena_offsets[a], jlt_tensor_bytes(&c->tensors[a]), c->arena_offsets[b],
                            jlt_tensor_bytes(&c->tensors[b]));
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
    const int32_t first = is_input ? NEVER : jlt_first_writer(c, t);
    if ((c->tensors[t].flags & JLT_TENSOR_FLAG_CONST) || (!is_input && first == NEVER)) {
      continue;
    }
    const life_t life = {t, first, jlt_last_use(c, t), c->arena_offsets[t], room_of(c, t, first)};
    if (!jlt_in_one_memory(slow_bytes_of(c), life.offset, life.bytes)) {
      return JLT_ERR_MEMORIES;
    }
    const jlt_status_t err = check_lifetime(c, &life, scratch_from);
    if (err) {
      return err;
    }
  }
  for (uint32_t a = 0; a < c->model->n_inputs; a++) {
    for (uint32_t b = 0; b < a; b++) {
      if (inputs_overlap(c, c->model->inputs[a], c->model->inputs[b])) {
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
  // all scratch lies in the fast memory
  if (!err && (slow_bytes_of(c) % JLT_ARENA_ALIGN_BYTES || slow_bytes_of(c) > scratch_from)) {
    err = JLT_ERR_MEMORIES;
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
