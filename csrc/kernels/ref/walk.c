// SPDX-License-Identifier: Apache-2.0
// Walking two operands along a tile. Here and not in the header: three loops and more would each have it.
#include "kernels/ref/walk.h"

static void take_row(jlt_walk_t *walk, uint32_t column) {
  const uint32_t room = walk->dims[5] - column;
  const uint32_t count = walk->left < room ? walk->left : room;
  walk->column = column;
  walk->end = column + count;
  walk->left -= count;
}

void jlt_walk_begin(jlt_walk_t *walk, jlt_span_t tile) {
  uint32_t row = tile.begin / walk->dims[5];
  for (uint32_t d = 5; d-- > 0 && row > 0; row /= walk->dims[d]) {
    walk->index[d] = row % walk->dims[d];
    walk->at[0] += walk->stride[0][d] * (int64_t)walk->index[d];
    walk->at[1] += walk->stride[1][d] * (int64_t)walk->index[d];
  }
  walk->left = tile.end - tile.begin;
  take_row(walk, tile.begin % walk->dims[5]);
}

bool jlt_walk_next(jlt_walk_t *walk) {
  if (walk->left == 0 || !jlt_next_row(walk->dims, walk->index, 2, walk->stride, walk->at)) {
    return false;
  }
  take_row(walk, 0);
  return true;
}
