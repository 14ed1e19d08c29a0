// SPDX-License-Identifier: Apache-2.0
// TIM2 or TIM5 of STM32F4 and STM32L4 (RM0390 17.4, RM0432 38.4): 32 bits, extended here whenever it is asked. Its
// alarm is its first compare channel. It counts in sleep mode, and not in the stop modes.
#include "cpu.h"
#include "drivers.h"

enum { CR1 = 0x00, DIER = 0x0C, SR = 0x10, EGR = 0x14, CNT = 0x24, PSC = 0x28, ARR = 0x2C, CCR1 = 0x34 };
enum { CR1_CEN = 1, DIER_CC1IE = 2, SR_CC1IF = 2, EGR_UG = 1 };
enum { LONGEST = 1 << 30 };  // a sleep; the counter must be asked before it has wrapped

static struct {
  uint64_t ticks;
  uint32_t last;
} state;

static void open_timer(const jlt_timer_t *timer) {
  JLT_REG(timer->base + CR1) = 0;
  JLT_REG(timer->base + PSC) = timer->clock_hz / timer->tick_hz - 1u;
  JLT_REG(timer->base + ARR) = UINT32_MAX;
  JLT_REG(timer->base + EGR) = EGR_UG;  // takes over the prescaler
  JLT_REG(timer->base + CR1) = CR1_CEN;
  state.last = JLT_REG(timer->base + CNT);
}

static uint64_t ticks(const jlt_timer_t *timer) {
  const uint32_t now = JLT_REG(timer->base + CNT);
  state.ticks += now - state.last;
  state.last = now;
  return state.ticks;
}

static void sleep_until(const jlt_timer_t *timer, uint64_t tick) {
  const uint64_t now = ticks(timer);
  const uint64_t span = tick > now ? tick - now : 0u;
  const uint32_t wait = span < LONGEST ? (uint32_t)span : (uint32_t)LONGEST;
  const uint32_t from = state.last;
  JLT_REG(timer->base + CCR1) = from + wait;
  JLT_REG(timer->base + SR) = ~(uint32_t)SR_CC1IF;
  JLT_REG(timer->base + DIER) = DIER_CC1IE;
  jlt_wake_by(timer->irq, true);
  // it compares for equality: what has passed meanwhile would not come back for an hour
  if (JLT_REG(timer->base + CNT) - from < wait) {
    __asm volatile("dsb\n wfi" ::: "memory");
  }
  JLT_REG(timer->base + DIER) = 0;
  JLT_REG(timer->base + SR) = ~(uint32_t)SR_CC1IF;
  jlt_wake_by(timer->irq, false);
}

const jlt_timer_driver_t jlt_timer_stm32 = {open_timer, ticks, sleep_until};
