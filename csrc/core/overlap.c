// SPDX-License-Identifier: Apache-2.0
#include "core/overlap.h"

#include "core/bytes.h"
#include "kernels/selection.h"

enum {
  BLOCK_PIXELS = 8,       // most that a kernel reads before it writes
  LINES_LIMIT = 1 << 14,  // rows and columns that are looked at, lest a small container take long to check
  CHANNELS_LIMIT = 1 << 16
};

#define NOTHING INT32_MAX  // is read

// Along rows or columns. What a tensor has fits 28 bits, and so the differences here fit 31.
typedef struct {
  int32_t in, out, k, stride, dilation, pad;
} axis_t;

typedef struct {
  axis_t rows, columns;
  int32_t n, in_c, out_c;
} window_t;

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

static int32_t most(int32_t a, int32_t b) { return a > b ? a : b; }

// Lowest row or column of the input that the window at `out` reads.
static int32_t first_read(const axis_t *axis, int32_t out) {
  int32_t at = out * axis->stride - axis->pad;
  if (at < 0) {
    const int32_t skipped = (axis->dilation - 1 - at) / axis->dilation;
    at = skipped < axis->k ? at + skipped * axis->dilation : NOTHING;
  }
  return at < axis->in ? at : NOTHING;
}

// Over the columns from `from` on of one row: the most by which a pixel's begin in the row of the output lies beyond what it or
// a later one reads first in the row of the input. `leftmost`: the first column that any reads.
static int32_t lead_in_row(const window_t *w, int32_t from, int32_t *leftmost) {
  int32_t lead = JLT_OVERLAP_ANYWHERE;
  *leftmost = NOTHING;
  for (int32_t x = w->columns.out; x-- > from;) {
    *leftmost = least(*leftmost, first_read(&w->columns, x));
    if (*leftmost != NOTHING) {
      lead = most(lead, x * w->out_c - *leftmost * w->in_c);
    }
  }
  return lead;
}

// The same over all pixels but the first, before which nothing has been written. `lowest`: the first byte that any reads.
// From the last row to the first, as a later one may read lower: a - min(b, c) = max(a - b, a - c).
static int32_t lead_of(const window_t *w, int32_t *lowest) {
  int32_t leftmost;
  int32_t lead = JLT_OVERLAP_ANYWHERE;
  int32_t in_row = lead_in_row(w, 0, &leftmost);
  const int32_t row_bytes = w->columns.out * w->out_c;
  *lowest = NOTHING;
  for (int32_t row = w->n * w->rows.out; row-- > 0;) {
    const int32_t begin = row * row_bytes;
    if (*lowest != NOTHING && row_bytes + begin > w->out_c) {
      lead = most(lead, begin + row_bytes - w->out_c - *lowest);
    }
    const int32_t y = first_read(&w->rows, row % w->rows.out);
    if (row == 0) {
      int32_t ignored;
      in_row = lead_in_row(w, 1, &ignored);
    }
    if (y == NOTHING || leftmost == NOTHING) {
      continue;
    }
    const int32_t from = (row / w->rows.out * w->rows.in + y) * w->columns.in * w->in_c;
    lead = in_row == JLT_OVERLAP_ANYWHERE ? lead : most(lead, begin + in_row - from);
    *lowest = least(*lowest, from + leftmost * w->in_c);
  }
  return lead;
}

static jlt_overlap_t anywhere_beyond(int32_t lead) { return (jlt_overlap_t){lead, lead, 1}; }

// `ordered`: a block has been read whole before any of it is written. Otherwise a channel may be written while others of its
// block are still to be read, and the output stays below the block; unless whole pixels lie on whole pixels.
static jlt_overlap_t overlap_of_window(const window_t *w, bool ordered) {
  int32_t lowest;
  if (w->n * w->rows.out + w->columns.out > LINES_LIMIT || w->out_c > CHANNELS_LIMIT) {
    return anywhere_beyond(JLT_OVERLAP_NEVER);
  }
  const int32_t lead = lead_of(w, &lowest);
  if (ordered || lowest == NOTHING) {
    return anywhere_beyond(lead);
  }
  const int32_t block = most(lead, -lowest) + BLOCK_PIXELS * w->out_c;
  const int32_t held = least(block, w->n * w->rows.out * w->columns.out * w->out_c - lowest);
  const bool same = w->in_c == w->out_c;
  return (jlt_overlap_t){held, same ? lead : held, same ? (uint32_t)w->in_c : 1u};
}

