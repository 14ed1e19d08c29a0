// SPDX-License-Identifier: Apache-2.0
// The weights of an op at one precision, as kernels read them.
#ifndef JLT_CORE_WEIGHTS_H
#define JLT_CORE_WEIGHTS_H

#include "kernels/kernels.h"

jlt_weights_t jlt_weights_at(const jlt_container_t *container, const jlt_weight_t *weight, const jlt_layer_t *layer);

#endif
