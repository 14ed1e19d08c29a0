// SPDX-License-Identifier: Apache-2.0
// Checks of stored weights, their requantisation and biases, and of the accumulators; FORMAT.md §4.
#include "core/bytes.h"
#include "core/check.h"

static bool stored(const jlt_container_t *c, const jlt_weight_t *w) {
  if (w->storage == JLT_STORAGE_S8) {
    return jlt_within(w->offset, (uint64_t)w->rows * w->row_elements, c->data_s8_bytes);
  }
  return w->storage == JLT_STORAGE_NESTED &&
         jlt_within(w->offset, (uint64_t)w->rows * ((w->row_elements + 1u) / 2u), c->plane_bytes);
}

static jlt_status_t check_weight(const jlt_container_t *c, const jlt_weight_t *w, bool with_f32) {
  const uint32_t extents[] = {w->rows, w->row_elements};
  const uint64_t elements = jlt_elements(extents, 2);
  if (elements == 0 || w->channels == 0 || w->rounding > JLT_ROUNDING_ONCE || !jlt_is_s8(w->zero_point) || !stored(c, w)) {
    return JLT_ERR_WEIGHT;
  }
  const uint64_t f32_bytes = 4u * (elements + w->channels);
  if (with_f32 && (w->f32_offset % 4u || !jlt_within(w->f32_offset, f32_bytes, c->data_f32_bytes))) {
    return JLT_ERR_WEIGHT;
  }
  const uint64_t table_bytes = 4u * (uint64_t)w->n_multipliers;
  if ((w->n_multipliers != 1 && w->n_multipliers != w->channels) ||
      !jlt_in_pool(c, w->multiplier_offset, table_bytes, 4) || !jlt_in_pool(c, w->shift_offset, table_bytes, 4)) {
    return JLT_ERR_WEIGHT;
  }
  const int32_t *multipliers = (const int32_t *)(c->pool + w->multiplier_offset);
  const int32_t *shifts = (const int32_t *)(c->pool + w->shift_offset);
  for (uint32_t i = 0; i < w->n_multipliers; i++) {
    if (multipliers[i] < 0 || shifts[i] < -31 || shifts[i] > 30) {
      return JLT_ERR_WEIGHT;
    }
  }
  return JLT_OK;
}

static jlt_status_t check_layer(const jlt_container_t *c, const jlt_precision_t *precision, const jlt_weight_t *w,
                                const jlt_layer_t *layer) {
  if (precision->is_f32) {
    return layer->bits == 32 ? JLT_OK : JLT_ERR_LAYER;
  }
  if (layer->bits != 8 && !(layer->bits == 4 && w->storage == JLT_STORAGE_NESTED)) {
    return JLT_ERR_LAYER;
  }
  return jlt_in_pool(c, layer->bias_offset, 4u * (uint64_t)w->channels, 4) ? JLT_OK : JLT_ERR_LAYER;
}

jlt_status_t jlt_check_weights(const jlt_container_t *c) {
  const bool with_f32 = jlt_runs_f32(c);
  for (uint32_t i = 0; i < c->model->n_weights; i++) {
    const jlt_status_t err = check_weight(c, &c->weights[i], with_f32);
    if (err) {
      return err;
    }
  }
  for (uint32_t p = 0; p < c->model->n_precisions; p++) {
    for (uint32_t i = 0; i < c->model->n_weights; i++) {
      const jlt_layer_t *layer = &c->layers[p * c->model->n_weights + i];
      const jlt_status_t err = check_layer(c, &c->precisions[p], &c->weights[i], layer);
      if (err) {
        return err;
      }
    }
  }
  return JLT_OK;
}

/// Accumulators ///

static uint32_t magnitude(int32_t value) { return value < 0 ? 0u - (uint32_t)value : (uint32_t)value; }

static int32_t weight_at(const jlt_container_t *c, const jlt_weight_t *w, uint8_t bits, uint32_t row, uint32_t i) {
  if (w->storage == JLT_STORAGE_S8) {
    return c->data_s8[w->offset + (uint64_t)row * w->row_elements + i] - w->zero_point;
  }
  const uint64_t at = w->offset + (uint64_t)row * ((w->row_elements + 1u) / 2u) + i / 2u;
  const uint32_t shift = i % 2u * 4u;
  const int32_t high = (c->plane_high[at] >> shift) & 15;
  if (bits == 4 || !c->plane_low) {
    // without the low plane the layer cannot run at 8 bits; the bucket's middle keeps the bound meaningful
    return 16 * high - 120 - w->zero_point;
  }
  return 16 * high + ((c->plane_low[at] >> shift) & 15) - 128 - w->zero_point;
}

// One channel: a whole row, or every channels-th element of the single row of dwconv.
static uint64_t sum_magnitudes(const jlt_container_t *c, const jlt_weight_t *w, uint8_t bits, uint32_t channel,
                               bool interleaved) {
  uint64_t sum = 0;
  const uint32_t first = interleaved ? channel : 0;
  const uint32_t step = interleaved ? w->channels : 1;
  for (uint32_t i = first; i < w->row_elements; i += step) {
    sum += magnitude(weight_at(c, w, bits, interleaved ? 0 : channel, i));
  }
  return sum;
}

static jlt_status_t check_layer_sums(const jlt_container_t *c, const jlt_op_t *op, const jlt_layer_t *layer,
                                     uint64_t terms) {
  const jlt_weight_t *w = &c->weights[op->weight];
  const int32_t *bias = (const int32_t *)(c->pool + layer->bias_offset);
  const int32_t zero_point = ((const jlt_conv_params_t *)(const void *)(c->pool + op->params_offset))->in_zero_point;
  const uint64_t most_x = (uint64_t)(zero_point < 0 ? 127 - zero_point : zero_point + 128);
  for (uint32_t channel = 0; channel < w->channels; channel++) {
    const uint64_t limit = (uint64_t)INT32_MAX - (magnitude(bias[channel]) & 0x7FFFFFFFu);
    if (magnitude(bias[channel]) > (uint32_t)INT32_MAX) {
      return JLT_ERR_ACCUMULATOR;
    }
    // the cheap bound first: |w − zero_point| never exceeds 255
    if (terms * 255u * most_x > limit &&
        sum_magnitudes(c, w, layer->bits, channel, op->code == JLT_OP_CODE_DWCONV) * most_x > limit) {
      return JLT_ERR_ACCUMULATOR;
    }
  }
  return JLT_OK;
}

jlt_status_t jlt_check_accumulator(const jlt_container_t *c, const jlt_op_t *op, uint64_t terms) {
  for (uint32_t p = 0; p < c->model->n_precisions; p++) {
    if (c->precisions[p].is_f32) {
      continue;
    }
    const jlt_status_t err = check_layer_sums(c, op, &c->layers[p * c->model->n_weights + op->weight], terms);
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}
