// SPDX-License-Identifier: Apache-2.0
#include "refit.h"

#include <string.h>

#include "clock.h"
#include "core/crc32.h"
#include "core/refit.h"
#include "journal.h"
#include "model.h"
#include "port.h"
#include "progress.h"

enum { NO_LABEL = 0xFFFF, BLOCK_BYTES = 64, HEAD_BYTES = sizeof(jlt_wire_refit_head_t), CRC_BYTES = 4 };

static struct {
  jlt_refit_t refit;
  const jlt_wire_refit_t *plan;
  int32_t status;
  uint32_t sequence;  // of what is kept
  uint32_t unkept;    // samples learned from since
  uint32_t refused;
  uint32_t event;     // that the features are of
  uint16_t label;     // or NO_LABEL
  bool keeps;
} fit;

/// The plan ///

static const jlt_wire_refit_t *find_plan(void) {
  uint32_t bytes;
  const jlt_wire_session_t *session = jlt_slot_content(JLT_WIRE_SLOT_SESSION, &bytes);
  if (!session || bytes < sizeof(*session) + sizeof(jlt_wire_refit_t) || session->magic != JLT_WIRE_SESSION_MAGIC) {
    return NULL;
  }
  const jlt_wire_refit_t *plan = (const void *)(session + 1);
  return plan->magic == JLT_WIRE_REFIT_MAGIC && plan->keep_every > 0 ? plan : NULL;
}

const jlt_wire_refit_t *jlt_refit_plan(void) { return fit.status == JLT_OK ? fit.plan : NULL; }

/// What is kept ///

static uint32_t slot_bytes(void) { return (HEAD_BYTES + fit.refit.state_bytes + CRC_BYTES + 7u) & ~7u; }

static uint32_t slot_at(uint32_t sequence) { return jlt_journal_bytes() - (2u - (sequence & 1u)) * slot_bytes(); }

static bool read_at(uint32_t from, void *to, uint32_t bytes) {
  return jlt_board.nvm.driver->read(&jlt_board.nvm, from, to, bytes);
}

static bool write_at(uint32_t to, const void *from, uint32_t bytes) {
  return jlt_board.nvm.driver->write(&jlt_board.nvm, to, from, bytes);
}

static uint32_t plan_crc(void) { return jlt_crc32(0, fit.plan, sizeof(*fit.plan)); }

static void fill_head(jlt_wire_refit_head_t *head, uint32_t sequence) {
  *head = (jlt_wire_refit_head_t){
      .magic = JLT_WIRE_REFIT_MAGIC,
      .sequence = sequence,
      .updates = fit.refit.updates,
      .plan_crc32 = plan_crc(),
  };
  memcpy(head->model_hash, ((const jlt_header_t *)(const void *)fit.refit.container->base)->model_hash,
         sizeof(head->model_hash));
}

// Where there is room for both behind all else, and writing is enough.
static bool can_keep(void) {
  return jlt_board.nvm.driver && !jlt_board.nvm.driver->erase &&
         (uint64_t)jlt_progress_end() + 2u * slot_bytes() <= jlt_journal_bytes();
}

static bool is_whole(uint32_t at, const jlt_wire_refit_head_t *head) {
  uint8_t block[BLOCK_BYTES];
  uint32_t crc = jlt_crc32(0, head, HEAD_BYTES);
  uint32_t kept;
  at += HEAD_BYTES;
  for (uint32_t left = fit.refit.state_bytes; left > 0;) {
    const uint32_t bytes = left < BLOCK_BYTES ? left : BLOCK_BYTES;
    if (!read_at(at, block, bytes)) {
      return false;
    }
    crc = jlt_crc32(crc, block, bytes);
    at += bytes;
    left -= bytes;
  }
  return read_at(at, &kept, sizeof(kept)) && kept == crc;
}

