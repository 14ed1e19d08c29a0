// SPDX-License-Identifier: Apache-2.0
// Called from every check of a container: one copy is smaller than many.
#include "core/bytes.h"

uint32_t jlt_elements(const uint32_t *dims, uint32_t count) {
  uint64_t product = 1;
  for (uint32_t i = 0; i < count; i++) {
    product *= dims[i];
    if (product > JLT_ELEMENTS_LIMIT) {
      return 0;
    }
  }
  return (uint32_t)product;
}

bool jlt_within(uint32_t offset, uint64_t bytes, uint32_t total) { return offset <= total && bytes <= total - offset; }
