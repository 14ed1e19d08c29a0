// SPDX-License-Identifier: Apache-2.0
// TIMER of the nRF52840 (PS 6.30) with 32 bits at 1 MHz, extended here whenever it is asked. The RTC would sleep
// cheaper and count 30 us; the receiver keeps the fast clock running anyway.
#include "cpu.h"
#include "drivers.h"

enum { START = 0x000, STOP = 0x004, CLEAR = 0x00C };
enum { CAPTURE1 = 0x044, COMPARE0 = 0x140, INTENSET = 0x304, INTENCLR = 0x308 };
enum { MODE = 0x504, BITMODE = 0x508, PRESCALER = 0x510, CC0 = 0x540, CC1 = 0x544 };
enum { BITMODE_32 = 3, SIXTEENTH = 4, INT_COMPARE0 = 1 << 16 };
enum { LONGEST = 1 << 30 };  // a sleep; the counter must be asked before it has wrapped

static struct {
  uint64_t ticks;
  uint32_t last;
} state;

static void open_timer(const jlt_timer_t *timer) {
  JLT_REG(timer->base + STOP) = 1;
  JLT_REG(timer->base + MODE) = 0;
  JLT_REG(timer->base + BITMODE) = BITMODE_32;
  JLT_REG(timer->base + PRESCALER) = SIXTEENTH;  // of 16 MHz
  JLT_REG(timer->base + CLEAR) = 1;
  JLT_REG(timer->base + START) = 1;
  state.last = 0;
}

static uint32_t count(const jlt_timer_t *timer) {
  JLT_REG(timer->base + CAPTURE1) = 1;
  return JLT_REG(timer->base + CC1);
}

static uint64_t ticks(const jlt_timer_t *timer) {
  const uint32_t now = count(timer);
  state.ticks += now - state.last;
  state.last = now;
  return state.ticks;
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  const uint64_t now = ticks(timer);
  const uint64_t span = tick > now ? tick - now : 0u;
  const uint32_t wait = span < LONGEST ? (uint32_t)span : (uint32_t)LONGEST;
  const uint32_t from = state.last;
  JLT_REG(timer->base + COMPARE0) = 0;
  JLT_REG(timer->base + CC0) = from + wait;
  JLT_REG(timer->base + INTENSET) = INT_COMPARE0;
  jlt_wake_by(timer->irq, true);
  // it compares for equality: what has passed meanwhile would not come back for an hour
  if (count(timer) - from < wait) {
    __asm volatile("dsb\n wfi" ::: "memory");
  }
  JLT_REG(timer->base + INTENCLR) = INT_COMPARE0;
  JLT_REG(timer->base + COMPARE0) = 0;
  (void)JLT_REG(timer->base + COMPARE0);  // the event is gone before its interrupt is
  jlt_wake_by(timer->irq, false);
}

const jlt_timer_driver_t jlt_timer_nrf = {open_timer, ticks, sleep_until};
