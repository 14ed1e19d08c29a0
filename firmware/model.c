// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <string.h>

#include "activation.h"
#include "clock.h"
#include "console.h"
#include "core/arena.h"
#include "core/crc32.h"
#include "port.h"
#include "refit.h"
#include "trust.h"

enum { SLOT_HEADER_BYTES = sizeof(jlt_wire_slot_header_t) };

extern uint8_t jlt_work_start[], jlt_work_end[];
#if JLT_TWO_MEMORIES
extern uint8_t jlt_slow_start[], jlt_slow_end[];
#endif

jlt_loaded_t jlt_loaded;

static uint32_t bytes_between(const uint8_t *start, const uint8_t *end) { return (uint32_t)(end - start) & ~15u; }

static bool runs_on_integers(const jlt_container_t *c, uint16_t path) {
  return !c->precisions[c->paths[path].precisions[0]].is_f32;
}

// What a model takes of the memory that is there.
typedef struct {
  uint32_t arena_bytes;  // of `work`
  uint32_t input_bytes;  // of `work` too
#if JLT_TWO_MEMORIES
  uint32_t fast_bytes;  // of the arena, beside `work`
#endif
} taken_t;

#if JLT_TWO_MEMORIES
static uint8_t *work_start(void) { return jlt_slow_start; }

static uint32_t all_bytes(void) { return bytes_between(jlt_slow_start, jlt_slow_end); }

// The arena as it was divided; all of it in one memory, where that does not fit or nobody has divided it.
static uint32_t divide(const jlt_container_t *c, taken_t *taken) {
  const uint32_t arena = taken->arena_bytes;
  const bool fits = arena - c->slow_bytes <= bytes_between(jlt_work_start, jlt_work_end);
  taken->arena_bytes = fits ? c->slow_bytes : arena;
  taken->fast_bytes = arena - taken->arena_bytes;
  return taken->arena_bytes;
}

static jlt_status_t init_engine(const taken_t *taken) {
  jlt_engine_t *engine = &jlt_loaded.engine;
  jlt_loaded.fast_bytes = taken->fast_bytes;
  return taken->fast_bytes > 0 ? jlt_engine_init_two(engine, &jlt_loaded.container, jlt_work_start, taken->fast_bytes,
                                                     jlt_loaded.work, taken->arena_bytes)
                               : jlt_engine_init(engine, &jlt_loaded.container, jlt_loaded.work, taken->arena_bytes);
}
#else
static uint8_t *work_start(void) { return jlt_work_start; }

static uint32_t all_bytes(void) { return bytes_between(jlt_work_start, jlt_work_end); }

static uint32_t divide(const jlt_container_t *c, taken_t *taken) {
  (void)c;
  return taken->arena_bytes;
}

static jlt_status_t init_engine(const taken_t *taken) {
  return jlt_engine_init(&jlt_loaded.engine, &jlt_loaded.container, jlt_loaded.work, taken->arena_bytes);
}
#endif

static jlt_status_t needs(const jlt_container_t *c, taken_t *taken) {
  uint32_t arena = 0;
  for (uint16_t path = 0; path < c->model->n_paths; path++) {
    const uint32_t bytes = jlt_arena_bytes(c, path);
    if (runs_on_integers(c, path) && bytes > arena) {
      arena = bytes;
    }
  }
  uint64_t inputs = 0;
  for (uint32_t i = 0; i < c->model->n_inputs; i++) {
    inputs += jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]);
  }
  taken->arena_bytes = arena;
  taken->input_bytes = (uint32_t)inputs;
  const uint64_t needed = (uint64_t)divide(c, taken) + ((inputs + 15u) & ~(uint64_t)15u);
  return arena == 0 || needed > all_bytes() ? JLT_ERR_ARGUMENT : JLT_OK;
}

