// SPDX-License-Identifier: Apache-2.0
// Transfers into slots: in order, resumable while the board stays up, checked as a whole at the end. A model or
// policy is written to the side that is not used, where there are two.
#ifndef JLT_FIRMWARE_TRANSFER_H
#define JLT_FIRMWARE_TRANSFER_H

#include <stdbool.h>

#include "link/wire.h"

void jlt_transfer_begin(const jlt_wire_begin_t *begin, jlt_wire_progress_t *progress);
void jlt_transfer_chunk(const jlt_wire_chunk_t *chunk, const uint8_t *data, uint32_t bytes,
                        jlt_wire_progress_t *progress);

// `commit` may be null.
void jlt_transfer_commit(const jlt_wire_commit_t *commit, jlt_wire_progress_t *progress);

// Whether one into flash is on its way.
bool jlt_transfer_into_flash(void);

// Back to the other side of MODEL or POLICY, if it would run; a transfer that is on its way there ends.
int32_t jlt_transfer_rollback(uint8_t slot);

#endif
