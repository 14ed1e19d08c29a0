// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <stddef.h>
#include <string.h>

#include "core/crc32.h"
#include "port.h"

enum { STRIDE = 64, GRANULE = 8, TAIL_BYTES = GRANULE, NOWHERE = -1 };

typedef struct {
  uint32_t tag;
  uint32_t sequence;
  uint32_t bytes;  // of content
  uint32_t crc32;  // of the above
} head_t;

static struct {
  uint32_t tag;
  uint32_t largest;
  uint32_t sequence;  // highest seen, in torn entries too
  uint32_t at;        // where the next entry goes
  uint32_t bytes;     // content of the newest
  uint32_t to;        // next byte that is written, of the entry under way
  uint32_t end;       // of its content
  uint32_t crc32;
  int32_t newest;     // place of its head, or NOWHERE
  uint8_t rest[GRANULE];
  uint8_t n_rest;
  bool prepared;
} ring;

static const jlt_region_t *region(void) { return &jlt_board.progress; }

static const uint8_t *in_flash(uint32_t at) { return (const uint8_t *)region()->address + at; }

static uint32_t up(uint32_t bytes, uint32_t to) { return (bytes + to - 1u) / to * to; }

static uint32_t entry_bytes(uint32_t content) {
  return up((uint32_t)sizeof(head_t) + up(content, GRANULE) + TAIL_BYTES, STRIDE);
}

// Whether anything was read since the last time that the part's ECC could not mend.
static bool was_torn(void) { return jlt_board.flash.driver->torn && jlt_board.flash.driver->torn(&jlt_board.flash); }

static bool read_at(uint32_t at, void *to, uint32_t bytes) {
  (void)was_torn();
  memcpy(to, in_flash(at), bytes);
  return !was_torn();
}

/// Finding ///

static bool head_fits(uint32_t at, const head_t *head) {
  return head->tag == ring.tag && head->bytes <= region()->bytes && at + entry_bytes(head->bytes) <= region()->bytes &&
         head->crc32 == jlt_crc32(0, head, offsetof(head_t, crc32));
}

static bool is_whole(uint32_t at, const head_t *head) {
  const uint32_t content = at + (uint32_t)sizeof(*head);
  uint32_t tail[2];
  (void)was_torn();
  const uint32_t crc = jlt_crc32(head->crc32, in_flash(content), head->bytes);
  return !was_torn() && read_at(content + up(head->bytes, GRANULE), tail, sizeof(tail)) && tail[0] == head->sequence &&
         tail[1] == crc;
}

// The head with the highest sequence number below a limit.
static int32_t highest_below(uint32_t limit, head_t *found) {
  int32_t best = NOWHERE;
  for (uint32_t at = 0; at + STRIDE <= region()->bytes; at += STRIDE) {
    head_t head;
    if (read_at(at, &head, sizeof(head)) && head.sequence < limit && (best == NOWHERE || head.sequence > found->sequence) &&
        head_fits(at, &head)) {
      *found = head;
      best = (int32_t)at;
    }
  }
  return best;
}

bool jlt_ring_open(uint32_t tag, uint32_t largest) {
  const uint64_t needed = 3u * (uint64_t)entry_bytes(largest) + 2u * region()->page_bytes;
  head_t head = {0};
  memset(&ring, 0, sizeof(ring));
  ring.tag = tag;
  ring.largest = largest;
  ring.newest = NOWHERE;
  if (!jlt_board.flash.driver || region()->page_bytes == 0 || needed > region()->bytes) {
    return false;
  }
  for (uint32_t limit = UINT32_MAX;; limit = head.sequence) {
    const int32_t at = highest_below(limit, &head);
    if (at == NOWHERE) {
      return true;
    }
    if (limit == UINT32_MAX) {
      ring.sequence = head.sequence;
    }
    if (is_whole((uint32_t)at, &head)) {
      ring.newest = at;
      ring.bytes = head.bytes;
      ring.at = (uint32_t)at + entry_bytes(head.bytes);
      return true;
    }
  }
}

uint32_t jlt_ring_newest_bytes(void) { return ring.newest == NOWHERE ? 0u : ring.bytes; }

