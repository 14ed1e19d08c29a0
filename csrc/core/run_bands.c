// SPDX-License-Identifier: Apache-2.0
// The engine inside a band group: each call of a kernel that a walk asks for.
#include <string.h>

#include "core/bands.h"
#include "core/call.h"

#if JLT_BANDS
// Parameters of one call. Ops that go element by element look at the output's elements only.
typedef union {
  jlt_conv_params_t conv;
  jlt_pool_params_t pool;
} params_t;

static void shrink(const jlt_band_call_t *rows, jlt_call_t *call, params_t *room) {
  const uint32_t above = (uint32_t)rows->from * rows->axis.stride;
  uint32_t *in_h, *out_h;
  uint16_t *pad;
  if (rows->op->weight != JLT_NO_INDEX) {
    room->conv = *(const jlt_conv_params_t *)call->params;
    in_h = &room->conv.in_h;
    out_h = &room->conv.out_h;
    pad = &room->conv.pad_top;
  } else if (rows->op->code == JLT_OP_CODE_AVGPOOL || rows->op->code == JLT_OP_CODE_MAXPOOL) {
    room->pool = *(const jlt_pool_params_t *)call->params;
    in_h = &room->pool.in_h;
    out_h = &room->pool.out_h;
    pad = &room->pool.pad_top;
  } else {
    return;
  }
  *in_h = (uint32_t)rows->in_to - rows->in_from;
  *out_h = (uint32_t)rows->to - rows->from;
  *pad = (uint16_t)(above < rows->axis.pad ? rows->axis.pad - above : 0);
  call->params = room;
}

static JLT_NO_INLINE void run_rows(const jlt_engine_t *e, const jlt_band_call_t *rows) {
  const jlt_op_t *op = rows->op;
  const uint32_t row_bytes = rows->axis.out_row_bytes;
  params_t params;
  jlt_call_t call;
  const jlt_kernel_t run = jlt_call_prepare(e, op, &call);
  jlt_tensor_t out = *call.out_tensor;
  uint8_t *memory = call.out;
  if (rows->dropped) {
    memmove(memory, memory + rows->dropped * row_bytes, rows->kept * row_bytes);
  }
  out.elements = (uint32_t)(rows->to - rows->from) * row_bytes;
  call.out = memory + (uint32_t)(rows->from - rows->base) * row_bytes;
  call.out_tensor = &out;
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    call.in[i] = (const uint8_t *)call.in[i] + (uint32_t)(rows->in_from - rows->in_base[i]) * rows->axis.in_row_bytes;
  }
  shrink(rows, &call, &params);
  const uint32_t each = jlt_kernel_entry(op->code)->unit_elements(call.params, &out);
  call.end = (out.elements + each - 1u) / each;
  run(&call);
}

void jlt_bands_run(const jlt_engine_t *engine, uint32_t first_op) {
  const jlt_container_t *c = engine->container;
  jlt_band_walk_t walk = jlt_band_start(c, jlt_band_group_of(c, first_op));
  jlt_band_call_t rows;
  while (jlt_band_next(&walk, &rows)) {
    run_rows(engine, &rows);
  }
}
#endif
