// SPDX-License-Identifier: Apache-2.0
// Nearest-neighbour resize: source rows and columns come as tables behind the parameters.
#include <string.h>

#include "kernels/kernels.h"

uint32_t jlt_resize_unit_elements(const void *params, const jlt_tensor_t *out) {
  (void)out;
  return JLT_UNIT_PIXELS * ((const jlt_resize_params_t *)params)->c;
}

static void resize(const jlt_call_t *call, jlt_span_t tile, size_t element_bytes) {
  const jlt_resize_params_t *p = call->params;
  const uint16_t *rows = (const uint16_t *)(p + 1);
  const uint16_t *columns = rows + p->out_h;
  const size_t pixel_bytes = p->c * element_bytes;
  uint8_t *out = (uint8_t *)call->out + tile.begin * pixel_bytes;
  uint32_t left = tile.end - tile.begin;
  uint32_t x = tile.begin % p->out_w;
  for (uint32_t row = tile.begin / p->out_w; left > 0; row++, x = 0) {
    const size_t first = ((size_t)(row / p->out_h) * p->in_h + rows[row % p->out_h]) * p->in_w;
    for (; x < p->out_w && left > 0; x++, left--, out += pixel_bytes) {
      memcpy(out, (const uint8_t *)call->in[0] + (first + columns[x]) * pixel_bytes, pixel_bytes);
    }
  }
}

static uint32_t pixels(const jlt_resize_params_t *p) { return p->n * p->out_h * p->out_w; }

void jlt_resize_nearest_s8__ref(const jlt_call_t *call) {
  resize(call, jlt_tile(call, JLT_UNIT_PIXELS, pixels(call->params)), 1);
}

void jlt_resize_nearest_f32__ref(const jlt_call_t *call) {
  resize(call, (jlt_span_t){.end = pixels(call->params)}, 4);
}
