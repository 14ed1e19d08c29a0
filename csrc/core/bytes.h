// SPDX-License-Identifier: Apache-2.0
// Sizes and bounds, none of which can overflow.
#ifndef JLT_CORE_BYTES_H
#define JLT_CORE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

// Larger products of extents are refused: four bytes an element then still fit 32 bits.
#define JLT_ELEMENTS_LIMIT (1u << 28)

static inline uint64_t jlt_align_up(uint64_t bytes, uint32_t alignment) {
  return (bytes + alignment - 1u) / alignment * alignment;
}

// Product of extents; 0 when one is 0 or the product exceeds JLT_ELEMENTS_LIMIT.
uint32_t jlt_elements(const uint32_t *dims, uint32_t count);

// Whether [offset, offset + bytes) lies in [0, total).
bool jlt_within(uint32_t offset, uint64_t bytes, uint32_t total);

// Whether strides go through dims one element after another, as an operand of the output's own shape does. `dims` and `stride` have
// JLT_MAX_RANK extents, none of them 0.
static inline bool jlt_is_dense(const uint32_t *dims, const uint32_t *stride) {
  uint64_t step = 1;
  for (uint32_t d = 6; d-- > 0; step *= dims[d]) {
    if (dims[d] > 1 && stride[d] != step) {
      return false;
    }
  }
  return true;
}

static inline bool jlt_ranges_overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

#endif
