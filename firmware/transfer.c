// SPDX-License-Identifier: Apache-2.0
#include "transfer.h"

#include <string.h>

#include "activation.h"
#include "core/crc32.h"
#include "core/sha256.h"
#include "input.h"
#include "model.h"
#include "port.h"
#include "signature.h"
#include "trust.h"

enum { HELD_BYTES = 8 };

static struct {
  jlt_wire_begin_t begin;
  uint32_t next;             // first byte that is missing
  uint32_t erased;           // of the slot, from its start
  uint8_t held[HELD_BYTES];  // the first bytes: without them nothing passes a check, and they are written last
  bool running;
} transfer;

static bool is_update(uint8_t slot) { return slot == JLT_WIRE_SLOT_MODEL || slot == JLT_WIRE_SLOT_POLICY; }

// The side that a transfer goes to.
static uint32_t side_of(uint8_t slot) {
  if (!is_update(slot) || !jlt_has_sides(slot)) {
    return JLT_SIDE_A;
  }
  return 1u - (slot == JLT_WIRE_SLOT_MODEL ? jlt_loaded.model_side : jlt_loaded.policy_side);
}

static bool region_of(uint8_t slot, jlt_region_t *region) {
  const jlt_region_t input = {(uintptr_t)jlt_loaded.input, jlt_loaded.input_bytes, 0};
  switch (slot) {
    case JLT_WIRE_SLOT_INPUT: *region = input; return region->bytes > 0;
    case JLT_WIRE_SLOT_MODEL:
    case JLT_WIRE_SLOT_POLICY: *region = *jlt_side_region(slot, side_of(slot)); break;
    case JLT_WIRE_SLOT_SAMPLES: *region = jlt_board.samples; break;
    case JLT_WIRE_SLOT_SESSION: *region = jlt_board.session; break;
    default: return false;
  }
  return region->bytes > 0 && jlt_board.flash.driver;
}

static void tell(jlt_wire_progress_t *progress, jlt_status_t status) {
  *progress = (jlt_wire_progress_t){.next = transfer.next, .status = status, .slot = transfer.begin.slot};
}

// A model that is being replaced where it lies is no model: nothing runs on bytes that change under it.
static void invalidate(uint8_t slot) {
  if (slot == JLT_WIRE_SLOT_INPUT) {
    jlt_loaded.fed = jlt_loaded.floats = false;
  } else if (is_update(slot) && jlt_has_sides(slot)) {
    jlt_other_forget(slot);
  } else if (slot == JLT_WIRE_SLOT_MODEL) {
    jlt_loaded.status = JLT_ERR_STATE;
    jlt_loaded.answered = false;
  } else if (slot == JLT_WIRE_SLOT_POLICY) {
    jlt_loaded.policy_status = JLT_ERR_POLICY;
  }
}

void jlt_transfer_begin(const jlt_wire_begin_t *begin, jlt_wire_progress_t *progress) {
  jlt_region_t region;
  if (!region_of(begin->slot, &region) || begin->bytes == 0 || begin->bytes > region.bytes ||
      (begin->slot == JLT_WIRE_SLOT_INPUT && begin->bytes != region.bytes)) {
    *progress = (jlt_wire_progress_t){.status = JLT_ERR_ARGUMENT, .slot = begin->slot};
    return;
  }
  const bool same = transfer.running && memcmp(begin, &transfer.begin, sizeof(*begin)) == 0;
  if (!same && !jlt_distrust(jlt_trust_index(begin->slot, side_of(begin->slot)))) {
    *progress = (jlt_wire_progress_t){.status = JLT_ERR_STATE, .slot = begin->slot};
    return;
  }
  if (!same) {
    transfer.begin = *begin;
    transfer.next = 0;
    transfer.erased = 0;
    transfer.running = true;
    invalidate(begin->slot);
  }
  tell(progress, JLT_OK);
}

// The last granule is padded as erased.
static bool program(uintptr_t to, const uint8_t *data, uint32_t bytes) {
  const jlt_flash_t *flash = &jlt_board.flash;
  const uint32_t whole = bytes & ~(flash->granule_bytes - 1u);
  if (whole > 0 && !flash->driver->program(flash, to, data, whole)) {
    return false;
  }
  if (whole == bytes) {
    return true;
  }
  uint8_t last[HELD_BYTES];
  memset(last, 0xFF, sizeof(last));
  memcpy(last, data + whole, bytes - whole);
  return flash->driver->program(flash, to + whole, last, flash->granule_bytes);
}

static uint32_t held_bytes(void) {
  return transfer.begin.bytes < HELD_BYTES ? transfer.begin.bytes : (uint32_t)HELD_BYTES;
}

// Erases page by page, only as far as the data goes.
static bool store(const jlt_region_t *region, uint32_t offset, const uint8_t *data, uint32_t bytes) {
  const jlt_flash_t *flash = &jlt_board.flash;
  if (transfer.begin.slot == JLT_WIRE_SLOT_INPUT) {
    memcpy((uint8_t *)region->address + offset, data, bytes);
    return true;
  }
  while (transfer.erased < offset + bytes) {
    if (!flash->driver->erase(flash, region->address + transfer.erased, region->page_bytes)) {
      return false;
    }
    transfer.erased += region->page_bytes;
  }
  const uint32_t held = offset == 0 ? held_bytes() : 0;
  memcpy(transfer.held, data, held);
  return program(region->address + offset + held, data + held, bytes - held);
}

