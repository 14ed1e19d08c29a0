// SPDX-License-Identifier: Apache-2.0
// Walking six dimensions row by row, without division but for where a walk begins.
#ifndef JLT_KERNELS_REF_WALK_H
#define JLT_KERNELS_REF_WALK_H

#include "kernels/kernels.h"

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

// Two operands walked together along a tile; every row has the columns [column, end).
typedef struct {
  const uint32_t *dims;
  int64_t stride[2][6];
  int64_t at[2];
  uint32_t index[6];
  uint32_t column;
  uint32_t end;
  uint32_t left;  // elements after this row
} jlt_walk_t;

// Strides and `at`, where element 0 is, are the caller's; this goes to the first element of the tile.
void jlt_walk_begin(jlt_walk_t *walk, jlt_span_t tile);

// Goes to the next row; false when the tile or the walk has ended.
bool jlt_walk_next(jlt_walk_t *walk);

#endif
