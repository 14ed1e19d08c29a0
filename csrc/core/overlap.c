// SPDX-License-Identifier: Apache-2.0
#include "core/overlap.h"

enum {
  BLOCK_PIXELS = 8,      // most that a kernel reads before it writes
  LINES_LIMIT = 1 << 14  // rows and columns that are looked at, lest a small container take long to check
};

#define NOTHING INT64_MAX  // is read

typedef struct {
  uint32_t n, in_h, in_w, in_c, out_h, out_w, out_c;
  uint32_t k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
} window_t;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Lowest row or column of the input that the window at `out` reads.
static int64_t first_read(uint32_t out, uint32_t stride, uint32_t pad, uint32_t k, uint32_t dilation, uint32_t extent) {
  const int64_t start = (int64_t)out * stride - pad;
  const uint32_t skipped = start < 0 ? ((uint32_t)-start + dilation - 1u) / dilation : 0;  // no more than the padding
  const int64_t first = start + (int64_t)skipped * dilation;
  return skipped < k && first < extent ? first : NOTHING;
}

// Over the columns from `from` on of one row: the most by which a pixel's begin in the row of the output lies beyond what it or
// a later one reads first in the row of the input. `leftmost`: the first column that any reads.
static int64_t lead_in_row(const window_t *w, uint32_t from, int64_t *leftmost) {
  int64_t lead = JLT_OVERLAP_ANYWHERE;
  *leftmost = NOTHING;
  for (uint32_t x = w->out_w; x-- > from;) {
    *leftmost = least(*leftmost, first_read(x, w->stride_w, w->pad_left, w->k_w, w->dilation_w, w->in_w));
    if (*leftmost != NOTHING) {
      lead = most(lead, (int64_t)x * w->out_c - *leftmost * w->in_c);
    }
  }
  return lead;
}

// The same over all pixels but the first, before which nothing has been written. `lowest`: the first byte that any reads.
// From the last row to the first, as a later one may read lower: a - min(b, c) = max(a - b, a - c).
static int64_t lead_of(const window_t *w, int64_t *lowest) {
  int64_t leftmost, ignored;
  const int64_t in_row = lead_in_row(w, 0, &leftmost);
  const int64_t in_first_row = lead_in_row(w, 1, &ignored);
  int64_t lead = JLT_OVERLAP_ANYWHERE;
  *lowest = NOTHING;
  for (uint32_t row = w->n * w->out_h; row-- > 0;) {
    const int64_t begin = (int64_t)row * w->out_w * w->out_c;
    if (*lowest != NOTHING && (row > 0 || w->out_w > 1)) {
      lead = most(lead, begin + (int64_t)(w->out_w - 1) * w->out_c - *lowest);
    }
    const int64_t y = first_read(row % w->out_h, w->stride_h, w->pad_top, w->k_h, w->dilation_h, w->in_h);
    if (y == NOTHING || leftmost == NOTHING) {
      continue;
    }
    const int64_t from = ((int64_t)(row / w->out_h) * w->in_h + y) * w->in_w * w->in_c;
    const int64_t here = row > 0 ? in_row : in_first_row;
    lead = here == JLT_OVERLAP_ANYWHERE ? lead : most(lead, begin + here - from);
    *lowest = least(*lowest, from + leftmost * w->in_c);
  }
  return lead;
}

static const jlt_overlap_t never = {JLT_OVERLAP_NEVER, JLT_OVERLAP_NEVER, 1};

// `ordered`: a block has been read whole before any of it is written. Otherwise a channel may be written while others of its
// block are still to be read, and the output stays below the block; unless whole pixels lie on whole pixels.
static jlt_overlap_t overlap_of_window(const window_t *w, bool ordered) {
  int64_t lowest;
  if ((uint64_t)w->n * w->out_h + w->out_w > LINES_LIMIT) {
    return never;
  }
  const int64_t lead = lead_of(w, &lowest);
  if (ordered || lowest == NOTHING) {
    return (jlt_overlap_t){lead, lead, 1};
  }
  const int64_t block = most(lead, -lowest) + (int64_t)BLOCK_PIXELS * w->out_c;
  const int64_t held = least(block, (int64_t)w->n * w->out_h * w->out_w * w->out_c - lowest);
  return (jlt_overlap_t){held, w->in_c == w->out_c ? lead : held, w->in_c == w->out_c ? w->in_c : 1};
}

