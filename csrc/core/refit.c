// SPDX-License-Identifier: Apache-2.0
#include "core/refit.h"

#include <string.h>

#include "core/weights.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

enum { FEATURE_UNIT = 128 };  // steps of a feature that count as 1

// A multiplier of 1/2 needs no shift to the left, which could overflow.
#define MOST_WEIGHT (FEATURE_UNIT * 127 / 2.0f)
#define LEAST_MULTIPLIER 0x1p-31f
#define MOST_BIAS 0x1p30f  // of the accumulator; sums of products stay below 2^23

static uint32_t covariance_floats(uint32_t n) { return n * (n + 1u) / 2u; }

static uint32_t up_to_words(uint32_t bytes) { return (bytes + 3u) & ~3u; }

uint32_t jlt_refit_bytes(uint32_t n_features, uint32_t n_classes) {
  if (n_features == 0 || n_features > JLT_REFIT_FEATURES_LIMIT || n_classes < 2 || n_classes > JLT_REFIT_CLASSES_LIMIT) {
    return 0;
  }
  const uint32_t n = n_features + 1u;
  const uint32_t floats = covariance_floats(n) + n_classes * n + JLT_PREQUENTIAL_FLOATS + 2u * n;
  return 4u * (floats + 3u * n_classes) + up_to_words(n_classes * n_features) + up_to_words(n_features);
}

static void place(jlt_refit_t *refit, void *memory) {
  jlt_head_t *head = &refit->head;
  const uint32_t n = head->n_features + 1u;
  float *floats = memory;
  refit->state = floats;
  refit->rls.covariance = floats;
  refit->rls.weights = refit->rls.covariance + covariance_floats(n);
  head->prequential.seen = refit->rls.weights + head->n_classes * n;
  head->prequential.right = head->prequential.seen + JLT_PREQUENTIAL_BINS;
  refit->x = head->prequential.seen + JLT_PREQUENTIAL_FLOATS;
  refit->rls.gain = refit->x + n;
  head->bias = (int32_t *)(void *)(refit->rls.gain + n);
  head->multipliers = head->bias + head->n_classes;
  head->shifts = head->multipliers + head->n_classes;
  head->weights = (int8_t *)(void *)(head->shifts + head->n_classes);
  head->features = head->weights + up_to_words((uint32_t)head->n_classes * head->n_features);
  refit->rls.n = n;
  refit->rls.rows = head->n_classes;
  refit->state_bytes = 4u * (covariance_floats(n) + head->n_classes * n + JLT_PREQUENTIAL_FLOATS);
}

/// The container's head ///

// 8 bits where there are some, and their low plane is there.
static const jlt_layer_t *layer_of(const jlt_container_t *c, const jlt_op_t *op) {
  const jlt_layer_t *found = NULL;
  const bool whole = c->plane_low || c->weights[op->weight].storage == JLT_STORAGE_S8;
  for (uint32_t k = 0; k < c->model->n_precisions; k++) {
    const jlt_layer_t *layer = &c->layers[k * c->model->n_weights + op->weight];
    if ((layer->bits == 8 && whole && (!found || found->bits != 8)) || (layer->bits == 4 && !found)) {
      found = layer;
    }
  }
  return found;
}

