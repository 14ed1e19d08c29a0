// SPDX-License-Identifier: Apache-2.0
// APB timer of Arm's Cortex-M System Design Kit (DDI 0479D, 4.1): counts down 32 bits, and is asked before it wraps.
#include "drivers.h"

enum { CTRL = 0x00, VALUE = 0x04, RELOAD = 0x08, CTRL_ENABLE = 1 };

static struct {
  uint64_t ticks;
  uint32_t last;
} state;

static void open_timer(const jlt_timer_t *timer) {
  JLT_REG(timer->base + RELOAD) = UINT32_MAX;
  JLT_REG(timer->base + VALUE) = UINT32_MAX;
  JLT_REG(timer->base + CTRL) = CTRL_ENABLE;
  state.last = UINT32_MAX;
}

static uint64_t ticks(const jlt_timer_t *timer) {
  const uint32_t now = JLT_REG(timer->base + VALUE);
  state.ticks += state.last - now;
  state.last = now;
  return state.ticks;
}

// It has no alarm here: with a time to wait for, the caller looks at the clock again.
static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  (void)timer;
  if (tick == UINT64_MAX) {
    __asm volatile("wfi");
  }
}

const jlt_timer_driver_t jlt_timer_cmsdk = {open_timer, ticks, sleep_until};
