// SPDX-License-Identifier: Apache-2.0
// Checks of op parameters against the tensors they move through: after these no kernel can leave a tensor.
#include "core/bytes.h"
#include "core/check.h"
#include "kernels/selection.h"

#define POSITION_LIMIT (1u << 30)  // of a row or column a window can reach

static bool clamps_s8(int32_t low, int32_t high) { return jlt_is_s8(low) && jlt_is_s8(high) && low <= high; }

static bool is_multiplier(int32_t multiplier, int32_t shift) { return multiplier >= 0 && shift >= -31 && shift <= 30; }

static bool reaches(uint32_t out, uint32_t stride, uint32_t k, uint32_t dilation) {
  return (uint64_t)(out - 1) * stride + (uint64_t)(k - 1) * dilation < POSITION_LIMIT;
}

static uint32_t in_elements(const jlt_container_t *c, const jlt_op_t *op, uint32_t i) {
  return c->tensors[op->inputs[i]].elements;
}

static uint32_t out_elements(const jlt_container_t *c, const jlt_op_t *op) { return c->tensors[op->output].elements; }

static bool conv_shapes(const jlt_container_t *c, const jlt_op_t *op, const jlt_conv_params_t *p) {
  const uint32_t in[] = {p->n, p->in_h, p->in_w, p->in_c};
  const uint32_t out[] = {p->n, p->out_h, p->out_w, p->out_c};
  const uint32_t positive[] = {p->k_h, p->k_w, p->stride_h, p->stride_w, p->dilation_h, p->dilation_w, p->groups};
  for (uint32_t i = 0; i < sizeof(positive) / sizeof(positive[0]); i++) {
    if (positive[i] == 0) {
      return false;
    }
  }
  return jlt_elements(in, 4) == in_elements(c, op, 0) && jlt_elements(out, 4) == out_elements(c, op) &&
         reaches(p->out_h, p->stride_h, p->k_h, p->dilation_h) &&
         reaches(p->out_w, p->stride_w, p->k_w, p->dilation_w);
}

static jlt_status_t check_conv(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_conv_params_t *p = params;
  const jlt_weight_t *w = &c->weights[op->weight];
  if (!conv_shapes(c, op, p) || w->channels != p->out_c) {
    return JLT_ERR_PARAMS;
  }
  if (!jlt_is_s8(p->in_zero_point) || !jlt_is_s8(p->out_zero_point) || !clamps_s8(p->act_min, p->act_max)) {
    return JLT_ERR_PARAMS;
  }
  const uint64_t taps = (uint64_t)p->k_h * p->k_w;
  if (op->code == JLT_OP_CODE_DWCONV) {
    if (p->groups != 1 || p->out_c % p->in_c || w->rows != 1 || w->row_elements != taps * p->out_c) {
      return JLT_ERR_PARAMS;
    }
    return jlt_check_accumulator(c, op, taps);
  }
  if (p->in_c % p->groups || p->out_c % p->groups || w->rows != p->out_c ||
      w->row_elements != taps * (p->in_c / p->groups)) {
    return JLT_ERR_PARAMS;
  }
  return jlt_check_accumulator(c, op, w->row_elements);
}

// Every window meets the input: the first ends after its start, the last starts before its end.
static bool windows_meet(uint32_t in, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad) {
  return k && stride && pad < k && reaches(out, stride, k, 1) && (uint64_t)(out - 1) * stride < (uint64_t)in + pad;
}

static jlt_status_t check_pool(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_pool_params_t *p = params;
  const uint32_t in[] = {p->n, p->in_h, p->in_w, p->c};
  const uint32_t out[] = {p->n, p->out_h, p->out_w, p->c};
  if (jlt_elements(in, 4) != in_elements(c, op, 0) || jlt_elements(out, 4) != out_elements(c, op)) {
    return JLT_ERR_PARAMS;
  }
  if (!windows_meet(p->in_h, p->out_h, p->k_h, p->stride_h, p->pad_top) ||
      !windows_meet(p->in_w, p->out_w, p->k_w, p->stride_w, p->pad_left)) {
    return JLT_ERR_PARAMS;
  }
  // a sum of 2^24 values of 7 bits stays in 32
  return (uint64_t)p->k_h * p->k_w <= (1u << 23) && clamps_s8(p->act_min, p->act_max) ? JLT_OK : JLT_ERR_PARAMS;
}