static jlt_status_t open_model(uint32_t side, jlt_container_t *out) {
  const jlt_region_t *region = jlt_side_region(JLT_WIRE_SLOT_MODEL, side);
  const jlt_header_t *header = (const void *)region->address;
  const uint32_t index = jlt_trust_index(JLT_WIRE_SLOT_MODEL, side);
  if (jlt_trusted(index, header->crc32)) {
    return jlt_container_reopen(header, region->bytes, out);
  }
  const jlt_status_t err = jlt_container_check(header, region->bytes, out);
  if (err == JLT_OK) {
    jlt_trust(index, header->crc32);
  }
  return err;
}

static bool may_be_used(uint32_t slot, uint32_t side) { return jlt_has_sides(slot) && jlt_side_vouched(slot, side); }

static jlt_status_t load_side(uint32_t side) {
  taken_t taken;
  jlt_status_t err = open_model(side, &jlt_loaded.container);
  if (!err) {
    err = needs(&jlt_loaded.container, &taken);
  }
  if (err) {
    return err;
  }
#if JLT_WITH_REFIT
  const uint32_t used = ((taken.arena_bytes + 15u) & ~15u) + ((taken.input_bytes + 15u) & ~15u);
  const uint32_t room = used < jlt_loaded.work_bytes ? jlt_loaded.work_bytes - used : 0u;
  jlt_loaded.work_bytes -= jlt_refit_claim(&jlt_loaded.container, jlt_loaded.work + jlt_loaded.work_bytes, room);
#endif
  jlt_loaded.arena_bytes = taken.arena_bytes;
  jlt_loaded.input_bytes = taken.input_bytes;
  jlt_loaded.input = jlt_loaded.work + jlt_loaded.work_bytes - ((taken.input_bytes + 15u) & ~15u);
  memset(jlt_loaded.input, 0, taken.input_bytes);
  err = init_engine(&taken);
#if JLT_WITH_REFIT
  jlt_refit_attach(&jlt_loaded.engine);
#endif
  return err;
}

void jlt_model_load(void) {
  jlt_loaded.work = work_start();
  jlt_loaded.work_bytes = all_bytes();
  jlt_loaded.arena_bytes = 0;
#if JLT_TWO_MEMORIES
  jlt_loaded.fast_bytes = 0;
  jlt_loaded.fast_room_bytes = bytes_between(jlt_work_start, jlt_work_end);
#endif
  jlt_loaded.input_bytes = 0;
  jlt_loaded.input = jlt_loaded.work;
  jlt_loaded.answered = jlt_loaded.fed = jlt_loaded.floats = false;
#if JLT_WITH_REFIT
  jlt_refit_drop();
#endif
  const uint32_t side = jlt_side_named(JLT_WIRE_SLOT_MODEL);
  jlt_loaded.model_side = (uint8_t)side;
  jlt_loaded.status = load_side(side);
  if (jlt_loaded.status != JLT_OK && may_be_used(JLT_WIRE_SLOT_MODEL, 1u - side) && load_side(1u - side) == JLT_OK) {
    jlt_loaded.status = JLT_OK;
    jlt_loaded.model_side = (uint8_t)(1u - side);
  }
  jlt_other_forget(JLT_WIRE_SLOT_MODEL);
  jlt_policy_load();
}

int32_t jlt_model_recheck(void) {
  jlt_container_t view;
  const uint32_t side = jlt_loaded.model_side;
  const jlt_region_t *region = jlt_side_region(JLT_WIRE_SLOT_MODEL, side);
  const jlt_status_t err = jlt_container_check((const void *)region->address, region->bytes, &view);
  if (err) {
    (void)jlt_distrust(jlt_trust_index(JLT_WIRE_SLOT_MODEL, side));
  }
  return err;
}

static const void *content_of(const jlt_region_t *region, uint32_t slot, uint32_t index, uint32_t *bytes) {
  const jlt_wire_slot_header_t *header = (const void *)region->address;
  if (region->bytes < SLOT_HEADER_BYTES || header->magic != JLT_WIRE_SLOT_MAGIC || header->slot != slot ||
      header->bytes > region->bytes - SLOT_HEADER_BYTES) {
    return NULL;
  }
  if (!jlt_trusted(index, header->crc32)) {
    if (jlt_crc32(0, (const uint8_t *)header + SLOT_HEADER_BYTES, header->bytes) != header->crc32) {
      return NULL;
    }
    jlt_trust(index, header->crc32);
  }
  *bytes = header->bytes;
  return (const uint8_t *)header + SLOT_HEADER_BYTES;
}

