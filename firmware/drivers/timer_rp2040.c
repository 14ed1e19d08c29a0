// SPDX-License-Identifier: Apache-2.0
// TIMER of the RP2040 (datasheet 4.6): 64 bits at 1 MHz, fed by the watchdog's tick. The raw halves are read, because
// the latched pair is shared with the other core.
#include "cpu.h"
#include "drivers.h"

enum { ALARM0 = 0x10, ARMED = 0x20, TIMERAWH = 0x24, TIMERAWL = 0x28, INTR = 0x34, INTE = 0x38 };
enum { LONGEST = 1 << 30 };  // an alarm compares 32 bits

static void open_timer(const jlt_timer_t *timer) { JLT_REG(timer->base + INTE) = 0; }

static uint64_t ticks(const jlt_timer_t *timer) {
  for (uint32_t turn = 0; turn < JLT_WAIT_TURNS; turn++) {
    const uint32_t high = JLT_REG(timer->base + TIMERAWH);
    const uint32_t low = JLT_REG(timer->base + TIMERAWL);
    if (high == JLT_REG(timer->base + TIMERAWH)) {
      return (uint64_t)high << 32 | low;
    }
  }
  return 0;
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  const uint64_t now = ticks(timer);
  const uint64_t span = tick > now ? tick - now : 0u;
  const uint32_t wait = span < LONGEST ? (uint32_t)span : (uint32_t)LONGEST;
  const uint32_t from = (uint32_t)now;
  JLT_REG(timer->base + INTE) = 1;
  jlt_wake_by(timer->irq, true);
  JLT_REG(timer->base + ALARM0) = from + wait;
  if (JLT_REG(timer->base + TIMERAWL) - from < wait) {
    __asm volatile("dsb\n wfi" ::: "memory");
  }
  JLT_REG(timer->base + ARMED) = 1;  // disarms
  JLT_REG(timer->base + INTE) = 0;
  JLT_REG(timer->base + INTR) = 1;
  jlt_wake_by(timer->irq, false);
}

const jlt_timer_driver_t jlt_timer_rp2040 = {open_timer, ticks, sleep_until};
