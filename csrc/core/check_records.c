// SPDX-License-Identifier: Apache-2.0
// Checks of the model, its tensors, precisions, exits and paths; FORMAT.md §3.
#include "core/bytes.h"
#include "core/check.h"

bool jlt_in_pool(const jlt_container_t *c, uint32_t offset, uint64_t bytes, uint32_t alignment) {
  return offset % alignment == 0 && jlt_within(offset, bytes, c->pool_bytes);
}

static bool is_variable(const jlt_container_t *c, uint16_t tensor) {
  return tensor < c->model->n_tensors && !(c->tensors[tensor].flags & JLT_TENSOR_FLAG_CONST);
}

static jlt_status_t check_model(const jlt_container_t *c) {
  const jlt_model_t *m = c->model;
  if (m->n_tensors == 0 || m->n_tensors > JLT_TENSORS_LIMIT || m->n_ops == 0 || m->n_ops > JLT_OPS_LIMIT ||
      m->n_precisions == 0 || m->n_paths == 0) {
    return JLT_ERR_MODEL;
  }
  if (m->n_exits == 0 || m->n_exits > JLT_MAX_EXITS || m->n_inputs == 0 || m->n_inputs > JLT_MAX_INPUTS ||
      m->n_outputs == 0 || m->n_outputs > JLT_MAX_OUTPUTS) {
    return JLT_ERR_MODEL;
  }
  for (uint32_t i = 0; i < m->n_inputs; i++) {
    if (!is_variable(c, m->inputs[i]) || !(c->tensors[m->inputs[i]].flags & JLT_TENSOR_FLAG_INPUT)) {
      return JLT_ERR_MODEL;
    }
  }
  for (uint32_t i = 0; i < m->n_outputs; i++) {
    if (!is_variable(c, m->outputs[i])) {
      return JLT_ERR_MODEL;
    }
  }
  return JLT_OK;
}

uint32_t jlt_tensor_bytes(const jlt_tensor_t *tensor) {
  return tensor->dtype == JLT_DTYPE_S8 ? tensor->elements : tensor->elements * 4u;
}

static jlt_status_t check_tensor(const jlt_container_t *c, const jlt_tensor_t *t) {
  const bool is_const = (t->flags & JLT_TENSOR_FLAG_CONST) != 0;
  if (t->dtype < JLT_DTYPE_S8 || t->dtype > JLT_DTYPE_F32 || t->rank > JLT_MAX_RANK || !jlt_is_s8(t->zero_point)) {
    return JLT_ERR_TENSOR;
  }
  if (t->elements == 0 || jlt_elements(t->dims, JLT_MAX_RANK) != t->elements) {
    return JLT_ERR_TENSOR;
  }
  for (uint32_t d = t->rank; d < JLT_MAX_RANK; d++) {
    if (t->dims[d] != 1) {
      return JLT_ERR_TENSOR;
    }
  }
  if (is_const && (t->flags & JLT_TENSOR_FLAG_INPUT)) {
    return JLT_ERR_TENSOR;
  }
  if ((t->flags & JLT_TENSOR_FLAG_BORDER_U8) && t->dtype != JLT_DTYPE_S8) {
    return JLT_ERR_TENSOR;
  }
  const uint32_t alignment = t->dtype == JLT_DTYPE_S8 ? 1 : 4;
  if (is_const && !jlt_in_pool(c, t->const_offset, jlt_tensor_bytes(t), alignment)) {
    return JLT_ERR_TENSOR;
  }
  return is_const || t->const_offset == JLT_NO_OFFSET ? JLT_OK : JLT_ERR_TENSOR;
}

static jlt_status_t check_exit(const jlt_container_t *c, uint32_t k) {
  const jlt_exit_t *e = &c->exits[k];
  if (e->last_op >= c->model->n_ops || (k > 0 && e->last_op <= c->exits[k - 1].last_op)) {
    return JLT_ERR_EXIT;
  }
  const uint8_t owner = c->ops[e->last_op].exit;
  if ((owner != JLT_BACKBONE && owner != k) || !is_variable(c, e->output)) {
    return JLT_ERR_EXIT;
  }
  // every exit answers in the place of output 0
  const jlt_tensor_t *answer = &c->tensors[c->model->outputs[0]];
  const jlt_tensor_t *output = &c->tensors[e->output];
  if (output->dtype != answer->dtype || output->elements != answer->elements) {
    return JLT_ERR_EXIT;
  }
  if (e->n_classes == 0) {
    return e->flags & JLT_EXIT_FLAG_CLASSES ? JLT_ERR_EXIT : JLT_OK;
  }
  if (!is_variable(c, e->logits) || c->tensors[e->logits].dtype != JLT_DTYPE_S8 ||
      c->tensors[e->logits].elements != e->n_classes) {
    return JLT_ERR_EXIT;
  }
  return JLT_OK;
}

static jlt_status_t check_path(const jlt_container_t *c, const jlt_path_t *path) {
  const uint32_t n = c->model->n_exits;
  for (uint32_t k = 0; k < n; k++) {
    if (path->precisions[k] >= c->model->n_precisions ||
        c->precisions[path->precisions[k]].is_f32 != c->precisions[path->precisions[0]].is_f32) {
      return JLT_ERR_PATH;
    }
    if (path->confidence[k] != JLT_NO_INDEX && path->confidence[k] >= c->n_confidence) {
      return JLT_ERR_PATH;
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_check_records(const jlt_container_t *c) {
  for (uint32_t i = 0; i < c->model->n_tensors; i++) {
    const jlt_status_t err = check_tensor(c, &c->tensors[i]);
    if (err) {
      return err;
    }
  }
  const jlt_status_t err = check_model(c);
  if (err) {
    return err;
  }
  for (uint32_t i = 0; i < c->model->n_precisions; i++) {
    if (c->precisions[i].is_f32 > 1) {
      return JLT_ERR_PRECISION;
    }
  }
  for (uint32_t k = 0; k < c->model->n_exits; k++) {
    const jlt_status_t exit_err = check_exit(c, k);
    if (exit_err) {
      return exit_err;
    }
  }
  for (uint32_t i = 0; i < c->model->n_paths; i++) {
    const jlt_status_t path_err = check_path(c, &c->paths[i]);
    if (path_err) {
      return path_err;
    }
  }
  return JLT_OK;
}
