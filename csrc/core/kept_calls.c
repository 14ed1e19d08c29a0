// SPDX-License-Identifier: Apache-2.0
#include "core/kept_calls.h"

#include <string.h>

#if JLT_KEEPS_CALLS
size_t jlt_calls_bytes(const jlt_container_t *container) {
  return (size_t)container->model->n_paths * container->model->n_ops * sizeof(jlt_kept_call_t);
}

jlt_status_t jlt_engine_keep_calls(jlt_engine_t *engine, void *room, size_t bytes) {
  if (!engine || !engine->container || !room || bytes < jlt_calls_bytes(engine->container)) {
    return JLT_ERR_ARGUMENT;
  }
  if ((uintptr_t)room % _Alignof(jlt_kept_call_t)) {
    return JLT_ERR_ALIGNMENT;
  }
  memset(room, 0, jlt_calls_bytes(engine->container));
  engine->calls = room;
  return JLT_OK;
}

static JLT_NO_INLINE void prepare(const jlt_engine_t *engine, uint16_t op, jlt_kept_call_t *kept) {
  const jlt_container_t *c = engine->container;
  kept->run = jlt_call_prepare(engine, &c->ops[op], &kept->call);
  kept->units = jlt_op_units(c, op, engine->is_f32);
}

jlt_kept_call_t *jlt_kept_call(const jlt_engine_t *engine, uint16_t op) {
  if (!engine->calls) {
    return NULL;
  }
  jlt_kept_call_t *kept = &engine->calls[(size_t)engine->path * engine->container->model->n_ops + op];
  if (!kept->run) {
    prepare(engine, op, kept);
  }
  return kept;
}
#endif
