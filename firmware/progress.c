// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <stddef.h>
#include <string.h>

#include "board.h"
#include "core/arena.h"
#include "core/crc32.h"
#include "core/live.h"
#include "journal.h"
#include "model.h"
#include "port.h"
#include "ring.h"

// The memory's first part is the journal's; records come next, then tensors.
enum { RECORDS_AT = JLT_JOURNAL_END, RECORD_ROOM = 256, TENSORS_AT = RECORDS_AT + 2 * RECORD_ROOM };

enum { RECORD_BYTES = offsetof(jlt_progress_record_t, crc32) + 4 };  // the checksum is the last word written

_Static_assert(sizeof(jlt_progress_record_t) <= RECORD_ROOM, "two records, side by side");

static struct {
  uint32_t sequence;
  uint32_t epoch;
  bool ready;
} progress;

static bool read_at(uint32_t from, void *to, uint32_t bytes) {
  return jlt_board.nvm.driver->read(&jlt_board.nvm, from, to, bytes);
}

static bool write_at(uint32_t to, const void *from, uint32_t bytes) {
  return jlt_board.nvm.driver->write(&jlt_board.nvm, to, from, bytes);
}

// Inputs of the model lie in flash and are read from there again.
static bool is_kept(uint16_t tensor) {
  const jlt_container_t *c = &jlt_loaded.container;
  return c->arena_offsets[tensor] != JLT_NO_OFFSET && !(c->tensors[tensor].flags & JLT_TENSOR_FLAG_INPUT);
}

static uint32_t room_of(uint16_t tensor) {
  const jlt_tensor_t *tensors = jlt_loaded.container.tensors;
  return is_kept(tensor) ? (jlt_tensor_bytes(&tensors[tensor]) + 3u) & ~3u : 0u;
}

// A place of its own for every tensor: whatever a record needs, nothing after it overwrites.
static uint32_t place_of(uint16_t tensor) {
  uint32_t at = TENSORS_AT;
  for (uint16_t i = 0; i < tensor; i++) {
    at += room_of(i);
  }
  return at;
}

static const uint8_t *model_hash(void) {
  return ((const jlt_header_t *)(const void *)jlt_loaded.container.base)->model_hash;
}

// Known when the board is built: others have no room for the ring.
static bool in_ring(void) { return BOARD_KEEPS_IN_FLASH; }

// Entries of another plan, firmware or model are not seen.
static bool open_ring(void) {
  uint32_t tag = jlt_crc32(progress.epoch, jlt_board.build_id, sizeof(jlt_board.build_id));
  tag = jlt_crc32(tag, model_hash(), sizeof(((jlt_progress_record_t *)0)->model_hash));
  return jlt_ring_open(tag, RECORD_BYTES + jlt_loaded.container.arena->tensor_bytes);
}

uint32_t jlt_progress_end(void) {
  uint64_t end = TENSORS_AT;
  for (uint16_t i = 0; i < jlt_loaded.container.model->n_tensors; i++) {
    end += room_of(i);
  }
  return end < UINT32_MAX ? (uint32_t)end : UINT32_MAX;
}

bool jlt_progress_open(uint32_t epoch) {
  progress.epoch = epoch;
  progress.ready = false;
  if (jlt_loaded.status != JLT_OK || !jlt_board.nvm.driver) {
    return false;
  }
  progress.ready = in_ring() ? open_ring() : jlt_progress_end() <= jlt_journal_bytes();
  jlt_progress_record_t record;
  progress.sequence = progress.ready && jlt_progress_load(&record) ? record.sequence : 0u;
  return progress.ready;
}

bool jlt_progress_ready(void) { return progress.ready; }

bool jlt_progress_appends(void) { return progress.ready && in_ring(); }

static uint32_t crc_of(const jlt_progress_record_t *record) {
  return jlt_crc32(0, record, offsetof(jlt_progress_record_t, crc32));
}

