// SPDX-License-Identifier: Apache-2.0
// System counter of Arm's SSE-300 subsystem (101773, 4.8): 64 bits, counting up.
#include "drivers.h"

enum { CNTCR = 0x00, CNTCV_LOW = 0x08, CNTCV_HIGH = 0x0C, CNTCR_ENABLE = 1 };

static void open_timer(const jlt_timer_t *timer) { JLT_REG(timer->base + CNTCR) = CNTCR_ENABLE; }

static uint64_t ticks(const jlt_timer_t *timer) {
  for (uint32_t turn = 0; turn < JLT_WAIT_TURNS; turn++) {
    const uint32_t high = JLT_REG(timer->base + CNTCV_HIGH);
    const uint32_t low = JLT_REG(timer->base + CNTCV_LOW);
    if (high == JLT_REG(timer->base + CNTCV_HIGH)) {
      return (uint64_t)high << 32 | low;
    }
  }
  return 0;
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  (void)timer;
  if (tick == UINT64_MAX) {
    __asm volatile("wfi");
  }
}

const jlt_timer_driver_t jlt_timer_sse = {open_timer, ticks, sleep_until};
