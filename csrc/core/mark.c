// SPDX-License-Identifier: Apache-2.0
// Saving where an engine stands, and going back there. A mark comes from memory that power may have failed: everything
// in it is checked against the container.
#include "core/bands.h"

void jlt_engine_save(const jlt_engine_t *engine, jlt_engine_mark_t *mark) {
  *mark = (jlt_engine_mark_t){
      .macs = engine->macs,
      .ops_run = engine->ops_run,
      .unit = engine->unit,
      .path = engine->path,
      .next_op = engine->next_op,
      .segment = engine->segment,
      .started = engine->started,
      .entered = engine->entered,
  };
}

// What ops count for that must have run, those of the backbone, or that may have.
typedef struct {
  uint64_t macs;
  uint32_t ops;
  uint8_t segment;
} tally_t;

static void count(tally_t *tally, const jlt_op_t *op, bool ended) {
  tally->macs += ended ? op->macs : 0u;
  tally->ops += ended ? 1u : 0u;
  tally->segment = op->segment > tally->segment ? op->segment : tally->segment;
}

static bool adds_up(const jlt_container_t *c, const jlt_engine_mark_t *mark) {
  tally_t least = {0};
  tally_t most = {0};
  for (uint32_t i = 0; i < mark->next_op + (mark->unit ? 1u : 0u); i++) {
    const bool ended = i < mark->next_op;
    count(&most, &c->ops[i], ended);
    if (c->ops[i].exit == JLT_BACKBONE || !ended) {
      count(&least, &c->ops[i], ended);
    }
  }
  return mark->macs >= least.macs && mark->macs <= most.macs && mark->ops_run >= least.ops &&
         mark->ops_run <= most.ops && mark->segment >= least.segment && mark->segment <= most.segment;
}

jlt_status_t jlt_engine_restore(jlt_engine_t *engine, const jlt_engine_mark_t *mark) {
  const jlt_container_t *c = engine->container;
  if (!mark || mark->started != 1u || mark->entered > 1u || mark->reserved) {
    return JLT_ERR_ARGUMENT;
  }
  const uint32_t last = c->exits[c->model->n_exits - 1u].last_op;
  if (mark->next_op > last + (mark->unit ? 0u : 1u) || mark->entered != (mark->next_op > 0 || mark->unit > 0) ||
      !adds_up(c, mark)) {
    return JLT_ERR_ARGUMENT;
  }
  jlt_engine_t restored = *engine;
  const jlt_status_t err = jlt_engine_start(&restored, mark->path);
  if (err) {
    return err;
  }
  const jlt_band_group_t *group = restored.is_f32 ? NULL : jlt_band_group_of(c, mark->next_op);
  if (group && group->first_op != mark->next_op) {
    return JLT_ERR_ARGUMENT;
  }
  if (mark->unit && mark->unit >= jlt_op_units(c, mark->next_op, restored.is_f32)) {
    return JLT_ERR_ARGUMENT;
  }
  restored.macs = mark->macs;
  restored.ops_run = mark->ops_run;
  restored.unit = mark->unit;
  restored.next_op = mark->next_op;
  restored.segment = mark->segment;
  restored.entered = mark->entered != 0;
  *engine = restored;
  return JLT_OK;
}
