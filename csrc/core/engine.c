// SPDX-License-Identifier: Apache-2.0
// The stepping engine: one op, or a tile of one, a call along one path of a checked container. DESIGN.md, "Engine".
#include <string.h>

#include "core/arena.h"
#include "core/bands.h"
#include "core/call.h"
#include "core/confidence.h"
#include "core/head.h"
#include "core/kept_calls.h"
#include "core/quantise.h"
#include "core/weights.h"
#include "kernels/selection.h"
#include "kernels/variants.h"

static bool path_is_f32(const jlt_container_t *c, uint16_t path) {
  return c->precisions[c->paths[path].precisions[0]].is_f32 != 0;
}

uint32_t jlt_arena_bytes(const jlt_container_t *container, uint16_t path) {
  if (!container || path >= container->model->n_paths) {
    return 0;
  }
  return jlt_arena_end(container, path_is_f32(container, path));
}

static const jlt_layer_t *layer_of(const jlt_container_t *c, uint16_t path, const jlt_op_t *op) {
  const uint32_t precision = c->paths[path].precisions[op->segment];
  return &c->layers[precision * c->model->n_weights + op->weight];
}

static bool needs_low_plane(const jlt_container_t *c, uint16_t path) {
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    const jlt_op_t *op = &c->ops[i];
    if (op->weight != JLT_NO_INDEX && c->weights[op->weight].storage == JLT_STORAGE_NESTED &&
        layer_of(c, path, op)->bits == 8) {
      return true;
    }
  }
  return false;
}

// A build without f32 refuses such paths at their start.
static bool runs_f32(const jlt_engine_t *e) { return JLT_WITH_F32 && e->is_f32; }

static uint8_t *tensor_at(const jlt_engine_t *e, uint16_t tensor) {
  const jlt_container_t *c = e->container;
  return runs_f32(e) ? jlt_arena_at(e, (size_t)c->f32_offsets[tensor] * 4u) : jlt_tensor_at(e, tensor);
}

static bool holds_f32(const jlt_engine_t *e, const jlt_tensor_t *tensor) {
  return runs_f32(e) && tensor->dtype == JLT_DTYPE_S8 && !(tensor->flags & JLT_TENSOR_FLAG_CONST);
}

jlt_status_t jlt_engine_init(jlt_engine_t *engine, const jlt_container_t *container, void *arena,
                             uint32_t arena_bytes) {
  if (!engine || !container || !arena) {
    return JLT_ERR_ARGUMENT;
  }
  if ((uintptr_t)arena % JLT_ARENA_ALIGN_BYTES) {
    return JLT_ERR_ALIGNMENT;
  }
  *engine = (jlt_engine_t){.container = container, .arena = arena, .arena_bytes = arena_bytes};
  return JLT_OK;
}

#if JLT_TWO_MEMORIES
jlt_status_t jlt_engine_init_two(jlt_engine_t *engine, const jlt_container_t *container, void *fast, uint32_t fast_bytes,
                                 void *slow, uint32_t slow_bytes) {
  const jlt_status_t err = jlt_engine_init(engine, container, fast, fast_bytes);
  if (err) {
    return err;
  }
  const uint32_t border = container->slow_bytes;
  if ((uintptr_t)slow % JLT_ARENA_ALIGN_BYTES || slow_bytes < border) {
    return JLT_ERR_ARGUMENT;
  }
  engine->slow = slow;
  engine->slow_bytes = border;
  engine->arena_bytes = fast_bytes + border;
  return JLT_OK;
}

#endif

jlt_status_t jlt_engine_start(jlt_engine_t *engine, uint16_t path) {
  const jlt_container_t *c = engine->container;
  const uint32_t needed_bytes = jlt_arena_bytes(c, path);
  if (needed_bytes == 0 || engine->arena_bytes < needed_bytes ||
      (JLT_WITH_F32 && jlt_slow_bytes(engine) > 0 && path_is_f32(c, path))) {
    return JLT_ERR_ARGUMENT;
  }
  if ((!c->plane_low && needs_low_plane(c, path)) || (!JLT_WITH_F32 && path_is_f32(c, path))) {
    return JLT_ERR_ABSENT;
  }
  engine->is_f32 = path_is_f32(c, path);
  engine->scratch_end = needed_bytes;
  engine->macs = 0;
  engine->ops_run = 0;
  engine->unit = 0;
  engine->tile_begin = 0;
  engine->tile_end = 0;
  engine->tile_op = 0;
  engine->path = path;
  engine->next_op = 0;
  engine->segment = 0;
  engine->started = true;
  engine->entered = false;
  return JLT_OK;
}

