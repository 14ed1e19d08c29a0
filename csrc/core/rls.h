// SPDX-License-Identifier: Apache-2.0
// Recursive least squares with forgetting in fixed memory: after every sample the weights minimise
//   sum_k forgetting^(t-k) |target_k - W x_k|^2  +  what the prior says.
//
// The covariance is kept as U D U' (G. J. Bierman, Factorization Methods for Discrete Sequential Estimation, 1977,
// V.3): U upper triangular with ones, D diagonal, packed by columns. An update makes every d_j a product of positive
// numbers, so that the covariance stays symmetric and positive whatever is rounded; float32 then does what the plain
// form would need some 48 bits for. What forgetting adds is capped at the prior: directions that no sample excites do
// not blow up.
//
// Single precision, one rounding an operation: no fused multiply-add, no wider registers, no reordering. The same
// bytes everywhere.
#ifndef JLT_CORE_RLS_H
#define JLT_CORE_RLS_H

#include <stdint.h>

typedef struct {
  float *covariance;  // (n * (n + 1) / 2,) column j: U[0..j-1][j], then D[j]
  float *weights;     // (rows, n)
  float *gain;        // (n,) scratch
  float prior;        // variance of the weights at the beginning, and the most that forgetting brings back
  float forgetting;   // above 0, at most 1
  uint32_t n;
  uint32_t rows;
} jlt_rls_t;

// The prior alone: covariance prior * I. The weights are the caller's.
void jlt_rls_begin(const jlt_rls_t *rls);

// One sample x (n,): row `right` should answer `target`, all others 0. About 1.5 n^2 + 2 rows n multiplications.
void jlt_rls_update(const jlt_rls_t *rls, const float *x, uint32_t right, float target);

#endif
