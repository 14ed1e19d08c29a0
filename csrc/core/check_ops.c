// SPDX-License-Identifier: Apache-2.0
// Checks of op records: indices, element types, size of the parameters; FORMAT.md §5.
#include "core/check.h"
#include "kernels/selection.h"

typedef struct {
  uint8_t n_inputs;
  uint8_t in;         // DType of every input, 0 for any
  uint8_t out;        // DType of the output, 0 for that of the input
  bool weighted;
  bool takes_const;   // inputs may be constant tensors
  uint16_t params_bytes;
} rule_t;

enum { ANY = 0, S8 = JLT_DTYPE_S8, S32 = JLT_DTYPE_S32, F32 = JLT_DTYPE_F32 };

static const rule_t rules[] = {
    JLT_PLACE(CONV) = {1, S8, S8, true, false, sizeof(jlt_conv_params_t)},
    JLT_PLACE(DWCONV) = {1, S8, S8, true, false, sizeof(jlt_conv_params_t)},
    JLT_PLACE(FC) = {1, S8, S8, true, false, sizeof(jlt_conv_params_t)},
    JLT_PLACE(AVGPOOL) = {1, S8, S8, false, false, sizeof(jlt_pool_params_t)},
    JLT_PLACE(MAXPOOL) = {1, S8, S8, false, false, sizeof(jlt_pool_params_t)},
    JLT_PLACE(MEAN) = {1, S8, S8, false, false, sizeof(jlt_mean_params_t)},
    JLT_PLACE(ADD) = {2, S8, S8, false, true, sizeof(jlt_binary_params_t)},
    JLT_PLACE(SUB) = {2, S8, S8, false, true, sizeof(jlt_binary_params_t)},
    JLT_PLACE(MUL) = {2, S8, S8, false, true, sizeof(jlt_binary_params_t)},
    JLT_PLACE(COPY) = {1, ANY, ANY, false, true, sizeof(jlt_copy_params_t)},
    JLT_PLACE(FILL) = {0, ANY, ANY, false, false, sizeof(jlt_fill_params_t)},
    JLT_PLACE(LUT) = {1, S8, S8, false, false, sizeof(jlt_lut_params_t)},
    JLT_PLACE(SOFTMAX) = {1, S8, S8, false, false, sizeof(jlt_softmax_params_t)},
    JLT_PLACE(RESIZE_NEAREST) = {1, S8, S8, false, false, 0},  // a table follows; see check_params.c
    JLT_PLACE(RESIZE_BILINEAR) = {1, S8, S8, false, false, sizeof(jlt_resize_params_t)},
    JLT_PLACE(QUANTIZE) = {1, F32, S8, false, false, sizeof(jlt_convert_params_t)},
    JLT_PLACE(DEQUANTIZE) = {1, S8, F32, false, false, sizeof(jlt_convert_params_t)},
    JLT_PLACE(ARGMAX) = {1, S8, S32, false, false, sizeof(jlt_arg_max_params_t)},
    [0] = {0},
};

static jlt_status_t check_types(const jlt_container_t *c, const jlt_op_t *op, const rule_t *rule) {
  if (op->n_inputs != rule->n_inputs || op->output >= c->model->n_tensors) {
    return JLT_ERR_OP;
  }
  const jlt_tensor_t *out = &c->tensors[op->output];
  if ((out->flags & (JLT_TENSOR_FLAG_CONST | JLT_TENSOR_FLAG_INPUT)) || (rule->out != ANY && out->dtype != rule->out)) {
    return JLT_ERR_OP;
  }
  for (uint32_t i = 0; i < op->n_inputs; i++) {
    if (op->inputs[i] >= c->model->n_tensors) {
      return JLT_ERR_OP;
    }
    const jlt_tensor_t *in = &c->tensors[op->inputs[i]];
    if (in->dtype != (rule->in == ANY ? out->dtype : rule->in)) {
      return JLT_ERR_OP;
    }
    if ((in->flags & JLT_TENSOR_FLAG_CONST) && !rule->takes_const) {
      return JLT_ERR_OP;
    }
  }
  return JLT_OK;
}

static jlt_status_t check_op(const jlt_container_t *c, uint32_t index) {
  const jlt_op_t *op = &c->ops[index];
  if (op->code == 0 || op->code >= sizeof(rules) / sizeof(rules[0]) || !JLT_HAS(JLT_OPS, op->code)) {
    return op->code && JLT_IS_SELECTION ? JLT_ERR_KERNEL : JLT_ERR_OP;
  }
  const rule_t *rule = &rules[op->code];
  if (op->segment >= c->model->n_exits || (op->exit != JLT_BACKBONE && op->exit >= c->model->n_exits)) {
    return JLT_ERR_OP;
  }
  if (op->exit != JLT_BACKBONE && index > c->exits[op->exit].last_op) {
    return JLT_ERR_OP;
  }
  if (rule->weighted ? op->weight >= c->model->n_weights : op->weight != JLT_NO_INDEX) {
    return JLT_ERR_OP;
  }
  const jlt_status_t err = check_types(c, op, rule);
  if (err) {
    return err;
  }
  if (!jlt_in_pool(c, op->params_offset, op->params_bytes, 4) ||
      (rule->params_bytes && op->params_bytes != rule->params_bytes)) {
    return JLT_ERR_PARAMS;
  }
  return jlt_check_params(c, op);
}

jlt_status_t jlt_check_ops(const jlt_container_t *c) {
  // weights are numbered in the order of the ops that use them, each once: that keeps the check linear
  uint32_t next_weight = 0;
  for (uint32_t i = 0; i < c->model->n_ops; i++) {
    if (c->ops[i].weight != JLT_NO_INDEX && c->ops[i].weight != next_weight++) {
      return JLT_ERR_OP;
    }
    const jlt_status_t err = check_op(c, i);
    if (err) {
      return err;
    }
  }
  return next_weight == c->model->n_weights ? JLT_OK : JLT_ERR_WEIGHT;
}
