// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 199309L  // clock_gettime
#include "host/profile.h"

#include <string.h>
#include <time.h>

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

jlt_status_t jlt_host_profile(jlt_engine_t *engine, uint16_t path, uint8_t exit, uint32_t repeats, uint64_t *least_ns) {
  memset(least_ns, 0, engine->container->model->n_ops * sizeof(*least_ns));
  for (uint32_t i = 0; i < repeats; i++) {
    jlt_event_t event = {0};
    jlt_status_t err = jlt_engine_start(engine, path);
    while (err == JLT_OK && event.kind != JLT_EVENT_EXIT) {
      const uint64_t before = now_ns();
      err = jlt_engine_step(engine, exit, &event);
      const uint64_t took = now_ns() - before;
      if (err == JLT_OK && (least_ns[event.op] == 0 || took < least_ns[event.op])) {
        least_ns[event.op] = took > 0 ? took : 1u;
      }
    }
    if (err) {
      return err;
    }
  }
  return JLT_OK;
}
