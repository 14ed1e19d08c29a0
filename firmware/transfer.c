// SPDX-License-Identifier: Apache-2.0
#include "transfer.h"

#include <string.h>

#include "core/crc32.h"
#include "input.h"
#include "model.h"
#include "port.h"
#include "trust.h"

static struct {
  jlt_wire_begin_t begin;
  uint32_t next;    // first byte that is missing
  uint32_t erased;  // of the slot, from its start
  bool running;
} transfer;

static bool region_of(uint8_t slot, jlt_region_t *region) {
  const jlt_region_t input = {(uintptr_t)jlt_loaded.input, jlt_loaded.input_bytes, 0};
  const jlt_region_t regions[] = {
      [JLT_WIRE_SLOT_INPUT] = input,
      [JLT_WIRE_SLOT_MODEL] = jlt_board.model,
      [JLT_WIRE_SLOT_POLICY] = jlt_board.policy,
      [JLT_WIRE_SLOT_SAMPLES] = jlt_board.samples,
      [JLT_WIRE_SLOT_SESSION] = jlt_board.session,
  };
  if (slot >= sizeof(regions) / sizeof(regions[0])) {
    return false;
  }
  *region = regions[slot];
  return region->bytes > 0 && (slot == JLT_WIRE_SLOT_INPUT || jlt_board.flash.driver);
}

static void tell(jlt_wire_progress_t *progress, jlt_status_t status) {
  *progress = (jlt_wire_progress_t){.next = transfer.next, .status = status, .slot = transfer.begin.slot};
}

// A model that is being replaced is no model: nothing runs on bytes that change under it.
static void invalidate(uint8_t slot) {
  if (slot == JLT_WIRE_SLOT_MODEL) {
    jlt_loaded.status = JLT_ERR_STATE;
    jlt_loaded.answered = false;
  } else if (slot == JLT_WIRE_SLOT_POLICY) {
    jlt_loaded.policy_status = JLT_ERR_POLICY;
  } else if (slot == JLT_WIRE_SLOT_INPUT) {
    jlt_loaded.fed = jlt_loaded.floats = false;
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
  if (!same && !jlt_distrust(begin->slot)) {
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
  const uint32_t whole = bytes & ~(flash->granule_bytes - 1u);
  if (whole > 0 && !flash->driver->program(flash, region->address + offset, data, whole)) {
    return false;
  }
  if (whole == bytes) {
    return true;
  }
  uint8_t last[8];  // of the last granule: padded as erased
  memset(last, 0xFF, sizeof(last));
  memcpy(last, data + whole, bytes - whole);
  return flash->driver->program(flash, region->address + offset + whole, last, flash->granule_bytes);
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

void jlt_transfer_commit(jlt_wire_progress_t *progress) {
  jlt_region_t region;
  if (!transfer.running || transfer.next != transfer.begin.bytes || !region_of(transfer.begin.slot, &region)) {
    tell(progress, JLT_ERR_STATE);
    return;
  }
  transfer.running = false;
  if (jlt_crc32(0, (const void *)region.address, transfer.begin.bytes) != transfer.begin.crc32) {
    transfer.next = 0;
    tell(progress, JLT_ERR_CRC);
    return;
  }
  jlt_status_t status = JLT_OK;
  uint32_t bytes;
  switch (transfer.begin.slot) {
    case JLT_WIRE_SLOT_MODEL:
      jlt_model_load();
      status = (jlt_status_t)jlt_loaded.status;
      break;
    case JLT_WIRE_SLOT_POLICY:
      jlt_policy_load();
      status = (jlt_status_t)jlt_loaded.policy_status;
      break;
    case JLT_WIRE_SLOT_SAMPLES:
    case JLT_WIRE_SLOT_SESSION:
      status = jlt_slot_content(transfer.begin.slot, &bytes) ? JLT_OK : JLT_ERR_MAGIC;
      break;
    default:
      jlt_loaded.fed = true;
      jlt_input_arrived();
      break;
  }
  tell(progress, status);
}
