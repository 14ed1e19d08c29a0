// SPDX-License-Identifier: Apache-2.0
// Checks of band groups: that members go by rows, that nobody else reads what is between them, and every call of the walk that the
// engine will take, with its rows in their memory; FORMAT.md §6. Offsets are checked in check_arena.c.
#include "core/bands.h"
#include "kernels/variants.h"

enum { ROWS_LIMIT = 1 << 14 };  // of any member, lest a small container take long to check

typedef struct {
  const jlt_container_t *c;
  const jlt_band_group_t *group;
  const jlt_op_t *ops;  // its first
} group_t;

static bool is_member(const group_t *g, uint32_t op) { return op - g->group->first_op < g->group->n_ops; }

static bool reads(const jlt_op_t *op, uint32_t tensor) {
  return (op->n_inputs > 0 && op->inputs[0] == tensor) || (op->n_inputs > 1 && op->inputs[1] == tensor);
}

// A tensor between members: one writes it, later ones alone read it, and nobody watches it.
static bool is_inner(const group_t *g, uint32_t member) {
  const uint32_t tensor = g->ops[member].output;
  const jlt_model_t *model = g->c->model;
  const uint32_t writer = g->group->first_op + member;
  if (g->c->tensors[tensor].dtype != JLT_DTYPE_S8) {
    return false;
  }
  bool is_read = false;
  for (uint32_t i = 0; i < model->n_ops; i++) {
    const jlt_op_t *op = &g->c->ops[i];
    if ((op->output == tensor && i != writer) || (reads(op, tensor) && (!is_member(g, i) || i <= writer))) {
      return false;
    }
    is_read = is_read || reads(op, tensor);
  }
  for (uint32_t k = 0; k < model->n_exits; k++) {
    const jlt_exit_t *e = &g->c->exits[k];
    is_read = is_read && e->output != tensor && !(e->n_classes && e->logits == tensor);
  }
  for (uint32_t i = 0; i < model->n_outputs; i++) {
    is_read = is_read && model->outputs[i] != tensor;
  }
  return is_read;
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

static bool is_sound_member(const group_t *g, uint32_t member) {
  const jlt_op_t *op = &g->ops[member];
  jlt_band_axis_t axis;
  bool follows = member == 0;
  if (!jlt_band_axis(g->c, op, &axis) || axis.in_rows > ROWS_LIMIT || axis.out_rows > ROWS_LIMIT ||
      g->group->rows[member] == 0 || g->group->rows[member] > axis.out_rows || op->exit != g->ops[0].exit || op->segment != g->ops[0].segment ||
      reads(op, g->ops[g->group->n_ops - 1u].output) || reads(op, op->output) || !rows_meet(g, member, &axis, &follows) || !follows) {
    return false;
  }
  return member + 1u == g->group->n_ops || is_inner(g, member);
}

// The kernel that packed the weights for the whole op runs its parts too, in the same scratch. One pixel is laid out otherwise.
static bool runs_in_parts(const jlt_container_t *c, const jlt_op_t *op, const void *local) {
  const void *params = c->pool + op->params_offset;
  const jlt_weight_t *weight = op->weight == JLT_NO_INDEX ? NULL : &c->weights[op->weight];
  const jlt_variant_t *v = jlt_variant_of(c->isa, op->code, params, weight);
  const jlt_conv_params_t *conv = local;
  if (weight && conv->out_h * conv->out_w < 2u) {
    return false;
  }
  if (v != jlt_variant_of(c->isa, op->code, local, weight) ||
      (v && weight && v->scratch_bytes(local, weight) > v->scratch_bytes(params, weight))) {
    return false;
  }
  return jlt_op_scratch_bytes(op->code, local, false) <= jlt_op_scratch_bytes(op->code, params, false);
}

static bool is_sound_walk(const group_t *g) {
  jlt_band_walk_t walk = jlt_band_start(g->c, g->group);
  jlt_band_call_t call;
  jlt_band_params_t room;
  while (jlt_band_next(&walk, &call)) {
    const uint32_t member = (uint32_t)(call.op - g->ops);
    const bool whole = member + 1u == g->group->n_ops;
    if (call.in_from >= call.in_to || (!whole && call.to - call.base > g->group->rows[member]) ||
        !runs_in_parts(g->c, call.op, jlt_band_params(g->c, &call, &room))) {
      return false;
    }
  }
  return true;
}

static bool is_sound(const group_t *g) {
  const uint32_t first = g->group->first_op;
  const uint32_t last = first + g->group->n_ops - 1u;
  for (uint32_t k = 0; k < g->c->model->n_exits; k++) {
    if (g->c->exits[k].last_op >= first && g->c->exits[k].last_op < last) {
      return false;
    }
  }
  for (uint32_t i = 0; i < g->group->n_ops; i++) {
    if (!is_sound_member(g, i)) {
      return false;
    }
  }
  return is_sound_walk(g);
}

jlt_status_t jlt_check_bands(const jlt_container_t *c) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < c->n_bands; i++) {
    const jlt_band_group_t *b = &c->bands[i];
    const group_t g = {c, b, c->ops + b->first_op};
    if (b->first_op < next || b->n_ops < 2u || b->n_ops > JLT_BAND_OPS_LIMIT ||
        (uint32_t)b->first_op + b->n_ops > c->model->n_ops || !is_sound(&g)) {
      return JLT_ERR_BANDS;
    }
    next = (uint32_t)b->first_op + b->n_ops;
  }
  return JLT_OK;
}
