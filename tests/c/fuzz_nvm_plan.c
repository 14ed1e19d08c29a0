// SPDX-License-Identifier: Apache-2.0
// Harness of jlt_nvm_plan_find: plans mutated word by word, in a container that is sound otherwise. What is let through
// is used as a board would: every kept tensor is written into memory of exactly the size that was promised.
//
//   fuzz_nvm_plan M.jlt BOARD MUTATIONS
#define _POSIX_C_SOURCE 200112L  // posix_memalign

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/nvm_plan.h"

enum { NVM_BYTES = 4096 };

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 4;
}

static void use(const jlt_container_t *c, const jlt_nvm_plan_view_t *view) {
  uint8_t *memory = malloc(view->plan->total_bytes ? view->plan->total_bytes : 1u);
  for (uint32_t copy = 0; copy < view->plan->copies; copy++) {
    for (uint32_t t = 0; t < c->model->n_tensors; t++) {
      if (view->offsets[t] != JLT_NO_OFFSET) {
        memset(memory + copy * view->plan->copy_bytes + view->offsets[t], (int)t, jlt_tensor_bytes(&c->tensors[t]));
      }
    }
  }
  free(memory);
}

static uint32_t extreme(uint32_t *state) {
  static const uint32_t values[] = {0, 1, 2, 3, 4, 64, 4096, 0x7FFFFFFCu, 0x80000000u, 0xFFFFFFFCu, 0xFFFFFFFFu};
  const uint32_t pick = next_random(state) % 16u;
  return pick < sizeof(values) / sizeof(values[0]) ? values[pick] : next_random(state) % NVM_BYTES;
}

int main(int count, char **arguments) {
  FILE *file = count == 4 ? fopen(arguments[1], "rb") : NULL;
  if (!file || fseek(file, 0, SEEK_END)) {
    return 2;
  }
  const uint32_t bytes = (uint32_t)ftell(file);
  rewind(file);
  void *data;
  if (posix_memalign(&data, JLT_BASE_ALIGN_BYTES, bytes) || fread(data, 1, bytes, file) != bytes) {
    return 2;
  }
  jlt_container_t container;
  jlt_nvm_plan_view_t view;
  if (jlt_container_check(data, bytes, &container) ||
      jlt_nvm_plan_find(&container, arguments[2], NVM_BYTES, &view)) {
    return 3;
  }
  const uint32_t size = (uint32_t)sizeof(jlt_nvm_plan_t) + 4u * container.model->n_tensors;
  uint32_t *section = (uint32_t *)(void *)((uint8_t *)data + ((const uint8_t *)view.plan - (const uint8_t *)data));
  uint32_t *sound = malloc(size);
  memcpy(sound, section, size);
  uint32_t state = 1, admitted = 0;
  const int mutations = atoi(arguments[3]);
  for (int i = 0; i < mutations; i++) {
    memcpy(section, sound, size);
    for (uint32_t k = next_random(&state) % 3u; k < 3u; k++) {
      section[8u + next_random(&state) % (size / 4u - 8u)] = extreme(&state);
    }
    if (!jlt_nvm_plan_find(&container, arguments[2], NVM_BYTES, &view)) {
      admitted++;
      use(&container, &view);
    }
  }
  printf("%u of %d admitted\n", (unsigned)admitted, mutations);
  free(sound);
  free(data);
  fclose(file);
  return 0;
}
