// SPDX-License-Identifier: Apache-2.0
#include "journal.h"

#include <stddef.h>

#include "core/crc32.h"
#include "port.h"

// The head of the memory counts resets and holds a note and activations; records follow.
enum { COUNTER_MAGIC = 0x52544C4A, NOTE_AT = 16, NOTE_END = JLT_WIRE_ACTIVATIONS_AT };
enum { RECORDS_AT = JLT_WIRE_JOURNAL_AT, RECORD_BYTES = sizeof(jlt_wire_event_record_t) };

static struct {
  uint32_t bytes;
  uint32_t resets;
  uint32_t epoch;
  uint32_t count;  // records of this epoch
} journal;

static bool read_at(uint32_t from, void *to, uint32_t bytes) {
  return jlt_board.nvm.driver->read(&jlt_board.nvm, from, to, bytes);
}

static bool write_at(uint32_t to, const void *from, uint32_t bytes) {
  return jlt_board.nvm.driver->write(&jlt_board.nvm, to, from, bytes);
}

static void count_reset(void) {
  uint32_t head[2];
  if (jlt_board.nvm.driver->erase || !read_at(0, head, sizeof(head))) {
    return;
  }
  head[1] = head[0] == COUNTER_MAGIC ? head[1] + 1u : 1u;
  head[0] = COUNTER_MAGIC;
  if (write_at(0, head, sizeof(head))) {
    journal.resets = head[1];
  }
}

void jlt_journal_open(void) {
  journal.bytes = jlt_board.nvm.driver ? jlt_board.nvm.driver->open(&jlt_board.nvm) : 0;
  if (journal.bytes > 0) {
    count_reset();
  }
}

uint32_t jlt_journal_bytes(void) { return journal.bytes; }

uint32_t jlt_journal_resets(void) { return journal.resets; }

static bool keeps_notes(uint32_t bytes) {
  return journal.bytes >= RECORDS_AT && !jlt_board.nvm.driver->erase && bytes <= NOTE_END - NOTE_AT;
}

bool jlt_journal_note_read(void *to, uint32_t bytes) { return keeps_notes(bytes) && read_at(NOTE_AT, to, bytes); }

bool jlt_journal_note_write(const void *from, uint32_t bytes) {
  return keeps_notes(bytes) && write_at(NOTE_AT, from, bytes);
}

static uint32_t crc_of(const jlt_wire_event_record_t *record) {
  return jlt_crc32(journal.epoch, record, offsetof(jlt_wire_event_record_t, crc32));
}

static bool holds(uint32_t index) {
  jlt_wire_event_record_t record;
  return read_at(RECORDS_AT + index * RECORD_BYTES, &record, RECORD_BYTES) && record.crc32 == crc_of(&record);
}

// What lies behind its end is not the journal's, though records of progress look like some of its own.
static uint32_t capacity(void) {
  const uint32_t end = journal.bytes < JLT_JOURNAL_END ? journal.bytes : (uint32_t)JLT_JOURNAL_END;
  return end > RECORDS_AT ? (end - RECORDS_AT) / RECORD_BYTES : 0u;
}

static bool is_erased(uint32_t index) {
  uint32_t words[RECORD_BYTES / 4];
  bool erased = read_at(RECORDS_AT + index * RECORD_BYTES, words, sizeof(words));
  for (uint32_t i = 0; i < RECORD_BYTES / 4; i++) {
    erased = erased && words[i] == UINT32_MAX;
  }
  return erased;
}

// Valid records come first: the end is found by halving. In flash a torn record cannot be written again and is passed.
void jlt_journal_begin(uint32_t epoch) {
  journal.epoch = epoch;
  uint32_t low = 0, high = capacity();
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2u;
    if (holds(middle)) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  journal.count = low;
  if (!jlt_board.nvm.driver || !jlt_board.nvm.driver->erase) {
    return;
  }
  if (low == 0 && capacity() > 0 && !is_erased(0)) {
    (void)jlt_board.nvm.driver->erase(&jlt_board.nvm);
  }
  while (journal.count < capacity() && !is_erased(journal.count)) {
    journal.count++;
  }
}

bool jlt_journal_append(jlt_wire_event_record_t *record) {
  record->crc32 = crc_of(record);
  if (journal.count >= capacity() || !write_at(RECORDS_AT + journal.count * RECORD_BYTES, record, RECORD_BYTES)) {
    return false;
  }
  journal.count++;
  return true;
}

uint32_t jlt_journal_used_bytes(void) { return journal.count * RECORD_BYTES; }

bool jlt_journal_read(uint32_t offset, void *to, uint32_t bytes) {
  const uint32_t used = jlt_journal_used_bytes();
  return offset <= used && bytes <= used - offset && (bytes == 0 || read_at(RECORDS_AT + offset, to, bytes));
}
