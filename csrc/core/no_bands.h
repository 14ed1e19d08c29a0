// SPDX-License-Identifier: Apache-2.0
// What stands for core/bands.h in a build for a model of which no ops run in bands: none ever do, and one of which some do is refused.
#ifndef JLT_CORE_NO_BANDS_H
#define JLT_CORE_NO_BANDS_H

#include "joulet.h"

static inline const jlt_band_group_t *jlt_band_group_of(const jlt_container_t *container, uint32_t op) {
  (void)container;
  (void)op;
  return NULL;
}

static inline uint32_t jlt_band_last(const jlt_container_t *container, uint32_t op) {
  (void)container;
  return op;
}

static inline uint32_t jlt_band_room(const jlt_container_t *container, uint32_t op) {
  return jlt_tensor_bytes(&container->tensors[container->ops[op].output]);
}

static inline jlt_status_t jlt_check_bands(const jlt_container_t *container) {
  return container->bands ? JLT_ERR_KERNEL : JLT_OK;
}

static inline bool jlt_band_may_write_over(const jlt_container_t *container, const jlt_band_group_t *group, uint32_t tensor) {
  (void)container;
  (void)group;
  (void)tensor;
  return false;
}

#endif
