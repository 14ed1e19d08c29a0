// SPDX-License-Identifier: Apache-2.0
// Machine timer of RISC-V as SiFive's CLINT lays it out (FU540-C000 manual, chapter 9): 64 bits that count, and an alarm.
#include "cpu.h"
#include "drivers.h"

enum { MTIMECMP_LOW = 0x4000, MTIMECMP_HIGH = 0x4004, MTIME_LOW = 0xBFF8, MTIME_HIGH = 0xBFFC };

static void open_timer(const jlt_timer_t *timer) { (void)timer; }

static uint64_t ticks(const jlt_timer_t *timer) {
  for (;;) {
    const uint32_t high = JLT_REG(timer->base + MTIME_HIGH);
    const uint32_t low = JLT_REG(timer->base + MTIME_LOW);
    if (JLT_REG(timer->base + MTIME_HIGH) == high) {
      return (uint64_t)high << 32 | low;
    }
  }
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  JLT_REG(timer->base + MTIMECMP_LOW) = UINT32_MAX;  // between the halves the alarm must not be early
  JLT_REG(timer->base + MTIMECMP_HIGH) = (uint32_t)(tick >> 32);
  JLT_REG(timer->base + MTIMECMP_LOW) = (uint32_t)tick;
  jlt_wake_by_timer(true);
  __asm volatile("wfi" ::: "memory");
  jlt_wake_by_timer(false);
}

const jlt_timer_driver_t jlt_timer_clint = {open_timer, ticks, sleep_until};