static uint8_t *in_arena(uint16_t tensor) {
  return jlt_arena_at(&jlt_loaded.engine, jlt_loaded.container.arena_offsets[tensor]);
}

// Output of the op that the engine is in the middle of; NO_INDEX between two ops.
static uint16_t open_output(void) {
  const jlt_engine_t *e = &jlt_loaded.engine;
  return e->unit > 0 ? e->container->ops[e->next_op].output : JLT_NO_INDEX;
}

// A tensor that the engine must have whole to go on.
static bool is_needed(uint16_t tensor) {
  const jlt_engine_t *e = &jlt_loaded.engine;
  return tensor != open_output() && is_kept(tensor) && jlt_live_at(e->container, e->next_op, e->unit, tensor);
}

// All that is needed, in the order of tensors; the output that is being written comes last, as it may lie on an input.
static bool write_entry(const jlt_progress_record_t *record) {
  const jlt_container_t *c = &jlt_loaded.container;
  const uint16_t output = open_output();
  const uint32_t part = record->running && output != JLT_NO_INDEX ? record->part_to : 0u;
  uint32_t bytes = RECORD_BYTES + part;
  for (uint16_t i = 0; record->running && i < c->model->n_tensors; i++) {
    bytes += is_needed(i) ? jlt_tensor_bytes(&c->tensors[i]) : 0u;
  }
  bool ok = jlt_ring_begin(bytes) && jlt_ring_add(record, RECORD_BYTES);
  for (uint16_t i = 0; ok && record->running && i < c->model->n_tensors; i++) {
    ok = !is_needed(i) || jlt_ring_add(in_arena(i), jlt_tensor_bytes(&c->tensors[i]));
  }
  return ok && (part == 0 || jlt_ring_add(in_arena(output), part)) && jlt_ring_end();
}

bool jlt_progress_prepare(void) { return !in_ring() || jlt_ring_prepare(); }

bool jlt_progress_commit(jlt_progress_record_t *record) {
  record->sequence = ++progress.sequence;
  record->epoch = progress.epoch;
  memcpy(record->build_id, jlt_board.build_id, sizeof(record->build_id));
  memcpy(record->model_hash, model_hash(), sizeof(record->model_hash));
  record->crc32 = crc_of(record);
  if (in_ring()) {
    return write_entry(record);
  }
  return write_at(RECORDS_AT + (record->sequence & 1u) * RECORD_ROOM, record, RECORD_BYTES);
}

static bool is_ours(const jlt_progress_record_t *record) {
  return record->crc32 == crc_of(record) && record->epoch == progress.epoch &&
         memcmp(record->build_id, jlt_board.build_id, sizeof(record->build_id)) == 0 &&
         memcmp(record->model_hash, model_hash(), sizeof(record->model_hash)) == 0;
}

bool jlt_progress_load(jlt_progress_record_t *record) {
  if (in_ring()) {
    return jlt_ring_newest_bytes() >= RECORD_BYTES && jlt_ring_read(0, record, RECORD_BYTES) && is_ours(record);
  }
  jlt_progress_record_t other;
  const bool first = read_at(RECORDS_AT, record, RECORD_BYTES) && is_ours(record);
  const bool second = read_at(RECORDS_AT + RECORD_ROOM, &other, RECORD_BYTES) && is_ours(&other);
  if (second && (!first || (int32_t)(other.sequence - record->sequence) > 0)) {
    *record = other;
  }
  return first || second;
}

bool jlt_tensor_bit(const uint32_t *bits, uint16_t tensor) { return bits[tensor / 32u] >> tensor % 32u & 1u; }

void jlt_set_tensor_bit(uint32_t *bits, uint16_t tensor, bool on) {
  const uint32_t bit = 1u << tensor % 32u;
  bits[tensor / 32u] = on ? bits[tensor / 32u] | bit : bits[tensor / 32u] & ~bit;
}

