// SPDX-License-Identifier: Apache-2.0
// Walking six dimensions row by row without division.
#ifndef JLT_KERNELS_REF_WALK_H
#define JLT_KERNELS_REF_WALK_H

#include "joulet.h"

// Steps the outer five of six dimensions; `at[k]` follows `stride[k]`. Returns false after the last row.
static inline bool jlt_next_row(const uint32_t *dims, uint32_t *index, uint32_t count, const int64_t (*stride)[6],
                                int64_t *at) {
  for (uint32_t d = 5; d-- > 0;) {
    for (uint32_t k = 0; k < count; k++) {
      at[k] += stride[k][d];
    }
    if (++index[d] < dims[d]) {
      return true;
    }
    for (uint32_t k = 0; k < count; k++) {
      at[k] -= stride[k][d] * (int64_t)dims[d];
    }
    index[d] = 0;
  }
  return false;
}

#endif