// 2^exponent, for -126..127.
static float power_of_two(int32_t exponent) {
  const uint32_t bits = (uint32_t)(exponent + 127) << 23;
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// multiplier * 2^(shift - 31)
static float scale_of(int32_t multiplier, int32_t shift) { return (float)multiplier * power_of_two(shift - 31); }

static void load_row(jlt_refit_t *refit, const jlt_weights_t *weights, uint32_t row) {
  const uint32_t n = refit->head.n_features;
  int16_t *q = (int16_t *)(void *)refit->x;
  const uint32_t m = weights->record->n_multipliers > 1 ? row : 0;
  const float scale = scale_of(weights->multipliers[m], weights->shifts[m]);
  float *to = refit->rls.weights + row * (n + 1u);
  jlt_unpack_row(weights, row, q);
  for (uint32_t i = 0; i < n; i++) {
    to[i] = (float)q[i] * scale * (float)FEATURE_UNIT;
  }
  to[n] = (float)weights->bias[row] * scale;
}

static bool load_factory(jlt_refit_t *refit) {
  const jlt_container_t *c = refit->container;
  const jlt_op_t *op = &c->ops[refit->head.op];
  const jlt_layer_t *layer = layer_of(c, op);
  if (!layer) {
    return false;
  }
  jlt_weights_t weights = {0};
  jlt_find_weights(c, &c->weights[op->weight], layer, &weights);
  for (uint32_t row = 0; row < refit->head.n_classes; row++) {
    load_row(refit, &weights, row);
  }
  return true;
}

/// The head in integers ///

static float magnitude(float value) { return value < 0.0f ? -value : value; }

static int32_t rounded(float value) { return (int32_t)(value + (value < 0.0f ? -0.5f : 0.5f)); }

// A float's 24 bits of mantissa fit into a q31 multiplier: nothing is lost.
static void split(float scale, int32_t *multiplier, int32_t *shift) {
  uint32_t bits;
  memcpy(&bits, &scale, sizeof(bits));
  *multiplier = (int32_t)((bits & 0x7FFFFFu) << 7 | 1u << 30);
  *shift = (int32_t)(bits >> 23) - 126;
}

static void make_row(jlt_refit_t *refit, uint32_t row) {
  jlt_head_t *head = &refit->head;
  const uint32_t n = head->n_features;
  const float *w = refit->rls.weights + row * (n + 1u);
  int8_t *q = head->weights + row * n;
  float most = 0.0f;
  for (uint32_t i = 0; i < n; i++) {
    most = magnitude(w[i]) > most ? magnitude(w[i]) : most;
  }
  float scale = most / (FEATURE_UNIT * 127.0f);
  const float for_bias = magnitude(w[n]) / MOST_BIAS;
  scale = scale > for_bias ? scale : for_bias;
  scale = scale > LEAST_MULTIPLIER ? scale : LEAST_MULTIPLIER;
  const float step = scale * (float)FEATURE_UNIT;
  for (uint32_t i = 0; i < n; i++) {
    const int32_t value = rounded(w[i] / step);
    q[i] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
  }
  head->bias[row] = rounded(w[n] / scale);
  split(scale, &head->multipliers[row], &head->shifts[row]);
}

// Every comparison with what is not a number is false.
static bool is_sound(const jlt_refit_t *refit) {
  const jlt_rls_t *rls = &refit->rls;
  const float *column = rls->covariance;
  bool sound = jlt_prequential_is_sound(&refit->head.prequential);
  for (uint32_t j = 0; j < rls->n; column += ++j) {
    for (uint32_t i = 0; i < j; i++) {
      sound = sound && magnitude(column[i]) < 0x1p60f;
    }
    sound = sound && column[j] >= 0.0f && column[j] <= rls->prior;
  }
  for (uint32_t i = 0; i < rls->rows * rls->n; i++) {
    sound = sound && magnitude(rls->weights[i]) <= MOST_WEIGHT;
  }
  return sound;
}

static void clip_weights(const jlt_rls_t *rls) {
  for (uint32_t i = 0; i < rls->rows * rls->n; i++) {
    float *w = &rls->weights[i];
    *w = *w > MOST_WEIGHT ? MOST_WEIGHT : *w < -MOST_WEIGHT ? -MOST_WEIGHT : *w;
  }
}

static void make_integers(jlt_refit_t *refit) {
  refit->head.taught = refit->updates > 0;
  for (uint32_t row = 0; row < refit->head.n_classes; row++) {
    make_row(refit, row);
  }
}

/// Open, learn, restore ///

void jlt_refit_reset(jlt_refit_t *refit) {
  (void)load_factory(refit);  // it did at open
  clip_weights(&refit->rls);
  jlt_rls_begin(&refit->rls);
  jlt_prequential_begin(&refit->head.prequential);
  refit->updates = 0;
  refit->head.fresh = false;
  make_integers(refit);
}

// Least squares on ones and zeros answers 1 in all, so the biases of such a head add up to what it was stretched by: its right
// class, or as much of it as int8 logits can hold.
static float target_of(const jlt_refit_t *refit) {
  const jlt_rls_t *rls = &refit->rls;
  const jlt_exit_t *exit = &refit->container->exits[refit->head.exit];
  const float reach = (float)(127 - refit->container->tensors[exit->logits].zero_point);
  float sum = 0.0f;
  for (uint32_t row = 0; row < rls->rows; row++) {
    sum += rls->weights[row * rls->n + rls->n - 1u];
  }
  return sum < reach ? sum : reach;
}

static bool within(float value, float low, float high) { return value >= low && value <= high; }

jlt_status_t jlt_refit_open(jlt_refit_t *refit, const jlt_container_t *container, uint8_t exit,
                            const jlt_refit_rule_t *rule, void *memory, uint32_t bytes) {
  if (!refit || !rule || !memory) {
    return JLT_ERR_ARGUMENT;
  }
  memset(refit, 0, sizeof(*refit));
  const jlt_status_t err = jlt_head_find(container, exit, &refit->head);
  if (err) {
    return err;
  }
  const uint32_t needed = jlt_refit_bytes(refit->head.n_features, refit->head.n_classes);
  if (needed == 0) {
    return JLT_ERR_EXIT;
  }
  if (bytes < needed || (uintptr_t)memory % 4u) {
    return JLT_ERR_ARGUMENT;
  }
  if (!within(rule->forgetting, 0.9f, 1.0f) || !within(rule->prior, 1e-6f, 1e3f)) {
    return JLT_ERR_PARAMS;
  }
  const jlt_op_t *op = &container->ops[refit->head.op];
  refit->container = container;
  refit->zero_point = ((const jlt_conv_params_t *)(const void *)(container->pool + op->params_offset))->in_zero_point;
  refit->rls.forgetting = rule->forgetting;
  refit->rls.prior = rule->prior;
  place(refit, memory);
  if (!load_factory(refit)) {
    return JLT_ERR_EXIT;
  }
  refit->target = rule->target == 0.0f ? target_of(refit) : rule->target;
  if (!within(refit->target, 8.0f, 255.0f)) {
    return JLT_ERR_PARAMS;
  }
  jlt_refit_reset(refit);
  return JLT_OK;
}

jlt_status_t jlt_refit_update(jlt_refit_t *refit, uint16_t label) {
  jlt_head_t *head = &refit->head;
  if (label >= head->n_classes) {
    return JLT_ERR_ARGUMENT;
  }
  if (!head->fresh) {
    return JLT_ERR_STATE;
  }
  for (uint32_t i = 0; i < head->n_features; i++) {
    refit->x[i] = (float)(head->features[i] - refit->zero_point) / (float)FEATURE_UNIT;
  }
  refit->x[head->n_features] = 1.0f;
  head->fresh = false;
  jlt_prequential_add(&head->prequential, head->margin, head->predicted == label, refit->rls.forgetting);
  jlt_rls_update(&refit->rls, refit->x, label, refit->target);
  clip_weights(&refit->rls);
  if (!is_sound(refit)) {
    jlt_refit_reset(refit);  // no bound of ours says that this cannot be, so it is looked at
    return JLT_ERR_STATE;
  }
  refit->updates++;
  make_integers(refit);
  return JLT_OK;
}

jlt_status_t jlt_refit_restore(jlt_refit_t *refit, uint32_t updates) {
  if (!is_sound(refit)) {
    jlt_refit_reset(refit);
    return JLT_ERR_STATE;
  }
  refit->updates = updates;
  refit->head.fresh = false;
  refit->head.prequential.prior = NULL;
  make_integers(refit);
  return JLT_OK;
}