bool jlt_ring_read(uint32_t offset, void *to, uint32_t bytes) {
  const uint32_t there = jlt_ring_newest_bytes();
  return offset <= there && bytes <= there - offset &&
         read_at((uint32_t)ring.newest + (uint32_t)sizeof(head_t) + offset, to, bytes);
}

/// Making room ///

// First byte from `at` on that is not erased, or the end.
static uint32_t first_written(uint32_t at, uint32_t end) {
  (void)was_torn();
  for (uint32_t i = at; i < end; i += GRANULE) {
    uint32_t words[2];
    memcpy(words, in_flash(i), sizeof(words));
    if ((words[0] & words[1]) != UINT32_MAX || was_torn()) {
      return i;
    }
  }
  return end;
}

static bool holds_newest(uint32_t page) {
  const uint32_t end = (uint32_t)ring.newest + entry_bytes(ring.bytes);
  return ring.newest != NOWHERE && page < end && page + region()->page_bytes > (uint32_t)ring.newest;
}

// Moves on to a place where so much is erased. What cannot be erased, for it is in use or lies before it, is stepped over.
static bool make_room(uint32_t bytes) {
  const uint32_t page_bytes = region()->page_bytes;
  for (uint32_t turn = 0; turn < region()->bytes / STRIDE; turn++) {
    if (ring.at + bytes > region()->bytes) {
      ring.at = 0;
    }
    const uint32_t written = first_written(ring.at, ring.at + bytes);
    if (written == ring.at + bytes) {
      return true;
    }
    const uint32_t page = written / page_bytes * page_bytes;
    if (page < ring.at || holds_newest(page) ||
        !jlt_board.flash.driver->erase(&jlt_board.flash, region()->address + page, page_bytes)) {
      ring.at = up(written + 1u, STRIDE);
    }
  }
  return false;
}

bool jlt_ring_prepare(void) {
  ring.prepared = ring.prepared || make_room(entry_bytes(ring.largest));
  return ring.prepared;
}

/// Writing ///

static bool program(const void *from, uint32_t bytes) {
  const bool ok = jlt_board.flash.driver->program(&jlt_board.flash, region()->address + ring.to, from, bytes);
  ring.to += bytes;
  return ok;
}

bool jlt_ring_begin(uint32_t bytes) {
  if (!make_room(entry_bytes(bytes))) {
    return false;
  }
  head_t head = {.tag = ring.tag, .sequence = ++ring.sequence, .bytes = bytes};
  head.crc32 = jlt_crc32(0, &head, offsetof(head_t, crc32));
  ring.prepared = false;
  ring.to = ring.at;
  ring.end = ring.at + (uint32_t)sizeof(head) + up(bytes, GRANULE);
  ring.crc32 = head.crc32;
  ring.n_rest = 0;
  return program(&head, sizeof(head));
}

bool jlt_ring_add(const void *from, uint32_t bytes) {
  const uint8_t *at = from;
  if (bytes > ring.end - ring.to) {
    return false;
  }
  ring.crc32 = jlt_crc32(ring.crc32, from, bytes);
  bool ok = true;
  while (ok && bytes > 0) {
    const uint32_t whole = bytes / GRANULE * GRANULE;
    if (ring.n_rest == 0 && whole > 0) {
      ok = program(at, whole);
      at += whole;
      bytes -= whole;
      continue;
    }
    ring.rest[ring.n_rest++] = *at++;
    bytes--;
    if (ring.n_rest == GRANULE) {
      ok = program(ring.rest, GRANULE);
      ring.n_rest = 0;
    }
  }
  return ok;
}

bool jlt_ring_end(void) {
  bool ok = true;
  if (ring.n_rest > 0) {
    memset(ring.rest + ring.n_rest, 0xFF, (uint32_t)GRANULE - ring.n_rest);
    ok = program(ring.rest, GRANULE);
  }
  const uint32_t tail[2] = {ring.sequence, ring.crc32};
  head_t head;
  ok = ok && ring.to == ring.end && program(tail, sizeof(tail)) && read_at(ring.at, &head, sizeof(head)) &&
       head_fits(ring.at, &head) && is_whole(ring.at, &head);
  if (ok) {
    ring.newest = (int32_t)ring.at;
    ring.bytes = head.bytes;
    ring.at += entry_bytes(head.bytes);
  }
  return ok;
}
