// SPDX-License-Identifier: Apache-2.0
// What the board remembers of a session: records appended to non-volatile memory, each valid by its checksum.
#ifndef JLT_FIRMWARE_JOURNAL_H
#define JLT_FIRMWARE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "link/wire.h"

enum { JLT_JOURNAL_END = 65536 };  // the memory behind it holds progress

void jlt_journal_open(void);
uint32_t jlt_journal_bytes(void);   // of the memory; 0 without one
uint32_t jlt_journal_resets(void);  // 0 where they cannot be counted

// A note beside the journal, at most 48 bytes; false without memory that is written byte by byte.
bool jlt_journal_note_read(void *to, uint32_t bytes);
bool jlt_journal_note_write(const void *from, uint32_t bytes);

// Continues the journal of this epoch, or begins it: records of another epoch are not seen.
void jlt_journal_begin(uint32_t epoch);

// Fills in the checksum; false when the memory is full or fails.
bool jlt_journal_append(jlt_wire_event_record_t *record);

uint32_t jlt_journal_used_bytes(void);
bool jlt_journal_read(uint32_t offset, void *to, uint32_t bytes);

#endif
