// SPDX-License-Identifier: Apache-2.0
#include "survive.h"

#include <string.h>

#include "board.h"
#include "clock.h"
#include "core/bands.h"
#include "core/live.h"
#include "core/nvm_plan.h"
#include "model.h"
#include "port.h"
#include "progress.h"
#include "store.h"

_Static_assert((int)JLT_NVM_STRATEGY_IN_NVM == (int)JLT_WIRE_STRATEGY_IN_NVM &&
                   (int)JLT_NVM_STRATEGY_JIT_COPY == (int)JLT_WIRE_STRATEGY_JIT_COPY &&
                   (int)JLT_NVM_STRATEGY_RESTART_FROM_EXIT == (int)JLT_WIRE_STRATEGY_RESTART_FROM_EXIT,
               "containers and sessions number the strategies alike");

static struct {
  const jlt_wire_session_t *session;
  jlt_survive_plan_t plan;
  jlt_progress_record_t record;  // as it is written next
  jlt_tensors_t tensors;
  uint64_t interval_ticks;  // between two commits
  uint64_t tick_fj;         // from the store while the core runs
  uint64_t spare_ticks;     // that the store pays for on top before the next look at it
  uint64_t unit_ticks;      // of the op that runs, measured
  uint16_t unit_op;         // that unit_ticks is of
  uint16_t output;          // of the op that runs
  bool on;                  // progress is kept
  bool capped;
  bool dirty;               // the arena holds what memory does not
  bool partial;             // memory holds what the arena does not: the output's beginning
} survive;

static bool is_present(uint16_t tensor) { return jlt_tensor_bit(survive.tensors.present, tensor); }

static void set_present(uint16_t tensor, bool there) { jlt_set_tensor_bit(survive.tensors.present, tensor, there); }

/// What is kept ///

static bool commit(void) {
  jlt_mark(JLT_PHASE_COMMIT);
  const bool ok = jlt_progress_commit(&survive.record);
  jlt_mark(JLT_PHASE_IDLE);
  return ok;
}

// Writes down how far the inference has come; what lies in the arena has been stored before.
static bool note(const jlt_inference_t *inference) {
  jlt_progress_record_t *record = &survive.record;
  jlt_engine_save(&jlt_loaded.engine, &record->mark);
  record->part_to = record->mark.unit > 0 ? survive.tensors.part_to : 0u;
  record->event = inference->event;
  record->target = inference->target;
  record->spent_ticks = inference->spent_ticks;
  record->running = 1;
  return commit();
}

static bool keep_all(const jlt_inference_t *inference) {
  const bool ok = jlt_progress_store_live(&survive.tensors) && note(inference);
  survive.dirty = survive.dirty && !ok;
  return ok;
}

static bool keep_written(void) { return jlt_progress_store_tile(&survive.tensors); }

// Whether the store is above the warning, and for how long if nothing comes in. One that cannot be read counts as full.
static bool is_plenty(void) {
  const jlt_wire_session_t *session = survive.session;
  const uint32_t warn_mv = survive.plan.warn_mv;
  uint32_t mv;
  if (!jlt_store_read_mv(&mv)) {
    mv = session->full_mv > warn_mv ? session->full_mv : warn_mv;
  }
  if (mv < warn_mv) {
    survive.spare_ticks = 0;
    return false;
  }
  survive.spare_ticks = session->capacity_nf * ((uint64_t)mv * mv - (uint64_t)warn_mv * warn_mv) / 2u / survive.tick_fj;
  return true;
}

// Plenty is stored, or all since the last exit is done again anyway.
static bool may_fall_behind(void) {
  switch (survive.plan.strategy) {
    case JLT_WIRE_STRATEGY_RESTART_FROM_EXIT:
      return true;
    case JLT_WIRE_STRATEGY_JIT_COPY:
      return is_plenty();
    default:
      return survive.plan.warn_mv > 0 && is_plenty();
  }
}

// Memory follows the arena, or catches up with it.
static bool follow(const jlt_inference_t *inference) {
  if (!survive.partial && may_fall_behind()) {
    survive.dirty = true;
    return true;
  }
  if (survive.dirty || survive.plan.strategy == JLT_WIRE_STRATEGY_JIT_COPY) {
    return keep_all(inference);
  }
#if BOARD_BROKEN_COMMIT
  const bool ok = note(inference) && keep_written();  // what tests of the tests need
#else
  const bool ok = keep_written() && note(inference);
#endif
  if (survive.partial && jlt_loaded.engine.unit == 0) {
    set_present(survive.output, false);  // whole in memory only
    survive.partial = false;
  }
  return ok;
}

