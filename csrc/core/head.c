// SPDX-License-Identifier: Apache-2.0
#include "core/head.h"

#include <string.h>

#include "core/confidence.h"
#include "core/requantise.h"

static bool is_linear(const jlt_container_t *c, const jlt_op_t *op) {
  if (op->code != JLT_OP_CODE_FC) {
    return false;
  }
  const jlt_weight_t *w = &c->weights[op->weight];
  return c->tensors[op->inputs[0]].elements == w->row_elements && c->tensors[op->output].elements == w->rows &&
         w->zero_point == 0 && w->rounding == JLT_ROUNDING_TWICE && w->row_elements <= UINT16_MAX;
}

// What an exit's head writes: its logits, or what a gate is multiplied with to make them.
static uint16_t ungated(const jlt_container_t *c, uint8_t exit) {
  const jlt_exit_t *x = &c->exits[exit];
  for (uint32_t i = 0; i <= x->last_op; i++) {
    const jlt_op_t *op = &c->ops[i];
    if (op->code == JLT_OP_CODE_MUL && op->exit == exit && op->output == x->logits) {
      return op->inputs[0];
    }
  }
  return x->logits;
}

jlt_status_t jlt_head_find(const jlt_container_t *container, uint8_t exit, jlt_head_t *head) {
  if (!container || !head || exit >= container->model->n_exits) {
    return JLT_ERR_ARGUMENT;
  }
  const jlt_exit_t *x = &container->exits[exit];
  if ((x->flags & JLT_EXIT_FLAG_IMPORTED) || x->n_classes < 2) {
    return JLT_ERR_EXIT;
  }
  const uint16_t logits = ungated(container, exit);
  for (uint16_t i = 0; i <= x->last_op; i++) {
    const jlt_op_t *op = &container->ops[i];
    if (op->exit == exit && op->output == logits && is_linear(container, op) &&
        container->weights[op->weight].rows == x->n_classes) {
      head->n_features = (uint16_t)container->weights[op->weight].row_elements;
      head->n_classes = x->n_classes;
      head->op = i;
      head->exit = exit;
      head->fresh = false;
      head->taught = false;
      return JLT_OK;
    }
  }
  return JLT_ERR_EXIT;
}

void jlt_head_run(jlt_head_t *head, const jlt_conv_params_t *params, const int8_t *features, int8_t *logits) {
  memcpy(head->features, features, head->n_features);
  head->fresh = true;
  head->predicted = 0;
  const int8_t *row = head->weights;
  for (uint32_t c = 0; c < head->n_classes; c++, row += head->n_features) {
    int32_t sum = head->bias[c];
    for (uint32_t i = 0; i < head->n_features; i++) {
      sum += (int32_t)row[i] * (head->features[i] - params->in_zero_point);
    }
    logits[c] = jlt_requantise_s8(sum, head->multipliers[c], head->shifts[c], params->out_zero_point, params->act_min,
                                  params->act_max);
    head->predicted = logits[c] > logits[head->predicted] ? (uint16_t)c : head->predicted;
  }
  head->margin = jlt_margin_s8(logits, head->n_classes);
}

uint16_t jlt_head_confidence_q15(jlt_head_t *head, const jlt_container_t *container, uint16_t path, uint16_t margin) {
  const uint16_t table = container->paths[path].confidence[head->exit];
  if (!head->taught || table == JLT_NO_INDEX) {
    return jlt_confidence_q15(container, path, head->exit, margin);
  }
  const uint16_t *prior = container->confidence + (uint32_t)table * JLT_CONFIDENCE_BINS;
  return jlt_prequential_confidence(&head->prequential, prior, margin);
}
