// SPDX-License-Identifier: Apache-2.0
#include "core/bands.h"

#include "core/bytes.h"

_Static_assert(sizeof(((jlt_band_group_t *)0)->rows) == JLT_BAND_OPS_LIMIT * sizeof(uint16_t), "rows of every op");

#define NO_ROW UINT32_MAX  // is needed

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

bool jlt_band_holds_part(const jlt_container_t *container, uint32_t tensor) {
  for (uint32_t i = 0; i < container->n_bands; i++) {
    const jlt_band_group_t *g = &container->bands[i];
    for (uint32_t member = 0; member + 1u < g->n_ops; member++) {
      if (container->ops[g->first_op + member].output == tensor) {
        return true;
      }
    }
  }
  return false;
}

uint32_t jlt_band_room(const jlt_container_t *container, uint32_t op) {
  const jlt_op_t *record = &container->ops[op];
  const jlt_band_group_t *group = jlt_band_group_of(container, op);
  jlt_band_axis_t axis;
  const bool whole = !group || op + 1u == (uint32_t)group->first_op + group->n_ops;
  if (whole || !jlt_band_axis(container, record, &axis)) {
    return jlt_tensor_bytes(&container->tensors[record->output]);
  }
  return group->rows[op - group->first_op] * axis.out_row_bytes;
}

static bool axis_of_conv(const jlt_conv_params_t *p, jlt_band_axis_t *axis) {
  *axis = (jlt_band_axis_t){
      .in_rows = p->in_h,
      .in_row_bytes = p->in_w * p->in_c,
      .out_rows = p->out_h,
      .out_row_bytes = p->out_w * p->out_c,
      .stride = p->stride_h,
      .pad = p->pad_top,
      .reach = (p->k_h - 1u) * p->dilation_h + 1u,
  };
  return p->n == 1;
}

static bool axis_of_pool(const jlt_pool_params_t *p, jlt_band_axis_t *axis) {
  *axis = (jlt_band_axis_t){
      .in_rows = p->in_h,
      .in_row_bytes = p->in_w * p->c,
      .out_rows = p->out_h,
      .out_row_bytes = p->out_w * p->c,
      .stride = p->stride_h,
      .pad = p->pad_top,
      .reach = p->k_h,
  };
  return p->n == 1;
}

// What goes element by element has the rows of its output: one image of rank 4.
static bool axis_of_elements(const jlt_tensor_t *out, jlt_band_axis_t *axis) {
  if (out->rank != 4 || out->dims[0] != 1) {
    return false;
  }
  const uint32_t row = out->dims[2] * out->dims[3];
  *axis = (jlt_band_axis_t){out->dims[1], row, out->dims[1], row, 1, 0, 1};
  return true;
}

bool jlt_band_axis(const jlt_container_t *container, const jlt_op_t *op, jlt_band_axis_t *axis) {
  const void *params = container->pool + op->params_offset;
  const jlt_binary_params_t *binary = params;
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
      if (!jlt_is_dense(binary->dims, binary->stride_a) || !jlt_is_dense(binary->dims, binary->stride_b)) {
        return false;
      }
      // fall through
    case JLT_OP_CODE_LUT:
      return axis_of_elements(&container->tensors[op->output], axis);
    default:
      return false;
  }
}

// First row of the input that output row `row` reads.
static uint32_t first_read(const jlt_band_axis_t *axis, uint32_t row) {
  const uint32_t at = row * axis->stride;
  return at > axis->pad ? at - axis->pad : 0;
}

// The row of the input behind the last that the output's rows below `end` read.
static uint32_t reads_until(const jlt_band_axis_t *axis, uint32_t end) {
  const uint32_t at = end ? (end - 1u) * axis->stride + axis->reach : 0;
  const uint32_t until = at > axis->pad ? at - axis->pad : 0;
  return until < axis->in_rows ? until : axis->in_rows;
}

static const jlt_op_t *ops_of(const jlt_band_walk_t *walk) { return walk->container->ops + walk->group->first_op; }

// The member below `before` that makes a tensor; `before` when none does.
static uint32_t maker(const jlt_band_walk_t *walk, uint32_t before, uint16_t tensor) {
  for (uint32_t i = 0; i < before; i++) {
    if (ops_of(walk)[i].output == tensor) {
      return i;
    }
  }
  return before;
}

static uint32_t begin_of(const jlt_band_walk_t *walk, uint32_t member) {
  const uint32_t end = walk->end[member];
  return walk->keep[member] > end ? walk->keep[member] : end;
}

