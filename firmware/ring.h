// SPDX-License-Identifier: Apache-2.0
// Entries one after the other through pages of internal flash. An entry is written once: head, content, and last of all the
// checksum that makes it valid. What a cut has torn is passed, and the page of the newest entry is never erased.
#ifndef JLT_FIRMWARE_RING_H
#define JLT_FIRMWARE_RING_H

#include <stdbool.h>
#include <stdint.h>

// Finds the newest valid entry with this tag. `largest` is the content that room is kept for [bytes]; false: the ring is too
// small for it, three times over and two pages.
bool jlt_ring_open(uint32_t tag, uint32_t largest);

uint32_t jlt_ring_newest_bytes(void);  // of content; 0: there is no entry
bool jlt_ring_read(uint32_t offset, void *to, uint32_t bytes);

// Erases what stands in the way of an entry of the largest size; at once where nothing does.
bool jlt_ring_prepare(void);

// An entry: begin, its content in order, end. It counts once end has returned true.
bool jlt_ring_begin(uint32_t bytes);
bool jlt_ring_add(const void *from, uint32_t bytes);
bool jlt_ring_end(void);

#endif
