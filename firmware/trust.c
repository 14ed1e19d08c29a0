// SPDX-License-Identifier: Apache-2.0
#include "trust.h"

#include <stddef.h>
#include <string.h>

#include "core/crc32.h"
#include "journal.h"
#include "port.h"

enum { INDICES = JLT_WIRE_SLOT_SESSION + JLT_WIRE_SLOT_POLICY + 1 };

typedef struct {
  uint8_t build_id[8];
  uint32_t crc32[INDICES];
  uint32_t known;  // bit of each index
  uint32_t sum;    // of all before it
} note_t;

_Static_assert(sizeof(note_t) <= 48, "the note has 48 bytes");

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

bool jlt_trusted(uint32_t index, uint32_t crc32) { return (note.known >> index & 1u) && note.crc32[index] == crc32; }

void jlt_trust(uint32_t index, uint32_t crc32) {
  if (!jlt_trusted(index, crc32)) {
    note.known |= 1u << index;
    note.crc32[index] = crc32;
    (void)save();
  }
}

bool jlt_distrust(uint32_t index) {
  if (!(note.known >> index & 1u)) {
    return true;
  }
  note.known &= ~(1u << index);
  // without such memory nothing was written, and nothing will be trusted after the next power-up
  return save() || jlt_journal_bytes() == 0 || jlt_board.nvm.driver->erase;
}
