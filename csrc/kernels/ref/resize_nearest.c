// SPDX-License-Identifier: Apache-2.0
// Nearest-neighbour resize: source rows and columns come as tables behind the parameters.
#include <string.h>

#include "kernels/kernels.h"

static void resize(const jlt_call_t *call, size_t element_bytes) {
  const jlt_resize_params_t *p = call->params;
  const uint16_t *rows = (const uint16_t *)(p + 1);
  const uint16_t *columns = rows + p->out_h;
  const size_t pixel_bytes = p->c * element_bytes;
  uint8_t *out = call->out;
  for (uint32_t row = 0; row < p->n * p->out_h; row++) {
    const size_t first = ((size_t)(row / p->out_h) * p->in_h + rows[row % p->out_h]) * p->in_w;
    for (uint32_t x = 0; x < p->out_w; x++, out += pixel_bytes) {
      memcpy(out, (const uint8_t *)call->in[0] + (first + columns[x]) * pixel_bytes, pixel_bytes);
    }
  }
}

void jlt_resize_nearest_s8__ref(const jlt_call_t *call) { resize(call, 1); }

void jlt_resize_nearest_f32__ref(const jlt_call_t *call) { resize(call, 4); }