static jlt_status_t check_mean(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_mean_params_t *p = params;
  uint32_t kept[6];
  uint32_t summed[6];
  for (uint32_t d = 0; d < 6; d++) {
    if (p->reduced[d] > 1) {
      return JLT_ERR_PARAMS;
    }
    kept[d] = p->reduced[d] ? 1 : p->dims[d];
    summed[d] = p->reduced[d] ? p->dims[d] : 1;
  }
  // 2^23 · 255 < 2^31
  if (jlt_elements(p->dims, 6) != in_elements(c, op, 0) || jlt_elements(kept, 6) != out_elements(c, op) ||
      jlt_elements(summed, 6) != p->count || p->count > (1u << 23)) {
    return JLT_ERR_PARAMS;
  }
  return jlt_is_s8(p->in_zero_point) && jlt_is_s8(p->out_zero_point) && is_multiplier(p->multiplier, p->shift)
             ? JLT_OK
             : JLT_ERR_PARAMS;
}

static bool stays_inside(const uint32_t *dims, const uint32_t *stride, uint32_t elements) {
  uint64_t last = 0;
  for (uint32_t d = 0; d < 6; d++) {
    if (stride[d] > JLT_ELEMENTS_LIMIT) {
      return false;
    }
    last += (uint64_t)(dims[d] - 1) * stride[d];
  }
  return last < elements;
}

static jlt_status_t check_binary(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_binary_params_t *p = params;
  if (jlt_elements(p->dims, 6) != out_elements(c, op) ||
      !stays_inside(p->dims, p->stride_a, in_elements(c, op, 0)) ||
      !stays_inside(p->dims, p->stride_b, in_elements(c, op, 1))) {
    return JLT_ERR_PARAMS;
  }
  if (!jlt_is_s8(p->a_zero_point) || !jlt_is_s8(p->b_zero_point) || !jlt_is_s8(p->out_zero_point) ||
      !clamps_s8(p->act_min, p->act_max) || !is_multiplier(p->out_multiplier, p->out_shift)) {
    return JLT_ERR_PARAMS;
  }
  if (op->code == JLT_OP_CODE_MUL) {
    return JLT_OK;
  }
  // 255 · 2^20 on each side: their sum stays below 2^29
  const bool scales = p->left_shift >= 0 && p->left_shift <= 20 && is_multiplier(p->a_multiplier, p->a_shift) &&
                      is_multiplier(p->b_multiplier, p->b_shift) && p->a_shift <= 0 && p->b_shift <= 0;
  return scales ? JLT_OK : JLT_ERR_PARAMS;
}

static bool copy_inside(const uint32_t *dims, const int32_t *stride, uint32_t offset, uint32_t elements) {
  int64_t least = offset;
  int64_t most = offset;
  for (uint32_t d = 0; d < 6; d++) {
    if (stride[d] > (int32_t)JLT_ELEMENTS_LIMIT || stride[d] < -(int32_t)JLT_ELEMENTS_LIMIT) {
      return false;
    }
    const int64_t span = (int64_t)(dims[d] - 1) * stride[d];
    least += span < 0 ? span : 0;
    most += span > 0 ? span : 0;
  }
  return least >= 0 && most < (int64_t)elements;
}

static jlt_status_t check_copy(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_copy_params_t *p = params;
  const uint32_t count = jlt_elements(p->dims, 6);
  if (count == 0 || count > out_elements(c, op) || op->inputs[0] == op->output ||
      !copy_inside(p->dims, p->in_stride, p->in_offset, in_elements(c, op, 0)) ||
      !copy_inside(p->dims, p->out_stride, p->out_offset, out_elements(c, op))) {
    return JLT_ERR_PARAMS;
  }
  return JLT_OK;
}

static jlt_status_t check_fill(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_fill_params_t *p = params;
  const bool is_s8 = c->tensors[op->output].dtype == JLT_DTYPE_S8;
  return !is_s8 || jlt_is_s8(p->value) ? JLT_OK : JLT_ERR_PARAMS;
}

static jlt_status_t check_lut(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_lut_params_t *p = params;
  const bool known = p->function >= JLT_UNARY_REQUANTIZE && p->function <= JLT_UNARY_TANH;
  return known && in_elements(c, op, 0) == out_elements(c, op) ? JLT_OK : JLT_ERR_PARAMS;
}

