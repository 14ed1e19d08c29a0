// SPDX-License-Identifier: Apache-2.0
// How runtime/plan/packings/mve.py lays weights out: at both precisions as int8 (q, or 16u − 120), behind the int32 sum of each channel.
// Convolution and fully connected: a row a channel, padded with 0 to 16. Depthwise: [k_h · k_w][channels], as the container has them.
#ifndef JLT_KERNELS_MVE_LAYOUT_H
#define JLT_KERNELS_MVE_LAYOUT_H

#include "kernels/kernels.h"

enum { JLT_MVE_PIXELS = 4, JLT_MVE_BYTES = 16 };

static inline uint32_t jlt_mve_length(const jlt_conv_params_t *p) {
  return (p->k_h * p->k_w * p->in_c + JLT_MVE_BYTES - 1u) & ~(JLT_MVE_BYTES - 1u);
}

#endif
