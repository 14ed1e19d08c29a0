// SPDX-License-Identifier: Apache-2.0
// Reading weights and operands whatever their storage.
#include "core/quantise.h"
#include "kernels/kernels.h"

// Both nibbles: q = 16u + l − 128, exactly the imported weight.
static void unpack_nested_8(const uint8_t *high, const uint8_t *low, uint32_t count, int32_t minus, int16_t *out) {
  for (uint32_t i = 0; i < count / 2; i++) {
    const int32_t h = high[i];
    const int32_t l = low[i];
    out[2 * i] = (int16_t)((((h & 15) << 4) | (l & 15)) - minus);
    out[2 * i + 1] = (int16_t)(((h & 0xF0) | (l >> 4)) - minus);
  }
  if (count % 2) {
    out[count - 1] = (int16_t)((((high[count / 2] & 15) << 4) | (low[count / 2] & 15)) - minus);
  }
}

// The high nibble alone: q = 16u − 120, the middle of its bucket.
static void unpack_nested_4(const uint8_t *high, uint32_t count, int32_t minus, int16_t *out) {
  for (uint32_t i = 0; i < count / 2; i++) {
    const int32_t h = high[i];
    out[2 * i] = (int16_t)(((h & 15) << 4) - minus);
    out[2 * i + 1] = (int16_t)((h & 0xF0) - minus);
  }
  if (count % 2) {
    out[count - 1] = (int16_t)(((high[count / 2] & 15) << 4) - minus);
  }
}

void jlt_unpack_row(const jlt_weights_t *weights, uint32_t row, int16_t *out) {
  const uint32_t count = weights->record->row_elements;
  const int32_t zero_point = weights->record->zero_point;
  if (weights->s8) {
    const int8_t *from = weights->s8 + (size_t)row * count;
    for (uint32_t i = 0; i < count; i++) {
      out[i] = (int16_t)(from[i] - zero_point);
    }
    return;
  }
  const size_t at = (size_t)row * ((count + 1u) / 2u);
  if (weights->low) {
    unpack_nested_8(weights->high + at, weights->low + at, count, 128 + zero_point, out);
  } else {
    unpack_nested_4(weights->high + at, count, 120 + zero_point, out);
  }
}

float jlt_operand_f32(const jlt_call_t *call, uint32_t operand, uint64_t index) {
  const jlt_tensor_t *tensor = call->in_tensor[operand];
  if ((tensor->flags & JLT_TENSOR_FLAG_CONST) && tensor->dtype == JLT_DTYPE_S8) {
    return jlt_dequantise_s8(((const int8_t *)call->in[operand])[index], tensor->scale, tensor->zero_point);
  }
  return ((const float *)call->in[operand])[index];
}