static jlt_status_t check_softmax(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_softmax_params_t *p = params;
  const uint32_t extents[] = {p->rows, p->columns};
  // 4095 · 2^19 < 2^31: the sum has 12 integer bits
  if (jlt_elements(extents, 2) != in_elements(c, op, 0) || in_elements(c, op, 0) != out_elements(c, op) ||
      p->columns > 4095) {
    return JLT_ERR_PARAMS;
  }
  for (uint32_t i = 0; i < 256; i++) {
    if (p->exp_table[i] < 0) {
      return JLT_ERR_PARAMS;
    }
  }
  return p->exp_table[0] == INT32_MAX ? JLT_OK : JLT_ERR_PARAMS;
}

static jlt_status_t check_resize(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_resize_params_t *p = params;
  if (op->params_bytes < sizeof(*p)) {
    return JLT_ERR_PARAMS;
  }
  const uint32_t in[] = {p->n, p->in_h, p->in_w, p->c};
  const uint32_t out[] = {p->n, p->out_h, p->out_w, p->c};
  if (jlt_elements(in, 4) != in_elements(c, op, 0) || jlt_elements(out, 4) != out_elements(c, op) ||
      p->in_h > UINT16_MAX || p->in_w > UINT16_MAX || p->out_h > UINT16_MAX || p->out_w > UINT16_MAX ||
      p->align_corners > 1 || p->half_pixel_centers > 1) {
    return JLT_ERR_PARAMS;
  }
  if (op->code == JLT_OP_CODE_RESIZE_BILINEAR) {
    return JLT_OK;
  }
  const uint16_t *rows = (const uint16_t *)(p + 1);
  const uint64_t table_bytes = jlt_align_up(2u * ((uint64_t)p->out_h + p->out_w), 4);
  if (op->params_bytes != sizeof(*p) + table_bytes && op->params_bytes != sizeof(*p) + 2u * (p->out_h + p->out_w)) {
    return JLT_ERR_PARAMS;
  }
  for (uint32_t i = 0; i < p->out_h + p->out_w; i++) {
    if (rows[i] >= (i < p->out_h ? p->in_h : p->in_w)) {
      return JLT_ERR_PARAMS;
    }
  }
  return JLT_OK;
}

static jlt_status_t check_convert(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_convert_params_t *p = params;
  return jlt_is_s8(p->zero_point) && in_elements(c, op, 0) == out_elements(c, op) ? JLT_OK : JLT_ERR_PARAMS;
}

static jlt_status_t check_arg_max(const jlt_container_t *c, const jlt_op_t *op, const void *params) {
  const jlt_arg_max_params_t *p = params;
  const uint32_t in[] = {p->outer, p->size, p->inner};
  const uint32_t out[] = {p->outer, p->inner};
  return jlt_elements(in, 3) == in_elements(c, op, 0) && jlt_elements(out, 2) == out_elements(c, op) ? JLT_OK
                                                                                                      : JLT_ERR_PARAMS;
}

jlt_status_t jlt_check_params(const jlt_container_t *c, const jlt_op_t *op) {
  static jlt_status_t (*const checks[])(const jlt_container_t *, const jlt_op_t *, const void *) = {
      JLT_PLACE(CONV) = check_conv,
      JLT_PLACE(DWCONV) = check_conv,
      JLT_PLACE(FC) = check_conv,
      JLT_PLACE(AVGPOOL) = check_pool,
      JLT_PLACE(MAXPOOL) = check_pool,
      JLT_PLACE(MEAN) = check_mean,
      JLT_PLACE(ADD) = check_binary,
      JLT_PLACE(SUB) = check_binary,
      JLT_PLACE(MUL) = check_binary,
      JLT_PLACE(COPY) = check_copy,
      JLT_PLACE(FILL) = check_fill,
      JLT_PLACE(LUT) = check_lut,
      JLT_PLACE(SOFTMAX) = check_softmax,
      JLT_PLACE(RESIZE_NEAREST) = check_resize,
      JLT_PLACE(RESIZE_BILINEAR) = check_resize,
      JLT_PLACE(QUANTIZE) = check_convert,
      JLT_PLACE(DEQUANTIZE) = check_convert,
      JLT_PLACE(ARGMAX) = check_arg_max,
      [0] = NULL,
  };
  return checks[op->code](c, op, c->pool + op->params_offset);
}