const void *jlt_slot_content(uint32_t slot, uint32_t *bytes) {
  return content_of(slot == JLT_WIRE_SLOT_SAMPLES ? &jlt_board.samples : &jlt_board.session, slot, slot, bytes);
}

static jlt_status_t open_policy(uint32_t side, jlt_governor_t *out) {
  static const uint8_t any[16];
  uint32_t bytes;
  const void *content = content_of(jlt_side_region(JLT_WIRE_SLOT_POLICY, side), JLT_WIRE_SLOT_POLICY,
                                   jlt_trust_index(JLT_WIRE_SLOT_POLICY, side), &bytes);
  const jlt_status_t err = content ? jlt_governor_check(content, bytes, out) : JLT_ERR_POLICY;
  if (err || jlt_loaded.status != JLT_OK) {
    return err;
  }
  const jlt_policy_header_t *policy = out->header;
  const jlt_header_t *container = (const void *)jlt_loaded.container.base;
  const jlt_model_t *model = jlt_loaded.container.model;
  const bool bound = memcmp(policy->model_hash, any, sizeof(any)) != 0;
  return (bound && memcmp(policy->model_hash, container->model_hash, sizeof(any)) != 0) ||
                 policy->n_paths != model->n_paths || policy->n_exits != model->n_exits
             ? JLT_ERR_POLICY  // made for another model
             : JLT_OK;
}

void jlt_policy_load(void) {
  const uint32_t side = jlt_side_named(JLT_WIRE_SLOT_POLICY);
  jlt_loaded.policy_side = (uint8_t)side;
  jlt_loaded.policy_status = open_policy(side, &jlt_loaded.governor);
  if (jlt_loaded.policy_status != JLT_OK && may_be_used(JLT_WIRE_SLOT_POLICY, 1u - side) &&
      open_policy(1u - side, &jlt_loaded.governor) == JLT_OK) {
    jlt_loaded.policy_status = JLT_OK;
    jlt_loaded.policy_side = (uint8_t)(1u - side);
  }
  jlt_other_forget(JLT_WIRE_SLOT_POLICY);
}

int32_t jlt_side_check(uint32_t slot, uint32_t side) {
  if (slot == JLT_WIRE_SLOT_POLICY) {
    jlt_governor_t governor;
    return open_policy(side, &governor);
  }
  jlt_container_t container;
  taken_t taken;
  const jlt_status_t err = open_model(side, &container);
  return err ? err : needs(&container, &taken);
}

// 0: not looked at, 1: would run, 2: would not
static uint8_t others[JLT_WIRE_SLOT_POLICY + 1];

void jlt_other_forget(uint32_t slot) { others[slot] = 0; }

bool jlt_other_runs(uint32_t slot) {
  const uint32_t side = slot == JLT_WIRE_SLOT_MODEL ? jlt_loaded.model_side : jlt_loaded.policy_side;
  if (others[slot] == 0) {
    others[slot] = may_be_used(slot, 1u - side) && jlt_side_check(slot, 1u - side) == JLT_OK ? 1 : 2;
  }
  return others[slot] == 1;
}

jlt_status_t jlt_model_start(uint16_t path, const uint8_t *input) {
  jlt_loaded.answered = false;
  if (jlt_loaded.status != JLT_OK) {
    return JLT_ERR_STATE;
  }
  const jlt_container_t *c = &jlt_loaded.container;
  if (path >= c->model->n_paths || !runs_on_integers(c, path)) {
    return JLT_ERR_ARGUMENT;
  }
#if JLT_WITH_REFIT
  jlt_refit_forget();
#endif
  jlt_loaded.cycles = jlt_cycles();
  jlt_loaded.ticks = jlt_now_ticks();
  jlt_status_t err = jlt_engine_start(&jlt_loaded.engine, path);
  for (uint16_t i = 0; !err && i < c->model->n_inputs; i++) {
    const uint32_t bytes = jlt_tensor_bytes(&c->tensors[c->model->inputs[i]]);
    err = jlt_engine_write(&jlt_loaded.engine, i, input, bytes);
    input += bytes;
  }
  return err;
}

