// SPDX-License-Identifier: Apache-2.0
// In memory that is written byte by byte, two records take turns. In flash they follow one another through a ring of
// pages; a page is erased when the last record has left it, and what a cut has torn is passed.
#include "activation.h"

#include <stddef.h>
#include <string.h>

#include "core/crc32.h"
#include "core/format.h"
#include "journal.h"
#include "signature.h"

enum { STRIDE = 64, HEAD_BYTES = 64, NOWHERE = -1, TRIES = 4 };
typedef jlt_wire_activation_t record_t;

_Static_assert(sizeof(record_t) <= STRIDE && sizeof(record_t) % 8u == 0, "whole granules");
_Static_assert(JLT_WIRE_ACTIVATIONS_AT + 2 * STRIDE == JLT_WIRE_JOURNAL_AT, "room for two");

static struct {
  record_t last;  // the newest one; zeros without
  int32_t at;     // its place, or NOWHERE
  bool keeps;     // there is memory for it
  bool heeded;    // it is of this firmware
} activation;

static bool in_flash(void) { return jlt_board.nvm.driver && jlt_board.nvm.driver->erase; }

static int32_t places(void) { return in_flash() ? (int32_t)(jlt_board.activation.bytes / STRIDE) : 2; }

static uint32_t crc_of(const record_t *record) { return jlt_crc32(0, record, offsetof(record_t, crc32)); }

static const uint8_t *in_ring(int32_t place) {
  return (const uint8_t *)jlt_board.activation.address + (uint32_t)place * STRIDE;
}

static bool read(int32_t place, record_t *record) {
  if (in_flash()) {
    memcpy(record, in_ring(place), sizeof(*record));
    return true;
  }
  return jlt_board.nvm.driver->read(&jlt_board.nvm, JLT_WIRE_ACTIVATIONS_AT + (uint32_t)place * STRIDE, record,
                                    sizeof(*record));
}

static bool newer(const record_t *record) {
  return activation.at == NOWHERE || record->sequence > activation.last.sequence;
}

void jlt_activation_open(void) {
  const jlt_region_t *ring = &jlt_board.activation;
  memset(&activation, 0, sizeof(activation));
  activation.at = NOWHERE;
  activation.keeps = jlt_journal_bytes() >= JLT_WIRE_JOURNAL_AT &&
                     (!in_flash() || (ring->bytes > ring->page_bytes && jlt_board.flash.driver));
  for (int32_t place = 0; activation.keeps && place < places(); place++) {
    record_t record;
    if (read(place, &record) && record.sequence != 0 && record.sequence != UINT32_MAX && newer(&record) &&
        record.crc32 == crc_of(&record)) {
      activation.last = record;
      activation.at = place;
    }
  }
  activation.heeded = memcmp(activation.last.build_id, jlt_board.build_id, sizeof(jlt_board.build_id)) == 0;
}

bool jlt_has_sides(uint32_t slot) {
  return activation.keeps && ((slot == JLT_WIRE_SLOT_MODEL && jlt_board.model_b.bytes > 0) ||
                              (slot == JLT_WIRE_SLOT_POLICY && jlt_board.policy_b.bytes > 0));
}

const jlt_region_t *jlt_side_region(uint32_t slot, uint32_t side) {
  const bool b = side == JLT_SIDE_B && jlt_has_sides(slot);
  if (slot == JLT_WIRE_SLOT_MODEL) {
    return b ? &jlt_board.model_b : &jlt_board.model;
  }
  return b ? &jlt_board.policy_b : &jlt_board.policy;
}

static uint32_t head_crc(const jlt_region_t *a) {
  return a->bytes >= HEAD_BYTES ? jlt_crc32(0, (const void *)a->address, HEAD_BYTES) : 0;
}