// Goes on where memory ends; notes how far it has come only when that stands.
static bool store(jlt_tensors_t *tensors, uint16_t tensor, uint32_t to) {
  const uint32_t whole = jlt_tensor_bytes(&jlt_loaded.container.tensors[tensor]);
  const uint32_t from = tensor == tensors->part ? tensors->part_to : 0u;
  if (!is_kept(tensor) || jlt_tensor_bit(tensors->kept, tensor)) {
    return true;
  }
  if (in_ring()) {  // it goes with the record
    tensors->part = tensor;
    tensors->part_to = to;
    return true;
  }
  if (from < to && !write_at(place_of(tensor) + from, in_arena(tensor) + from, to - from)) {
    return false;
  }
  if (to == whole && tensor != open_output()) {
    jlt_set_tensor_bit(tensors->kept, tensor, true);
  } else {
    tensors->part = tensor;
    tensors->part_to = to;
  }
  return true;
}

bool jlt_progress_store_tile(jlt_tensors_t *tensors) {
  uint16_t tensor;
  uint32_t from, to;
  if (jlt_engine_written(&jlt_loaded.engine, &tensor, &from, &to) != JLT_OK) {
    return false;
  }
  // what came before has been kept, tile by tile: by now, or before the cut
  if (tensor != tensors->part) {
    tensors->part = tensor;
    tensors->part_to = from;
  }
  return store(tensors, tensor, to);
}

bool jlt_progress_store_live(jlt_tensors_t *tensors) {
  const jlt_engine_t *e = &jlt_loaded.engine;
  const jlt_container_t *c = e->container;
  const uint16_t output = open_output();
  bool ok = true;
  for (uint16_t i = 0; ok && i < c->model->n_tensors; i++) {
    if (jlt_tensor_bit(tensors->present, i) && is_needed(i)) {
      ok = store(tensors, i, jlt_tensor_bytes(&c->tensors[i]));
    }
  }
  uint16_t tensor;
  uint32_t from, to;
  if (ok && output != JLT_NO_INDEX) {
    ok = jlt_engine_written(e, &tensor, &from, &to) == JLT_OK && store(tensors, output, to);
  }
  return ok;
}

static bool resume_from_ring(jlt_tensors_t *tensors) {
  const jlt_container_t *c = &jlt_loaded.container;
  uint32_t at = RECORD_BYTES;
  bool ok = true;
  for (uint16_t i = 0; ok && i < c->model->n_tensors; i++) {
    if (is_needed(i)) {
      const uint32_t bytes = jlt_tensor_bytes(&c->tensors[i]);
      ok = jlt_ring_read(at, in_arena(i), bytes);
      at += bytes;
    }
  }
  const uint16_t output = open_output();
  if (ok && output != JLT_NO_INDEX) {
    ok = tensors->part_to <= jlt_tensor_bytes(&c->tensors[output]) &&
         jlt_ring_read(at, in_arena(output), tensors->part_to);
  }
  memset(tensors->present, 0xFF, sizeof(tensors->present));
  return ok;
}

bool jlt_progress_resume(jlt_tensors_t *tensors, uint32_t part_to) {
  const jlt_engine_t *e = &jlt_loaded.engine;
  memset(tensors, 0, sizeof(*tensors));
  tensors->part = open_output();
  tensors->part_to = part_to;
  if (in_ring()) {
    return resume_from_ring(tensors);
  }
  for (uint16_t i = 0; i < e->container->model->n_tensors; i++) {
    jlt_set_tensor_bit(tensors->kept, i, is_needed(i));
  }
  return true;
}

bool jlt_progress_fetch(uint16_t tensor, uint32_t bytes) {
  const uint32_t whole = jlt_tensor_bytes(&jlt_loaded.container.tensors[tensor]);
  return !is_kept(tensor) || read_at(place_of(tensor), in_arena(tensor), bytes < whole ? bytes : whole);
}