jlt_status_t jlt_model_step(uint8_t exit, jlt_wire_reached_t *reached, bool *done) {
  return jlt_model_tile(exit, 0, reached, done);
}

jlt_status_t jlt_model_tile(uint8_t exit, uint32_t units, jlt_wire_reached_t *reached, bool *done) {
  jlt_event_t event;
  *done = false;
  jlt_mark(JLT_PHASE_INFER);
  const jlt_status_t err = jlt_engine_tile(&jlt_loaded.engine, exit, units, &event);
  const uint64_t cycles = jlt_cycles();  // at every op: the counter must not wrap unseen
  const uint64_t ticks = jlt_now_ticks();
  jlt_mark(JLT_PHASE_IDLE);
  if (err || event.kind != JLT_EVENT_EXIT) {
    return err;
  }
  *reached = (jlt_wire_reached_t){
      .cycles = cycles - jlt_loaded.cycles,
      .ticks = ticks - jlt_loaded.ticks,
      .macs = event.macs,
      .confidence_q15 = event.confidence_q15,
      .margin = event.margin,
      .path = jlt_loaded.engine.path,
      .exit = event.exit,
  };
  jlt_loaded.exit = event.exit;
  jlt_loaded.answered = true;
  *done = true;
  return JLT_OK;
}

static const uint8_t *tensor_at(uint16_t tensor, uint32_t *bytes) {
  const jlt_container_t *c = &jlt_loaded.container;
  if (c->arena_offsets[tensor] == JLT_NO_OFFSET) {
    *bytes = 0;
    return NULL;
  }
  *bytes = jlt_tensor_bytes(&c->tensors[tensor]);
  return jlt_arena_at(&jlt_loaded.engine, c->arena_offsets[tensor]);
}

static uint32_t answers(void) {
  const jlt_model_t *model = jlt_loaded.container.model;
  return jlt_loaded.exit + 1u == model->n_exits ? model->n_outputs : 1u;
}

static uint16_t answer_tensor(uint32_t index) {
  const jlt_container_t *c = &jlt_loaded.container;
  return answers() > 1u ? c->model->outputs[index] : c->exits[jlt_loaded.exit].output;
}

uint32_t jlt_model_answer_bytes(void) {
  uint32_t total = 0, bytes;
  for (uint32_t i = 0; jlt_loaded.answered && i < answers(); i++) {
    (void)tensor_at(answer_tensor(i), &bytes);
    total += bytes;
  }
  return total;
}

jlt_status_t jlt_model_answer(uint32_t offset, uint8_t *to, uint32_t bytes) {
  const uint32_t total = jlt_model_answer_bytes();
  if (offset > total || bytes > total - offset) {
    return JLT_ERR_ARGUMENT;
  }
  for (uint32_t i = 0; bytes > 0 && i < answers(); i++) {
    uint32_t here;
    const uint8_t *from = tensor_at(answer_tensor(i), &here);
    if (offset >= here) {
      offset -= here;
      continue;
    }
    const uint32_t count = bytes < here - offset ? bytes : here - offset;
    memcpy(to, from + offset, count);
    to += count;
    bytes -= count;
    offset = 0;
  }
  return JLT_OK;
}

uint16_t jlt_model_predicted(void) {
  const jlt_container_t *c = &jlt_loaded.container;
  const jlt_exit_t *exit = &c->exits[jlt_loaded.exit];
  const uint16_t tensor = c->tensors[exit->output].dtype == JLT_DTYPE_S8 ? exit->output : exit->logits;
  if (!exit->n_classes) {
    return 0xFFFFu;
  }
  uint32_t count;
  const int8_t *values = (const int8_t *)tensor_at(tensor, &count);
  uint32_t best = 0;
  for (uint32_t i = 1; i < count; i++) {
    best = values[i] > values[best] ? i : best;
  }
  return values ? (uint16_t)best : 0xFFFFu;
}