void jlt_transfer_chunk(const jlt_wire_chunk_t *chunk, const uint8_t *data, uint32_t bytes,
                        jlt_wire_progress_t *progress) {
  jlt_region_t region;
  if (!transfer.running || chunk->slot != transfer.begin.slot || !region_of(chunk->slot, &region)) {
    tell(progress, JLT_ERR_STATE);
    return;
  }
  const bool last = chunk->offset + bytes == transfer.begin.bytes;
  const bool fits = chunk->offset == transfer.next && bytes <= transfer.begin.bytes - transfer.next && bytes > 0 &&
                    (last || bytes % sizeof(uint64_t) == 0);
  // out of order or once more: the answer says what is missing
  if (fits) {
    if (!store(&region, chunk->offset, data, bytes)) {
      transfer.running = false;
      tell(progress, JLT_ERR_STATE);
      return;
    }
    transfer.next += bytes;
  }
  tell(progress, JLT_OK);
}

/// What has arrived ///

static bool arrived(const jlt_region_t *region) {
  const uint32_t held = transfer.begin.slot == JLT_WIRE_SLOT_INPUT ? 0 : held_bytes();
  const uint32_t crc = jlt_crc32(0, transfer.held, held);
  return jlt_crc32(crc, (const uint8_t *)region->address + held, transfer.begin.bytes - held) == transfer.begin.crc32;
}

// Not inlined: the digest is done with before the content is checked.
__attribute__((noinline)) static jlt_status_t authentic(const jlt_region_t *region, const jlt_wire_commit_t *commit) {
  const bool must = jlt_signed_only() && is_update(transfer.begin.slot);
  if (!commit) {
    return must ? JLT_ERR_SIGNATURE : JLT_OK;
  }
  jlt_wire_signed_t what = {.magic = "joulet-update-1", .slot = transfer.begin.slot, .bytes = transfer.begin.bytes};
  const uint32_t held = transfer.begin.slot == JLT_WIRE_SLOT_INPUT ? 0 : held_bytes();
  jlt_sha256_t sha;
  jlt_sha256_begin(&sha);
  jlt_sha256_take(&sha, transfer.held, held);
  jlt_sha256_take(&sha, (const uint8_t *)region->address + held, transfer.begin.bytes - held);
  jlt_sha256_end(&sha, what.sha256);
  if (memcmp(what.sha256, commit->sha256, sizeof(what.sha256)) != 0) {
    return JLT_ERR_DIGEST;
  }
  return must && !jlt_signed(commit->signature, &what, sizeof(what)) ? JLT_ERR_SIGNATURE : JLT_OK;
}

static jlt_status_t use_side(uint8_t slot, uint32_t side) {
  if (jlt_has_sides(slot)) {
    const jlt_status_t err = (jlt_status_t)jlt_side_check(slot, side);
    const bool model = slot == JLT_WIRE_SLOT_MODEL;
    if (err) {
      return err;
    }
    if (!jlt_activate(model ? side : jlt_loaded.model_side, model ? jlt_loaded.policy_side : side)) {
      return JLT_ERR_STATE;
    }
  }
  if (slot == JLT_WIRE_SLOT_MODEL) {
    jlt_model_load();
    return (jlt_status_t)jlt_loaded.status;
  }
  jlt_policy_load();
  return (jlt_status_t)jlt_loaded.policy_status;
}

static jlt_status_t take_over(void) {
  uint32_t bytes;
  switch (transfer.begin.slot) {
    case JLT_WIRE_SLOT_MODEL:
    case JLT_WIRE_SLOT_POLICY: return use_side(transfer.begin.slot, side_of(transfer.begin.slot));
    case JLT_WIRE_SLOT_SESSION:
#if JLT_WITH_REFIT
      jlt_model_load();  // it may say that a head is to be fitted, and memory is divided anew
#endif
    // fall through
    case JLT_WIRE_SLOT_SAMPLES: return jlt_slot_content(transfer.begin.slot, &bytes) ? JLT_OK : JLT_ERR_MAGIC;
    default:
      jlt_loaded.fed = true;
      jlt_input_arrived();
      return JLT_OK;
  }
}

void jlt_transfer_commit(const jlt_wire_commit_t *commit, jlt_wire_progress_t *progress) {
  jlt_region_t region;
  if (!transfer.running || transfer.next != transfer.begin.bytes || !region_of(transfer.begin.slot, &region)) {
    tell(progress, JLT_ERR_STATE);
    return;
  }
  transfer.running = false;
  const jlt_status_t err = arrived(&region) ? authentic(&region, commit) : JLT_ERR_CRC;
  if (err) {
    transfer.next = 0;
    tell(progress, err);
    return;
  }
  const bool whole =
      transfer.begin.slot == JLT_WIRE_SLOT_INPUT || program(region.address, transfer.held, held_bytes());
  tell(progress, whole ? take_over() : JLT_ERR_STATE);
}

bool jlt_transfer_into_flash(void) { return transfer.running && transfer.begin.slot != JLT_WIRE_SLOT_INPUT; }

int32_t jlt_transfer_rollback(uint8_t slot) {
  if (!is_update(slot)) {
    return JLT_ERR_ARGUMENT;
  }
  if (!jlt_has_sides(slot)) {
    return JLT_ERR_ABSENT;
  }
  if (!jlt_side_vouched(slot, side_of(slot))) {
    return JLT_ERR_SIGNATURE;
  }
  const jlt_status_t err = use_side(slot, side_of(slot));
  if (err == JLT_OK && transfer.begin.slot == slot) {
    transfer.running = false;
  }
  return err;
}