static jlt_overlap_t overlap_of_conv(const jlt_conv_params_t *p, bool depthwise) {
  // a single pixel comes in tiles of channels, and each reads all of the input again
  if (!depthwise && p->n * p->out_h * p->out_w == 1) {
    return anywhere_beyond(JLT_OVERLAP_NEVER);
  }
  const window_t w = {
      .rows = {(int32_t)p->in_h, (int32_t)p->out_h, p->k_h, p->stride_h, p->dilation_h, p->pad_top},
      .columns = {(int32_t)p->in_w, (int32_t)p->out_w, p->k_w, p->stride_w, p->dilation_w, p->pad_left},
      .n = (int32_t)p->n,
      .in_c = (int32_t)p->in_c,
      .out_c = (int32_t)p->out_c,
  };
  return overlap_of_window(&w, !depthwise && p->groups == 1);
}

static jlt_overlap_t overlap_of_pool(const jlt_pool_params_t *p) {
  const window_t w = {
      .rows = {(int32_t)p->in_h, (int32_t)p->out_h, p->k_h, p->stride_h, 1, p->pad_top},
      .columns = {(int32_t)p->in_w, (int32_t)p->out_w, p->k_w, p->stride_w, 1, p->pad_left},
      .n = (int32_t)p->n,
      .in_c = (int32_t)p->c,
      .out_c = (int32_t)p->c,
  };
  return overlap_of_window(&w, false);
}

// Element i is written when element i, and for a whole row what belongs to it, has been read.
static jlt_overlap_t overlap_of_elements(const jlt_tensor_t *in, const jlt_tensor_t *out) {
  const bool grows = in->dtype == JLT_DTYPE_S8 && out->dtype != JLT_DTYPE_S8;
  const bool shrinks = in->dtype != JLT_DTYPE_S8 && out->dtype == JLT_DTYPE_S8;
  const int32_t lead = grows ? 3 * ((int32_t)out->elements - 1) : shrinks ? -3 : 0;
  return anywhere_beyond(out->elements > 1 ? lead : JLT_OVERLAP_ANYWHERE);
}

#define BIT(code) (1u << JLT_OP_CODE_##code)

// False at once for ops that the build does not know: what is only for them is left out.
static bool is_one_of(const jlt_op_t *op, uint32_t codes) { return ((codes & JLT_OPS) >> op->code & 1u) != 0; }

jlt_overlap_t jlt_overlap_of(const jlt_container_t *container, const jlt_op_t *op, uint32_t input) {
  const void *params = container->pool + op->params_offset;
  if (is_one_of(op, BIT(CONV) | BIT(DWCONV))) {
    return overlap_of_conv(params, op->code == JLT_OP_CODE_DWCONV);
  }
  if (is_one_of(op, BIT(AVGPOOL) | BIT(MAXPOOL))) {
    return overlap_of_pool(params);
  }
  bool by_element = is_one_of(op, BIT(LUT) | BIT(SOFTMAX) | BIT(QUANTIZE) | BIT(DEQUANTIZE));
  if (is_one_of(op, BIT(ADD) | BIT(SUB) | BIT(MUL))) {
    const jlt_binary_params_t *p = params;
    by_element = jlt_is_dense(p->dims, input ? p->stride_b : p->stride_a);
  }
  return by_element ? overlap_of_elements(&container->tensors[op->inputs[input]], &container->tensors[op->output])
                    : anywhere_beyond(JLT_OVERLAP_NEVER);
}

// In the very same place, whatever the width of the elements.
static bool works_in_place(const jlt_op_t *op) {
  return op->code > JLT_OP_CODE_MAXPOOL && op->code != JLT_OP_CODE_DEQUANTIZE;
}

bool jlt_may_write_over(const jlt_container_t *container, const jlt_op_t *op, uint32_t tensor) {
  // offsets of checked tensors are below 2^29
  const int32_t gap = (int32_t)(container->arena_offsets[tensor] - container->arena_offsets[op->output]);
  if (container->arena == container->f32_arena && (gap != 0 || !works_in_place(op))) {
    return false;
  }
  bool reads = false;
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    if (op->inputs[i] != tensor) {
      continue;
    }
    const jlt_overlap_t rule = jlt_overlap_of(container, op, i);
    if (gap < rule.distance && (gap < rule.by_pixel || gap % (int32_t)rule.pixel_bytes != 0)) {
      return false;
    }
    reads = true;
  }
  return reads;
}
