// SPDX-License-Identifier: Apache-2.0
#include "core/bands.h"

#if JLT_BANDS
_Static_assert(sizeof(((jlt_band_group_t *)0)->rows) == JLT_BAND_OPS_LIMIT * sizeof(uint16_t), "rows of every op");

enum { ROWS_LIMIT = 1 << 14 };  // lest a small container take long to check

const jlt_band_group_t *jlt_band_group_of(const jlt_container_t *container, uint32_t op) {
  uint32_t low = 0;
  uint32_t high = container->n_bands;
  while (low < high) {
    const uint32_t middle = (low + high) / 2u;
    const jlt_band_group_t *g = &container->bands[middle];
    if (op < g->first_op) {
      high = middle;
    } else if (op - g->first_op >= g->n_ops) {
      low = middle + 1u;
    } else {
      return g;
    }
  }
  return NULL;
}

uint32_t jlt_band_last(const jlt_container_t *container, uint32_t op) {
  const jlt_band_group_t *group = jlt_band_group_of(container, op);
  return group ? group->first_op + group->n_ops - 1u : op;
}

uint32_t jlt_band_room(const jlt_container_t *container, uint32_t op) {
  const jlt_op_t *record = &container->ops[op];
  jlt_band_axis_t axis;
  if (jlt_band_last(container, op) == op || !jlt_band_axis(container, record, &axis)) {
    return jlt_tensor_bytes(&container->tensors[record->output]);
  }
  const jlt_band_group_t *group = jlt_band_group_of(container, op);
  return group->rows[op - group->first_op] * axis.out_row_bytes;
}

static bool set_rows(jlt_band_axis_t *axis, uint32_t images, uint32_t in_rows, uint32_t out_rows) {
  axis->in_rows = (uint16_t)in_rows;
  axis->out_rows = (uint16_t)out_rows;
  return images == 1 && in_rows <= ROWS_LIMIT && out_rows <= ROWS_LIMIT;
}

static bool axis_of_conv(const jlt_conv_params_t *p, jlt_band_axis_t *axis) {
  axis->in_row_bytes = p->in_w * p->in_c;
  axis->stride = p->stride_h;
  axis->pad = p->pad_top;
  axis->reach = (p->k_h - 1u) * p->dilation_h + 1u;
  return set_rows(axis, p->n, p->in_h, p->out_h);
}

static bool axis_of_pool(const jlt_pool_params_t *p, jlt_band_axis_t *axis) {
  axis->in_row_bytes = p->in_w * p->c;
  axis->stride = p->stride_h;
  axis->pad = p->pad_top;
  axis->reach = p->k_h;
  return set_rows(axis, p->n, p->in_h, p->out_h);
}

// What goes element by element has the rows of its output, of rank 4. An operand may have more elements, which are not read.
static bool axis_of_elements(const jlt_tensor_t *out, jlt_band_axis_t *axis) {
  axis->in_row_bytes = out->dims[2] * out->dims[3];
  axis->stride = 1;
  axis->reach = 1;
  return out->rank == 4 && set_rows(axis, out->dims[0], out->dims[1], out->dims[1]);
}

static bool rows_of(const jlt_container_t *c, const jlt_op_t *op, jlt_band_axis_t *axis) {
  const void *params = c->pool + op->params_offset;
  switch (op->code) {
    case JLT_OP_CODE_CONV:
    case JLT_OP_CODE_DWCONV:
      return axis_of_conv(params, axis);
    case JLT_OP_CODE_AVGPOOL:
    case JLT_OP_CODE_MAXPOOL:
      return axis_of_pool(params, axis);
    case JLT_OP_CODE_ADD:
    case JLT_OP_CODE_SUB:
    case JLT_OP_CODE_MUL:
    case JLT_OP_CODE_LUT:
      return axis_of_elements(&c->tensors[op->output], axis);
    default:
      return false;
  }
}

bool jlt_band_axis(const jlt_container_t *container, const jlt_op_t *op, jlt_band_axis_t *axis) {
  *axis = (jlt_band_axis_t){0};
  if (!rows_of(container, op, axis)) {
    return false;
  }
  axis->out_row_bytes = container->tensors[op->output].elements / axis->out_rows;
  return true;
}

// First row of the input that output row `row` reads.
static uint16_t first_read(const jlt_band_axis_t *axis, uint32_t row) {
  const uint32_t at = row * axis->stride;
  const uint32_t from = at > axis->pad ? at - axis->pad : 0;
  return (uint16_t)(from < axis->in_rows ? from : axis->in_rows);
}

