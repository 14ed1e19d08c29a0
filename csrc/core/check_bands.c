// SPDX-License-Identifier: Apache-2.0
// Checks of band groups: that members go by rows, that nobody else reads what is between them, and every call of the walk that the
// engine will take, with its rows in their memory; FORMAT.md §6. Offsets are checked in check_arena.c.
#include "core/bands.h"
#include "core/check.h"
#include "core/overlap.h"

#if JLT_BANDS
typedef struct {
  const jlt_container_t *c;
  const jlt_band_group_t *group;
  const jlt_op_t *ops;  // its first
} group_t;

static bool reads(const jlt_op_t *op, uint32_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

static uint32_t last_of(const group_t *g) { return g->group->first_op + g->group->n_ops - 1u; }

// A tensor between members: one writes it, and its last use is in the group. That readers come after their writer has been checked.
static bool is_inner(const group_t *g, uint32_t member) {
  const uint32_t tensor = g->ops[member].output;
  const int32_t writer = (int32_t)(g->group->first_op + member);
  const int32_t last = jlt_last_use(g->c, tensor);
  for (uint32_t i = 0; i < member; i++) {
    if (g->ops[i].output == tensor) {
      return false;
    }
  }
  return g->c->tensors[tensor].dtype == JLT_DTYPE_S8 && jlt_first_writer(g->c, tensor) == writer && last > writer &&
         last <= (int32_t)last_of(g);
}

// Rows of an input are those of the member that makes it.
static bool rows_meet(const group_t *g, uint32_t member, const jlt_band_axis_t *axis, bool *follows) {
  const jlt_op_t *op = &g->ops[member];
  for (uint32_t k = 0; k < op->n_inputs; k++) {
    for (uint32_t i = 0; i < member; i++) {
      jlt_band_axis_t made;
      if (g->ops[i].output != op->inputs[k]) {
        continue;
      }
      if (!jlt_band_axis(g->c, &g->ops[i], &made) || made.out_rows != axis->in_rows ||
          made.out_row_bytes != axis->in_row_bytes) {
        return false;
      }
      *follows = true;
    }
  }
  return true;
}

// Operands have the output's own shape.
static bool is_broadcast(const group_t *g, const jlt_op_t *op) {
  return op->n_inputs == 2 && (jlt_overlap_of(g->c, op, 0).distance == JLT_OVERLAP_NEVER ||
                               jlt_overlap_of(g->c, op, 1).distance == JLT_OVERLAP_NEVER);
}

static bool is_sound_member(const group_t *g, uint32_t member) {
  const jlt_op_t *op = &g->ops[member];
  jlt_band_axis_t axis;
  bool follows = member == 0;
  if (!jlt_band_axis(g->c, op, &axis) || is_broadcast(g, op) || g->group->rows[member] == 0 ||
      g->group->rows[member] > axis.out_rows || op->exit != g->ops[0].exit || op->segment != g->ops[0].segment ||
      reads(op, g->c->ops[last_of(g)].output) || !rows_meet(g, member, &axis, &follows) || !follows) {
    return false;
  }
  return g->group->first_op + member == last_of(g) || is_inner(g, member);
}

// One pixel is laid out otherwise than several, in packed weights and in units; else kernels do not care how many rows there are
// (kernels/variants.h).
static bool has_pixels(const group_t *g, const jlt_band_call_t *call) {
  const jlt_conv_params_t *p = (const void *)(g->c->pool + call->op->params_offset);
  return call->op->weight == JLT_NO_INDEX || (call->to - call->from) * p->out_w > 1u;
}

static bool is_sound_walk(const group_t *g) {
  jlt_band_walk_t walk = jlt_band_start(g->c, g->group);
  jlt_band_call_t call;
  while (jlt_band_next(&walk, &call)) {
    const uint32_t member = (uint32_t)(call.op - g->ops);
    const bool whole = member + 1u == g->group->n_ops;
    if (call.in_from >= call.in_to || (!whole && call.to - call.base > g->group->rows[member]) ||
        !has_pixels(g, &call)) {
      return false;
    }
  }
  return true;
}

static bool is_sound(const jlt_container_t *c, const jlt_band_group_t *group) {
  const group_t g = {c, group, c->ops + group->first_op};
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    if (c->exits[k].last_op >= group->first_op && c->exits[k].last_op < last_of(&g)) {
      return false;
    }
  }
  for (uint32_t i = 0; i < group->n_ops; i++) {
    if (!is_sound_member(&g, i)) {
      return false;
    }
  }
  return is_sound_walk(&g);
}

jlt_status_t jlt_check_bands(const jlt_container_t *c) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < c->n_bands; i++) {
    const jlt_band_group_t *b = &c->bands[i];
    if (b->first_op < next || b->n_ops < 2u || b->n_ops > JLT_BAND_OPS_LIMIT ||
        (uint32_t)b->first_op + b->n_ops > c->model->n_ops || !is_sound(c, b)) {
      return JLT_ERR_BANDS;
    }
    next = (uint32_t)b->first_op + b->n_ops;
  }
  return JLT_OK;
}
#endif