// Whether a place holds a state of this model under this plan; all of it has been read.
static bool find_kept(uint32_t place, jlt_wire_refit_head_t *head) {
  jlt_wire_refit_head_t ours;
  if (!read_at(slot_at(place), head, HEAD_BYTES)) {
    return false;
  }
  fill_head(&ours, head->sequence);
  ours.updates = head->updates;
  return (head->sequence & 1u) == place && head->sequence != 0 && memcmp(head, &ours, sizeof(ours)) == 0 &&
         is_whole(slot_at(place), head);
}

static void take_up(void) {
  jlt_wire_refit_head_t heads[2];
  const bool first = find_kept(0, &heads[0]);
  const bool second = find_kept(1, &heads[1]);
  if (!first && !second) {
    return;
  }
  const bool newer = second && (!first || (int32_t)(heads[1].sequence - heads[0].sequence) > 0);
  const jlt_wire_refit_head_t *head = &heads[newer ? 1 : 0];
  fit.sequence = head->sequence;
  if (!read_at(slot_at(head->sequence) + HEAD_BYTES, fit.refit.state, fit.refit.state_bytes) ||
      jlt_refit_restore(&fit.refit, head->updates) != JLT_OK) {
    jlt_refit_reset(&fit.refit);
  }
}

// Into the older place; what it says is true from the moment its checksum stands.
static bool keep(void) {
  jlt_wire_refit_head_t head;
  const uint32_t sequence = fit.sequence + 1u ? fit.sequence + 1u : 2u;
  const uint32_t at = slot_at(sequence);
  fill_head(&head, sequence);
  const uint32_t crc = jlt_crc32(jlt_crc32(0, &head, HEAD_BYTES), fit.refit.state, fit.refit.state_bytes);
  if (!write_at(at, &head, HEAD_BYTES) || !write_at(at + HEAD_BYTES, fit.refit.state, fit.refit.state_bytes) ||
      !write_at(at + HEAD_BYTES + fit.refit.state_bytes, &crc, sizeof(crc))) {
    return false;
  }
  fit.sequence = sequence;
  fit.unkept = 0;
  return true;
}

/// Beginning ///

void jlt_refit_drop(void) {
  memset(&fit, 0, sizeof(fit));
  fit.label = NO_LABEL;
  fit.status = JLT_ERR_ABSENT;
}

uint32_t jlt_refit_claim(const jlt_container_t *container, uint8_t *end, uint32_t room) {
  jlt_head_t head;
  jlt_refit_drop();
  fit.plan = find_plan();
  fit.status = fit.plan ? jlt_head_find(container, fit.plan->exit, &head) : JLT_ERR_ABSENT;
  if (fit.status) {
    return 0;
  }
  const uint32_t bytes = (jlt_refit_bytes(head.n_features, head.n_classes) + 15u) & ~15u;
  if (bytes == 0 || bytes > room) {
    fit.status = bytes == 0 ? JLT_ERR_EXIT : JLT_ERR_ARGUMENT;
    return 0;
  }
  const jlt_refit_rule_t rule = {fit.plan->forgetting, fit.plan->prior, fit.plan->target};
  fit.status = jlt_refit_open(&fit.refit, container, fit.plan->exit, &rule, end - bytes, bytes);
  return fit.status ? 0 : bytes;
}

void jlt_refit_attach(jlt_engine_t *engine) {
  if (fit.status) {
    return;
  }
  fit.keeps = can_keep();
  if (fit.keeps) {
    take_up();
  }
  engine->head = &fit.refit.head;
}

/// Labels ///

void jlt_refit_forget(void) {
  fit.refit.head.fresh = false;
  fit.label = NO_LABEL;
  fit.event = JLT_WIRE_ANY_EVENT;
}