// The row of the input behind the last that the output's rows below `end` read.
static uint16_t reads_until(const jlt_band_axis_t *axis, uint32_t end) {
  const uint32_t at = end ? (end - 1u) * axis->stride + axis->reach : 0;
  const uint32_t until = at > axis->pad ? at - axis->pad : 0;
  return (uint16_t)(until < axis->in_rows ? until : axis->in_rows);
}

// The member below `before` that makes a tensor; `before` when none does.
static uint32_t maker(const jlt_band_walk_t *walk, uint32_t before, uint16_t tensor) {
  for (uint32_t i = 0; i < before; i++) {
    if (walk->ops[i].output == tensor) {
      return i;
    }
  }
  return before;
}

// What the next band needs of each member, from the last to the first; false when there is no next band.
static bool plan_band(jlt_band_walk_t *walk) {
  const uint32_t last = walk->group->n_ops - 1u;
  for (uint32_t i = 0; i <= last; i++) {
    walk->to[i] = 0;
    walk->keep[i] = walk->end[i];
  }
  for (uint32_t i = last + 1u; i-- > 0;) {
    const jlt_op_t *op = &walk->ops[i];
    jlt_band_axis_t axis;
    (void)jlt_band_axis(walk->container, op, &axis);
    if (i == last) {
      const uint32_t to = (uint32_t)walk->end[last] + walk->group->rows[last];
      if (walk->end[last] >= axis.out_rows) {
        return false;
      }
      walk->to[last] = (uint16_t)(to < axis.out_rows ? to : axis.out_rows);
    }
    const uint16_t low = first_read(&axis, walk->end[i]);
    const uint16_t high = reads_until(&axis, walk->to[i]);
    for (uint32_t k = 0; k < op->n_inputs; k++) {
      const uint32_t from = maker(walk, i, op->inputs[k]);
      if (from < i) {
        walk->keep[from] = low < walk->keep[from] ? low : walk->keep[from];
        walk->to[from] = high > walk->to[from] ? high : walk->to[from];
      }
    }
  }
  return true;
}

jlt_band_walk_t jlt_band_start(const jlt_container_t *container, const jlt_band_group_t *group) {
  return (jlt_band_walk_t){
      .container = container, .group = group, .ops = container->ops + group->first_op, .member = group->n_ops};
}

// The call that brings a member up to what the band needs of it.
static void advance(jlt_band_walk_t *walk, uint32_t member, jlt_band_call_t *call) {
  const uint16_t end = walk->end[member];
  *call = (jlt_band_call_t){.op = &walk->ops[member], .from = end, .to = walk->to[member]};
  (void)jlt_band_axis(walk->container, call->op, &call->axis);
  call->in_from = first_read(&call->axis, end);
  call->in_to = reads_until(&call->axis, call->to);
  if (member + 1u < walk->group->n_ops) {
    call->kept = (uint16_t)(end - walk->keep[member]);
    call->dropped = (uint16_t)(walk->keep[member] - walk->base[member]);
    walk->base[member] = walk->keep[member];
  }
  call->base = walk->base[member];
  for (uint32_t k = 0; k < call->op->n_inputs; k++) {
    const uint32_t from = maker(walk, member, call->op->inputs[k]);
    call->in_base[k] = from < member ? walk->base[from] : 0;
  }
  walk->end[member] = call->to;
}

bool jlt_band_next(jlt_band_walk_t *walk, jlt_band_call_t *call) {
  for (;;) {
    if (walk->member == walk->group->n_ops) {
      if (!plan_band(walk)) {
        return false;
      }
      walk->member = 0;
    }
    const uint32_t member = walk->member++;
    if (walk->to[member] > walk->end[member]) {
      advance(walk, member, call);
      return true;
    }
  }
}

bool jlt_band_may_write_over(const jlt_container_t *container, const jlt_band_group_t *group, uint32_t tensor) {
  const jlt_op_t *last = &container->ops[group->first_op + group->n_ops - 1u];
  // offsets of checked tensors are below 2^29, and tensors have at most 2^28 elements
  const uint32_t output = container->arena_offsets[last->output];
  const uint32_t input = container->arena_offsets[tensor];
  jlt_band_walk_t walk = jlt_band_start(container, group);
  jlt_band_call_t call;
  uint32_t written = 0;  // bytes of the output
  bool reads = false;
  while (jlt_band_next(&walk, &call)) {
    for (uint32_t k = 0; k < call.op->n_inputs; k++) {
      if (call.op->inputs[k] != tensor) {
        continue;
      }
      // the last op reads from outside of the group element by element only: what it is about to write lies there or below
      if (input + call.in_from * call.axis.in_row_bytes < output + written) {
        return false;
      }
      reads = true;
    }
    if (call.op == last) {
      written = call.to * call.axis.out_row_bytes;
    }
  }
  return reads;
}
#endif