void jlt_survive_keep(const jlt_inference_t *inference) {
  if (survive.on && !follow(inference)) {
    survive.dirty = true;
  }
}

// An answer is looked at whole, and what it was made of may be needed further on.
void jlt_survive_keep_answer(void) {
  if (survive.on && !survive.dirty && !keep_written()) {
    survive.dirty = true;
  }
  if (survive.partial) {
    survive.partial = !jlt_progress_fetch(survive.output, UINT32_MAX);
  }
}

// A decision stands before the block that it governs runs; at an exit every strategy is up to date.
void jlt_survive_keep_decision(const jlt_inference_t *inference) {
  if (survive.on) {
    (void)(survive.dirty ? keep_all(inference) : note(inference));
  }
}

void jlt_survive_end(void) {
  if (survive.on) {
    survive.record.running = 0;
    (void)commit();
  }
}

/// What runs ///

// What the next op, or band group, reads is brought back, and what it has written so far.
static bool fetch_for_next(uint8_t target) {
  const jlt_container_t *c = &jlt_loaded.container;
  const jlt_engine_t *e = &jlt_loaded.engine;
  uint16_t index = e->next_op;
  while (c->ops[index].exit != JLT_BACKBONE && c->ops[index].exit != target) {
    index++;
  }
  const jlt_op_t *op = &c->ops[jlt_band_last(c, index)];
  bool ok = true;
  for (const jlt_op_t *each = &c->ops[index]; each <= op; each++) {
    for (uint32_t i = 0; ok && i < each->n_inputs; i++) {
      const uint16_t input = each->inputs[i];
      if (!(c->tensors[input].flags & JLT_TENSOR_FLAG_CONST) && !is_present(input) && jlt_live_at(c, index, 0, input)) {
        ok = jlt_progress_fetch(input, UINT32_MAX);
        set_present(input, true);
      }
    }
  }
  // memory that follows the arena anyway keeps the part that was written before the cut; else it is brought back too
  if (e->unit > 0 && !is_present(op->output)) {
    survive.partial = survive.plan.strategy == JLT_WIRE_STRATEGY_IN_NVM;
    // no further than it was written: it may lie on an input of which the rest is still to be read
    ok = ok && (survive.partial || jlt_progress_fetch(op->output, survive.tensors.part_to));
  }
  survive.output = op->output;
  set_present(op->output, true);
  return ok;
}

// Units that take as long as may pass between two commits, and as much longer as there is plenty: every part of an op
// costs some cycles of its own. 0: the rest of the op.
static uint32_t chunk(void) {
  const bool relaxed = survive.dirty && !survive.capped;
  const bool restarts = relaxed && survive.plan.strategy == JLT_WIRE_STRATEGY_RESTART_FROM_EXIT;
  if (survive.interval_ticks == 0 || restarts) {
    return 0;
  }
  const uint64_t ticks = survive.interval_ticks + (relaxed ? survive.spare_ticks : 0u);
  if (survive.unit_ticks == 0) {
    return 1u;
  }
  // convolutions unpack their weights for two units at a time: one alone costs more than half
  const uint64_t pair_ticks = 2u * survive.unit_ticks;
  const uint64_t pairs = (ticks + (survive.capped ? 0u : survive.unit_ticks)) / pair_ticks;
  return pairs == 0 ? 1u : pairs < UINT32_MAX / 2u ? 2u * (uint32_t)pairs : 0u;
}

static void measure(uint64_t ticks, uint32_t units, uint16_t op) {
  survive.unit_ticks = units ? ticks / units + 1u : 0u;
  survive.unit_op = op;
}

