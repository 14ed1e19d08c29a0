// SPDX-License-Identifier: Apache-2.0
#include "trust.h"

#include <stddef.h>
#include <string.h>

#include "core/crc32.h"
#include "journal.h"
#include "port.h"

enum { SLOTS = 5 };

typedef struct {
  uint8_t build_id[8];
  uint32_t crc32[SLOTS];
  uint32_t known;  // bit of each slot
  uint32_t sum;    // of all before it
} note_t;

static note_t note;

static uint32_t sum_of(const note_t *n) { return jlt_crc32(0, n, offsetof(note_t, sum)); }

void jlt_trust_open(void) {
  if (!jlt_journal_note_read(&note, sizeof(note)) || note.sum != sum_of(&note) ||
      memcmp(note.build_id, jlt_board.build_id, sizeof(note.build_id)) != 0) {
    memset(&note, 0, sizeof(note));
    memcpy(note.build_id, jlt_board.build_id, sizeof(note.build_id));
  }
}

static bool save(void) {
  note.sum = sum_of(&note);
  return jlt_journal_note_write(&note, sizeof(note));
}

bool jlt_trusted(uint32_t slot, uint32_t crc32) { return (note.known >> slot & 1u) && note.crc32[slot] == crc32; }

void jlt_trust(uint32_t slot, uint32_t crc32) {
  if (!jlt_trusted(slot, crc32)) {
    note.known |= 1u << slot;
    note.crc32[slot] = crc32;
    (void)save();
  }
}

bool jlt_distrust(uint32_t slot) {
  if (!(note.known >> slot & 1u)) {
    return true;
  }
  note.known &= ~(1u << slot);
  // without such memory nothing was written, and nothing will be trusted after the next power-up
  return save() || jlt_journal_bytes() == 0 || jlt_board.nvm.driver->erase;
}