jlt_status_t jlt_engine_write(jlt_engine_t *engine, uint16_t input, const void *from, uint32_t bytes) {
  const jlt_container_t *c = engine->container;
  if (!engine->started || engine->entered) {
    return JLT_ERR_STATE;
  }
  if (input >= c->model->n_inputs || !from) {
    return JLT_ERR_ARGUMENT;
  }
  const uint16_t tensor = c->model->inputs[input];
  const jlt_tensor_t *t = &c->tensors[tensor];
  if (bytes != jlt_tensor_bytes(t)) {
    return JLT_ERR_ARGUMENT;
  }
  if (!holds_f32(engine, t)) {
    memcpy(tensor_at(engine, tensor), from, bytes);
    return JLT_OK;
  }
  float *to = (float *)(void *)tensor_at(engine, tensor);
  for (uint32_t i = 0; i < bytes; i++) {
    to[i] = jlt_dequantise_s8(((const int8_t *)from)[i], t->scale, t->zero_point);
  }
  return JLT_OK;
}

jlt_status_t jlt_engine_read(const jlt_engine_t *engine, uint16_t tensor, void *to, uint32_t bytes) {
  const jlt_container_t *c = engine->container;
  if (!engine->started) {
    return JLT_ERR_STATE;
  }
  if (tensor >= c->model->n_tensors || !to || c->arena_offsets[tensor] == JLT_NO_OFFSET) {
    return JLT_ERR_ARGUMENT;
  }
  const jlt_tensor_t *t = &c->tensors[tensor];
  // of a tensor between the ops of a band group the arena may have less
  if (bytes != jlt_tensor_bytes(t) || c->arena_offsets[tensor] + bytes > engine->arena_bytes ||
      !jlt_in_one_memory(jlt_slow_bytes(engine), c->arena_offsets[tensor], bytes)) {
    return JLT_ERR_ARGUMENT;
  }
  if (!holds_f32(engine, t)) {
    memcpy(to, tensor_at(engine, tensor), bytes);
    return JLT_OK;
  }
  const float *from = (const float *)(const void *)tensor_at(engine, tensor);
  for (uint32_t i = 0; i < bytes; i++) {
    ((int8_t *)to)[i] = jlt_quantise_s8(from[i], t->scale, t->zero_point);
  }
  return JLT_OK;
}

void jlt_find_weights(const jlt_container_t *c, const jlt_weight_t *w, const jlt_layer_t *layer, jlt_weights_t *weights) {
  weights->record = w;
  if (layer->bits == 32) {
    weights->f32 = (const float *)(const void *)(c->data_f32 + w->f32_offset);
    weights->f32_bias = weights->f32 + (size_t)w->rows * w->row_elements;
    return;
  }
  weights->bias = (const int32_t *)(const void *)(c->pool + layer->bias_offset);
  weights->multipliers = (const int32_t *)(const void *)(c->pool + w->multiplier_offset);
  weights->shifts = (const int32_t *)(const void *)(c->pool + w->shift_offset);
  if (w->storage == JLT_STORAGE_S8) {
    weights->s8 = c->data_s8 + w->offset;
  } else {
    weights->high = c->plane_high + w->offset;
    weights->low = layer->bits == 8 ? c->plane_low + w->offset : NULL;
  }
}