// What the next band needs of each member, from the last to the first; false when there is no next band.
static bool plan_band(jlt_band_walk_t *walk) {
  const uint32_t last = walk->group->n_ops - 1u;
  for (uint32_t i = 0; i <= last; i++) {
    walk->to[i] = 0;
    walk->keep[i] = NO_ROW;
  }
  walk->keep[last] = walk->end[last];
  for (uint32_t i = last + 1u; i-- > 0;) {
    const jlt_op_t *op = &ops_of(walk)[i];
    jlt_band_axis_t axis;
    (void)jlt_band_axis(walk->container, op, &axis);
    if (i == last) {
      const uint32_t left = axis.out_rows - walk->end[last];
      if (left == 0) {
        return false;
      }
      walk->to[last] = walk->end[last] + (walk->group->rows[last] < left ? walk->group->rows[last] : left);
    }
    const uint32_t begin = begin_of(walk, i);
    const uint32_t low = begin < axis.out_rows ? first_read(&axis, begin) : NO_ROW;
    const uint32_t high = reads_until(&axis, walk->to[i]);
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
  return (jlt_band_walk_t){.container = container, .group = group, .member = group->n_ops};
}

// The call that brings a member up to what the band needs of it.
static void advance(jlt_band_walk_t *walk, uint32_t member, jlt_band_call_t *call) {
  const bool inner = member + 1u < walk->group->n_ops;
  *call = (jlt_band_call_t){.op = &ops_of(walk)[member], .from = begin_of(walk, member), .to = walk->to[member]};
  (void)jlt_band_axis(walk->container, call->op, &call->axis);
  call->in_from = first_read(&call->axis, call->from);
  call->in_to = reads_until(&call->axis, call->to);
  if (inner) {
    const uint32_t keep = walk->keep[member];
    call->kept = keep < walk->end[member] ? walk->end[member] - keep : 0;
    call->dropped = keep - walk->base[member];
    walk->base[member] = keep;
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

const void *jlt_band_params(const jlt_container_t *container, const jlt_band_call_t *call, jlt_band_params_t *room) {
  const void *params = container->pool + call->op->params_offset;
  const uint32_t above = call->from * call->axis.stride;
  const uint16_t pad = (uint16_t)(above < call->axis.pad ? call->axis.pad - above : 0);
  const uint32_t rows = call->to - call->from;
  switch (call->op->code) {
    case JLT_OP_CODE_CONV:
    case JLT_OP_CODE_DWCONV:
      room->conv = *(const jlt_conv_params_t *)params;
      room->conv.in_h = call->in_to - call->in_from;
      room->conv.out_h = rows;
      room->conv.pad_top = pad;
      return room;
    case JLT_OP_CODE_AVGPOOL:
    case JLT_OP_CODE_MAXPOOL:
      room->pool = *(const jlt_pool_params_t *)params;
      room->pool.in_h = call->in_to - call->in_from;
      room->pool.out_h = rows;
      room->pool.pad_top = pad;
      return room;
    case JLT_OP_CODE_LUT:
      return params;
    default:
      room->binary = *(const jlt_binary_params_t *)params;
      for (uint32_t d = 0; d < JLT_MAX_RANK; d++) {
        room->binary.dims[d] = 1;
      }
      room->binary.dims[JLT_MAX_RANK - 1u] = rows * call->axis.out_row_bytes;
      room->binary.stride_a[JLT_MAX_RANK - 1u] = 1;
      room->binary.stride_b[JLT_MAX_RANK - 1u] = 1;
      return room;
  }
}

bool jlt_band_may_write_over(const jlt_container_t *container, const jlt_band_group_t *group, uint32_t tensor) {
  const jlt_op_t *last = &container->ops[group->first_op + group->n_ops - 1u];
  const uint64_t output = container->arena_offsets[last->output];
  const uint64_t input = container->arena_offsets[tensor];
  jlt_band_walk_t walk = jlt_band_start(container, group);
  jlt_band_call_t call;
  uint64_t written = 0;  // bytes of the output
  bool reads = false;
  while (jlt_band_next(&walk, &call)) {
    for (uint32_t k = 0; k < call.op->n_inputs; k++) {
      if (call.op->inputs[k] != tensor) {
        continue;
      }
      // the last op reads from outside of the group element by element only: what it is about to write lies there or below
      if (input + (uint64_t)call.in_from * call.axis.in_row_bytes < output + written) {
        return false;
      }
      reads = true;
    }
    if (call.op == last) {
      written = (uint64_t)call.to * call.axis.out_row_bytes;
    }
  }
  return reads;
}