// Who wrote side A with a programmer means it to run: a record that was written beside another A is void.
uint32_t jlt_side_named(uint32_t slot) {
  const record_t *last = &activation.last;
  const bool model = slot == JLT_WIRE_SLOT_MODEL;
  if (!activation.heeded || !jlt_has_sides(slot) || (model ? last->model_side : last->policy_side) != JLT_SIDE_B ||
      head_crc(jlt_side_region(slot, JLT_SIDE_A)) != (model ? last->model_head_crc32 : last->policy_head_crc32)) {
    return JLT_SIDE_A;
  }
  const jlt_header_t *b = (const void *)jlt_board.model_b.address;
  const bool same = !model || memcmp(b->model_hash, last->model_hash, sizeof(last->model_hash)) == 0;
  return same ? JLT_SIDE_B : JLT_SIDE_A;
}

bool jlt_side_vouched(uint32_t slot, uint32_t side) {
  return side == JLT_SIDE_A || !jlt_signed_only() || (activation.heeded && (activation.last.vouched >> slot & 1u));
}

/// Writing ///

static bool is_blank(const uint8_t *from, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    if (from[i] != 0xFF) {
      return false;
    }
  }
  return true;
}

// The next place of the ring that can be written; pages are erased on the way, never the one of the newest record.
static int32_t next_in_ring(int32_t place) {
  const jlt_region_t *ring = &jlt_board.activation;
  const int32_t a_page = (int32_t)(ring->page_bytes / STRIDE);
  for (int32_t i = 0; i < places(); i++) {
    place = place + 1 < places() ? place + 1 : 0;
    if (is_blank(in_ring(place), STRIDE)) {
      return place;
    }
    const bool own = activation.at != NOWHERE && activation.at / a_page == place / a_page;
    if (place % a_page == 0 && !own &&
        jlt_board.flash.driver->erase(&jlt_board.flash, (uintptr_t)in_ring(place), ring->page_bytes)) {
      return place;
    }
  }
  return NOWHERE;
}

static bool append_to_ring(const record_t *record) {
  int32_t place = activation.at;
  for (uint32_t i = 0; i < TRIES; i++) {
    place = next_in_ring(place);
    if (place == NOWHERE) {
      return false;
    }
    (void)jlt_board.flash.driver->program(&jlt_board.flash, (uintptr_t)in_ring(place), (const void *)record,
                                          sizeof(*record));
    if (memcmp(in_ring(place), record, sizeof(*record)) == 0) {
      activation.at = place;
      return true;
    }
  }
  return false;
}

static bool take_turns(const record_t *record) {
  record_t back;
  const int32_t place = activation.at == 0 ? 1 : 0;
  const uint32_t to = JLT_WIRE_ACTIVATIONS_AT + (uint32_t)place * STRIDE;
  if (!jlt_board.nvm.driver->write(&jlt_board.nvm, to, record, sizeof(*record)) || !read(place, &back) ||
      memcmp(&back, record, sizeof(back)) != 0) {
    return false;
  }
  activation.at = place;
  return true;
}

bool jlt_activate(uint32_t model_side, uint32_t policy_side) {
  if (!activation.keeps) {
    return false;
  }
  record_t record = {
      .sequence = activation.last.sequence + 1u,
      .model_side = (uint8_t)model_side,
      .policy_side = (uint8_t)policy_side,
      .model_head_crc32 = head_crc(&jlt_board.model),
      .policy_head_crc32 = head_crc(&jlt_board.policy),
  };
  record.vouched = (uint8_t)((activation.heeded ? activation.last.vouched : 0u) |
                             model_side << JLT_WIRE_SLOT_MODEL | policy_side << JLT_WIRE_SLOT_POLICY);
  const jlt_header_t *model = (const void *)jlt_side_region(JLT_WIRE_SLOT_MODEL, model_side)->address;
  memcpy(record.build_id, jlt_board.build_id, sizeof(record.build_id));
  memcpy(record.model_hash, model->model_hash, sizeof(record.model_hash));
  record.crc32 = crc_of(&record);
  if (!(in_flash() ? append_to_ring(&record) : take_turns(&record))) {
    return false;
  }
  activation.last = record;
  activation.heeded = true;
  return true;
}