jlt_kernel_t jlt_call_prepare(const jlt_engine_t *engine, const jlt_op_t *op, jlt_call_t *call) {
  const jlt_container_t *c = engine->container;
  uint32_t bits = 0;
  *call = (jlt_call_t){
      .params = c->pool + op->params_offset,
      .out = tensor_at(engine, op->output),
      .out_tensor = &c->tensors[op->output],
  };
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    const jlt_tensor_t *t = &c->tensors[op->inputs[i]];
    const bool is_const = (t->flags & JLT_TENSOR_FLAG_CONST) != 0;
    call->in_tensor[i] = t;
    call->in[i] = is_const ? c->pool + t->const_offset : tensor_at(engine, op->inputs[i]);
  }
  if (op->weight != JLT_NO_INDEX) {
    const jlt_layer_t *layer = layer_of(c, engine->path, op);
    jlt_find_weights(c, &c->weights[op->weight], layer, &call->weights);
    bits = layer->bits;
  }
#if JLT_WITH_F32
  if (runs_f32(engine)) {
    call->scratch = jlt_scratch_at(engine, c->f32_arena->scratch_f32_bytes);
    return jlt_kernel_entry(op->code)->f32;
  }
#endif
  const jlt_choice_t choice = jlt_choose(c, op, bits);
  call->scratch = jlt_scratch_at(engine, choice.scratch_bytes);
  call->weights.packed = choice.packed;
#if JLT_SHARED
  call->weights.shared = choice.shared;
#endif
  return choice.run;
}

// Runs units of the next op, up to `end`.
static void run_call(const jlt_engine_t *e, uint32_t end, jlt_kernel_t run, jlt_call_t *call) {
#if JLT_WITH_REFIT
  if (e->head && !runs_f32(e) && e->next_op == e->head->op) {
    jlt_head_run(e->head, call->params, call->in[0], call->out);
    return;
  }
#endif
  call->begin = e->unit;
  call->end = end;
  run(call);
}

static JLT_NO_INLINE void run_units(const jlt_engine_t *e, const jlt_op_t *op, uint32_t end) {
  jlt_call_t call;
  const jlt_kernel_t run = jlt_call_prepare(e, op, &call);
  run_call(e, end, run, &call);
}

static void answer(const jlt_engine_t *e, uint8_t exit, jlt_event_t *event) {
  const jlt_container_t *c = e->container;
  const jlt_exit_t *x = &c->exits[exit];
  event->kind = JLT_EVENT_EXIT;
  if (x->n_classes) {
    const jlt_tensor_t *t = &c->tensors[x->logits];
    const void *logits = tensor_at(e, x->logits);
    event->margin = runs_f32(e) ? jlt_margin_f32(logits, t->elements, t->scale, t->zero_point)
                              : jlt_margin_s8(logits, t->elements);
  }
#if JLT_WITH_REFIT
  if (e->head && !runs_f32(e) && e->head->exit == exit) {
    e->head->margin = event->margin;  // behind a gate it is another than that of the head's logits
    event->confidence_q15 = jlt_head_confidence_q15(e->head, c, e->path, event->margin);
    return;
  }
#endif
  event->confidence_q15 = jlt_confidence_q15(c, e->path, exit, event->margin);
}

// The op to run next on the way to an exit: heads of others are skipped.
static jlt_status_t find_next(const jlt_engine_t *e, uint8_t exit, uint16_t *index) {
  const jlt_container_t *c = e->container;
  if (exit >= c->model->n_exits) {
    return JLT_ERR_ARGUMENT;
  }
  if (!e->started || e->next_op > c->exits[exit].last_op) {
    return JLT_ERR_STATE;
  }
  *index = e->next_op;
  // stops at the latest at the exit's own last op
  while (c->ops[*index].exit != JLT_BACKBONE && c->ops[*index].exit != exit) {
    (*index)++;
  }
  return JLT_OK;
}

// Ops up to `last` have run.
static void finish_ops(jlt_engine_t *e, uint16_t last, uint8_t exit, jlt_event_t *event) {
  while (e->next_op <= last) {
    e->macs += e->container->ops[e->next_op++].macs;
    e->ops_run++;
  }
  e->unit = 0;
  event->kind = JLT_EVENT_LAYER;
  event->macs = e->macs;
  if (last == e->container->exits[exit].last_op) {
    answer(e, exit, event);
  }
}