bool jlt_survive_tile(const jlt_inference_t *inference, jlt_wire_reached_t *reached, bool *done) {
  if (!survive.on && !survive.capped) {
    return jlt_model_tile(inference->target, 0, reached, done) == JLT_OK;
  }
  uint32_t before = 0, total = 0;
  if (survive.on) {
    (void)jlt_progress_prepare();  // failing, it is tried again when there is something to write
  }
  if ((survive.on && !fetch_for_next(inference->target)) ||
      jlt_engine_units(&jlt_loaded.engine, inference->target, &before, &total) != JLT_OK) {
    return false;
  }
  const uint16_t op = jlt_loaded.engine.next_op;
  if (survive.unit_op != op) {
    survive.unit_ticks = 0;
  }
  const uint32_t units = chunk();
  const uint64_t ticks = jlt_now_ticks();
  if (jlt_model_tile(inference->target, units, reached, done) != JLT_OK) {
    return false;
  }
  const uint32_t after = jlt_loaded.engine.next_op == op ? jlt_loaded.engine.unit : total;
  measure(jlt_now_ticks() - ticks, after - before, op);
  return true;
}

// A warning has come, progress is safe, and another part would only have to be copied again; the dearer, the later.
bool jlt_survive_should_rest(void) {
  uint32_t mv;
  const uint32_t on_mv = survive.session->on_mv, warn_mv = survive.plan.warn_mv;
  const uint32_t quarters = jlt_progress_appends() ? 3u : 1u;
  return survive.plan.strategy == JLT_WIRE_STRATEGY_JIT_COPY && !survive.dirty && jlt_store_read_mv(&mv) &&
         mv < warn_mv + quarters * ((on_mv > warn_mv ? on_mv - warn_mv : 0u) / 4u);
}

/// Beginning and taking up ///

jlt_survive_plan_t jlt_survive_plan(const jlt_wire_session_t *session) {
  const jlt_nvm_plan_t *plan;
  if (session->strategy == JLT_WIRE_STRATEGY_PLANNED) {
    // where tensors lie is not taken from it: the firmware gives each a place of its own
    return jlt_nvm_plan_head(&jlt_loaded.container, jlt_board.name, &plan) == JLT_OK
               ? (jlt_survive_plan_t){plan->strategy, plan->commit_cycles, plan->warn_mv}
               : (jlt_survive_plan_t){.strategy = JLT_WIRE_STRATEGY_NONE};
  }
  return (jlt_survive_plan_t){session->strategy, session->commit_cycles, session->warn_mv};
}

void jlt_survive_open(const jlt_survive_settings_t *settings) {
  const uint64_t tick_fj = settings->running_nw * 1000000ull / jlt_board.timer.tick_hz;
  survive.session = settings->session;
  survive.plan = settings->plan;
  survive.interval_ticks = settings->interval_ticks;
  survive.tick_fj = tick_fj > 0 ? tick_fj : 1u;
  survive.spare_ticks = 0;
  survive.capped = settings->capped;
  survive.on = settings->plan.strategy != JLT_WIRE_STRATEGY_NONE && settings->from_flash &&
               jlt_loaded.container.model->n_tensors <= JLT_TENSORS_KEPT && jlt_progress_open(settings->epoch);
}

void jlt_survive_begin(const jlt_inference_t *inference) {
  if (!survive.on) {
    return;
  }
  memset(&survive.tensors, 0, sizeof(survive.tensors));
  memset(survive.tensors.present, 0xFF, sizeof(survive.tensors.present));
  survive.tensors.part = JLT_NO_INDEX;
  survive.dirty = survive.partial = false;
  survive.unit_ticks = 0;
  (void)note(inference);
}

bool jlt_survive_take_up(const jlt_input_driver_t *input, jlt_inference_t *inference) {
  jlt_progress_record_t *record = &survive.record;
  if (!survive.on || !jlt_progress_load(record) || !record->running) {
    return false;
  }
  const uint8_t *sample = input->sample(record->event.sample);
  if (!sample || jlt_model_start(record->mark.path, sample) != JLT_OK ||
      jlt_engine_restore(&jlt_loaded.engine, &record->mark) != JLT_OK) {
    return false;
  }
  *inference = (jlt_inference_t){record->event, record->spent_ticks, record->target};
  survive.dirty = survive.partial = false;
  survive.unit_ticks = 0;
  if (!jlt_progress_resume(&survive.tensors, record->part_to)) {
    return false;
  }
  const jlt_model_t *model = jlt_loaded.container.model;
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    set_present(model->inputs[i], true);  // from flash, just now
  }
  return true;
}