// Labels lie behind the samples, in their order.
static uint16_t label_of(uint32_t sample) {
  uint32_t bytes;
  const jlt_wire_samples_t *samples = jlt_slot_content(JLT_WIRE_SLOT_SAMPLES, &bytes);
  if (!samples || bytes < sizeof(*samples) || sample >= samples->count) {
    return NO_LABEL;
  }
  const uint64_t at = sizeof(*samples) + (uint64_t)samples->count * samples->stride;
  const bool there = at + 2u * (uint64_t)samples->count <= bytes;
  return there ? ((const uint16_t *)(const void *)((const uint8_t *)samples + at))[sample] : (uint16_t)NO_LABEL;
}

jlt_status_t jlt_refit_label(uint32_t event, uint16_t label) {
  if (fit.status || jlt_loaded.status != JLT_OK) {
    return JLT_ERR_ABSENT;
  }
  if (label >= fit.refit.head.n_classes) {
    fit.refused++;
    return JLT_ERR_ARGUMENT;
  }
  if (!fit.refit.head.fresh || (event != JLT_WIRE_ANY_EVENT && event != fit.event)) {
    fit.refused++;
    return JLT_ERR_STATE;
  }
  fit.label = label;
  return JLT_OK;
}

void jlt_refit_answered(const jlt_wire_event_record_t *event) {
  if (fit.status || !fit.refit.head.fresh) {
    return;
  }
  fit.event = event->index;
  const bool last = event->exit + 1u == fit.refit.container->model->n_exits;
  if (fit.plan->flags & JLT_WIRE_REFIT_FLAG_LABELLED) {
    const uint16_t label = label_of(event->sample);
    if (label != NO_LABEL) {
      (void)jlt_refit_label(event->index, label);
    }
  } else if ((fit.plan->flags & JLT_WIRE_REFIT_FLAG_DISTIL) && last && event->confidence_q15 >= fit.plan->sure_q15) {
    (void)jlt_refit_label(event->index, event->predicted);
  }
}

bool jlt_refit_due(void) { return fit.status == JLT_OK && fit.label != NO_LABEL && fit.refit.head.fresh; }

void jlt_refit_learn(void) {
  jlt_mark(JLT_PHASE_REFIT);
  if (jlt_refit_update(&fit.refit, fit.label) == JLT_OK) {
    fit.unkept++;
  } else {
    fit.refused++;
  }
  fit.label = NO_LABEL;
  if (fit.keeps && fit.unkept >= fit.plan->keep_every) {
    (void)keep();  // what could not be kept is tried again after the next
  }
  jlt_mark(JLT_PHASE_IDLE);
}

/// What the link reads ///

static const uint8_t *head_bytes(uint32_t *bytes) {
  const jlt_head_t *head = &fit.refit.head;
  *bytes = fit.status ? 0u : 12u * head->n_classes + (uint32_t)head->n_classes * head->n_features;
  return (const uint8_t *)head->bias;
}

uint32_t jlt_refit_state_bytes(void) {
  uint32_t bytes;
  (void)head_bytes(&bytes);
  return (uint32_t)sizeof(jlt_wire_refit_state_t) + bytes;
}

bool jlt_refit_read(uint32_t offset, uint8_t *to, uint32_t bytes) {
  const jlt_wire_refit_state_t state = {
      .status = fit.status,
      .updates = fit.refit.updates,
      .sequence = fit.sequence,
      .refused = fit.refused,
      .n_features = fit.status ? 0u : fit.refit.head.n_features,
      .n_classes = fit.status ? 0u : fit.refit.head.n_classes,
      .kept = fit.keeps,
      .exit = fit.refit.head.exit,
  };
  uint32_t behind;
  const uint8_t *head = head_bytes(&behind);
  const uint32_t total = jlt_refit_state_bytes();
  if (offset > total || bytes > total - offset) {
    return false;
  }
  for (uint32_t i = 0; i < bytes; i++) {
    const uint32_t at = offset + i;
    to[i] = at < sizeof(state) ? ((const uint8_t *)&state)[at] : head[at - sizeof(state)];
  }
  return true;
}