jlt_status_t jlt_engine_tile(jlt_engine_t *engine, uint8_t exit, uint32_t units, jlt_event_t *event) {
  uint16_t index;
  if (!event) {
    return JLT_ERR_ARGUMENT;
  }
  const jlt_status_t err = find_next(engine, exit, &index);
  if (err) {
    return err;
  }
  const jlt_op_t *op = &engine->container->ops[index];
  const uint16_t last = runs_f32(engine) ? index : (uint16_t)jlt_band_last(engine->container, index);
  // a head given up for a later exit may have been left in the middle of an op
  const uint32_t begin = index == engine->next_op ? engine->unit : 0;
  jlt_kept_call_t *const kept = jlt_kept_call(engine, index);
  const uint32_t total = kept ? kept->units : jlt_op_units(engine->container, index, runs_f32(engine));
  const uint32_t end = units == 0 || units >= total - begin ? total : begin + units;
  engine->entered = true;
  engine->segment = op->segment > engine->segment ? op->segment : engine->segment;
  engine->next_op = index;
  engine->unit = begin;
  if (last > index) {
    jlt_bands_run(engine, index);
  } else if (kept) {
    run_call(engine, end, kept->run, &kept->call);
  } else {
    run_units(engine, op, end);
  }
  engine->unit = end;
  engine->tile_op = last;
  engine->tile_begin = begin;
  engine->tile_end = end;
  *event = (jlt_event_t){.kind = JLT_EVENT_TILE, .exit = exit, .op = last, .macs = engine->macs};
  if (end == total) {
    finish_ops(engine, last, exit, event);
  }
  return JLT_OK;
}

jlt_status_t jlt_engine_step(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event) {
  return jlt_engine_tile(engine, exit, 0, event);
}

jlt_status_t jlt_engine_units(const jlt_engine_t *engine, uint8_t exit, uint32_t *done, uint32_t *total) {
  uint16_t index;
  if (!done || !total) {
    return JLT_ERR_ARGUMENT;
  }
  const jlt_status_t err = find_next(engine, exit, &index);
  if (err) {
    return err;
  }
  *done = index == engine->next_op ? engine->unit : 0;
  *total = jlt_op_units(engine->container, index, runs_f32(engine));
  return JLT_OK;
}

jlt_status_t jlt_engine_written(const jlt_engine_t *engine, uint16_t *tensor, uint32_t *from, uint32_t *to) {
  if (!tensor || !from || !to) {
    return JLT_ERR_ARGUMENT;
  }
  if (!engine->started || engine->tile_end == 0) {
    return JLT_ERR_STATE;
  }
  const jlt_container_t *c = engine->container;
  const jlt_op_t *op = &c->ops[engine->tile_op];
  const jlt_tensor_t *t = &c->tensors[op->output];
  const uint32_t each = jlt_op_unit_elements(c, op, runs_f32(engine));
  const uint32_t element_bytes = t->dtype == JLT_DTYPE_S8 && !runs_f32(engine) ? 1u : 4u;
  const uint32_t end = engine->tile_end * each;
  *tensor = op->output;
  *from = engine->tile_begin * each * element_bytes;
  *to = (end < t->elements ? end : t->elements) * element_bytes;
  return JLT_OK;
}

jlt_status_t jlt_engine_switch(jlt_engine_t *engine, uint16_t path) {
  const jlt_container_t *c = engine->container;
  if (!engine->started || engine->unit) {
    return JLT_ERR_STATE;
  }
  if (path >= c->model->n_paths) {
    return JLT_ERR_ARGUMENT;
  }
  if (path_is_f32(c, path) != engine->is_f32) {
    return JLT_ERR_SWITCH;
  }
  for (uint32_t k = 0; engine->entered && k <= engine->segment; k++) {
    if (c->paths[path].precisions[k] != c->paths[engine->path].precisions[k]) {
      return JLT_ERR_SWITCH;
    }
  }
  if (!c->plane_low && needs_low_plane(c, path)) {
    return JLT_ERR_ABSENT;
  }
  engine->path = path;
  return JLT_OK;
}
