// SPDX-License-Identifier: Apache-2.0
#include "core/rls.h"

#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF  // GCC: -std=c11 does so
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "float32 must be computed as float32: another way, other bytes"
#endif

void jlt_rls_begin(const jlt_rls_t *rls) {
  float *column = rls->covariance;
  for (uint32_t j = 0; j < rls->n; column += ++j) {
    memset(column, 0, j * sizeof(*column));
    column[j] = rls->prior;
  }
}

// Leaves the gain, not yet divided, and returns its divisor: the variance of the innovation.
static float update_covariance(const jlt_rls_t *rls, const float *x) {
  float *gain = rls->gain;
  float *column = rls->covariance;
  float alpha = rls->forgetting;
  for (uint32_t j = 0; j < rls->n; column += ++j) {
    float f = x[j];
    for (uint32_t i = 0; i < j; i++) {
      f += column[i] * x[i];
    }
    const float before = alpha;
    const float v = column[j] * f;
    const float p = f / before;
    alpha += v * f;
    const float d = column[j] * before / (alpha * rls->forgetting);
    column[j] = d < rls->prior ? d : rls->prior;
    for (uint32_t i = 0; i < j; i++) {
      const float u = column[i];
      column[i] = u - gain[i] * p;
      gain[i] += u * v;
    }
    gain[j] = v;
  }
  return alpha;
}

static float dot(const float *a, const float *b, uint32_t n) {
  float sum = 0.0f;
  for (uint32_t i = 0; i < n; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

void jlt_rls_update(const jlt_rls_t *rls, const float *x, uint32_t right, float target) {
  const float variance = update_covariance(rls, x);
  float *row = rls->weights;
  for (uint32_t c = 0; c < rls->rows; c++, row += rls->n) {
    const float step = ((c == right ? target : 0.0f) - dot(row, x, rls->n)) / variance;
    for (uint32_t i = 0; i < rls->n; i++) {
      row[i] += step * rls->gain[i];
    }
  }
}
