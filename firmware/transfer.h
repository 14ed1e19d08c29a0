// SPDX-License-Identifier: Apache-2.0
// Transfers into slots: in order, resumable while the board stays up, checked as a whole at the end.
#ifndef JLT_FIRMWARE_TRANSFER_H
#define JLT_FIRMWARE_TRANSFER_H

#include "link/wire.h"

void jlt_transfer_begin(const jlt_wire_begin_t *begin, jlt_wire_progress_t *progress);
void jlt_transfer_chunk(const jlt_wire_chunk_t *chunk, const uint8_t *data, uint32_t bytes,
                        jlt_wire_progress_t *progress);
void jlt_transfer_commit(jlt_wire_progress_t *progress);

#endif