static jlt_overlap_t overlap_of_conv(const jlt_conv_params_t *p, bool depthwise) {
  const window_t w = {
      .n = p->n,
      .in_h = p->in_h, .in_w = p->in_w, .in_c = p->in_c,
      .out_h = p->out_h, .out_w = p->out_w, .out_c = p->out_c,
      .k_h = p->k_h, .k_w = p->k_w,
      .stride_h = p->stride_h, .stride_w = p->stride_w,
      .dilation_h = p->dilation_h, .dilation_w = p->dilation_w,
      .pad_top = p->pad_top, .pad_left = p->pad_left,
  };
  // a single pixel comes in tiles of channels, and each reads all of the input again
  const bool one_pixel = !depthwise && p->n * p->out_h * p->out_w == 1;
  return one_pixel ? never : overlap_of_window(&w, !depthwise && p->groups == 1);
}

static jlt_overlap_t overlap_of_pool(const jlt_pool_params_t *p) {
  const window_t w = {
      .n = p->n,
      .in_h = p->in_h, .in_w = p->in_w, .in_c = p->c,
      .out_h = p->out_h, .out_w = p->out_w, .out_c = p->c,
      .k_h = p->k_h, .k_w = p->k_w,
      .stride_h = p->stride_h, .stride_w = p->stride_w,
      .dilation_h = 1, .dilation_w = 1,
      .pad_top = p->pad_top, .pad_left = p->pad_left,
  };
  return overlap_of_window(&w, false);
}

static uint32_t element_bytes(const jlt_tensor_t *tensor) { return tensor->dtype == JLT_DTYPE_S8 ? 1u : 4u; }

// Element i is written when element i, and for a whole row what belongs to it, has been read.
static jlt_overlap_t overlap_of_elements(const jlt_tensor_t *in, const jlt_tensor_t *out) {
  const int64_t growth = (int64_t)element_bytes(out) - element_bytes(in);
  const int64_t at = growth > 0 ? (int64_t)out->elements - 1 : 1;
  const int64_t lead = out->elements > 1 ? at * growth : JLT_OVERLAP_ANYWHERE;
  return (jlt_overlap_t){lead, lead, 1};
}

static bool is_dense(const uint32_t *dims, const uint32_t *stride) {
  uint64_t step = 1;
  for (uint32_t d = 6; d-- > 0;) {
    if (dims[d] > 1 && stride[d] != step) {
      return false;
    }
    step *= dims[d];
  }
  return true;
}

jlt_overlap_t jlt_overlap_of(const jlt_container_t *container, const jlt_op_t *op, uint32_t input) {
  const jlt_tensor_t *in = &container->tensors[op->inputs[input]];
  const jlt_tensor_t *out = &container->tensors[op->output];
  const void *params = container->pool + op->params_offset;
  const jlt_binary_params_t *binary = params;
  switch (op->code) {
    case JLT_OP_CODE_CONV:
    case JLT_OP_CODE_DWCONV:
      return overlap_of_conv(params, op->code == JLT_OP_CODE_DWCONV);
    case JLT_OP_CODE_AVGPOOL:
    case JLT_OP_CODE_MAXPOOL:
      return overlap_of_pool(params);
    case JLT_OP_CODE_LUT:
    case JLT_OP_CODE_SOFTMAX:
    case JLT_OP_CODE_QUANTIZE:
    case JLT_OP_CODE_DEQUANTIZE:
      return overlap_of_elements(in, out);
    case JLT_OP_CODE_ADD:
    case JLT_OP_CODE_SUB:
    case JLT_OP_CODE_MUL:
      return is_dense(binary->dims, input ? binary->stride_b : binary->stride_a) ? overlap_of_elements(in, out) : never;
    default:
      return never;
  }
}

static bool lies_well(const jlt_overlap_t *rule, int64_t gap) {
  return gap >= rule->distance || (gap >= rule->by_pixel && gap % rule->pixel_bytes == 0);
}

// What the f32 kernels do in place too, four bytes an element.
static bool is_generic(const jlt_op_t *op) {
  return op->code != JLT_OP_CODE_CONV && op->code != JLT_OP_CODE_DWCONV && op->code != JLT_OP_CODE_AVGPOOL &&
         op->code != JLT_OP_CODE_MAXPOOL && op->code != JLT_OP_CODE_DEQUANTIZE;
}

bool jlt_may_write_over(const jlt_container_t *container, const jlt_op_t *op, uint32_t tensor) {
  const int64_t gap = (int64_t)container->arena_offsets[tensor] - container->arena_offsets[op->output];
  const bool generic = container->arena == container->f32_arena;
  bool reads = false;
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    if (op->inputs[i] != tensor) {
      continue;
    }
    const jlt_overlap_t rule = jlt_overlap_of(container, op, i);
    if (!lies_well(&rule, gap) || (generic && (gap != 0 || !is_generic(op)))) {
      return false;
    }
    reads = true;
  }
  return reads;
}
