// SPDX-License-Identifier: Apache-2.0
// The virtual board's clock, which runs on while the core is off; the same image on QEMU's MPS2 takes the APB timer.
#include "drivers.h"

static void open_timer(const jlt_timer_t *timer) {
  if (!jlt_is_virtual()) {
    jlt_timer_cmsdk.open(timer);
  }
}

static uint64_t ticks(const jlt_timer_t *timer) {
  if (!jlt_is_virtual()) {
    return jlt_timer_cmsdk.ticks(timer);
  }
  const uint32_t low = JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_TICKS_LOW);
  return (uint64_t)JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_TICKS_HIGH) << 32 | low;
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  if (!jlt_is_virtual()) {
    jlt_timer_cmsdk.sleep_until(timer, tick);
    return;
  }
  JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_WAKE_LOW) = (uint32_t)tick;
  JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_WAKE_HIGH) = (uint32_t)(tick >> 32);
  __asm volatile("wfi");
}

const jlt_timer_driver_t jlt_timer_virtual = {open_timer, ticks, sleep_until};
