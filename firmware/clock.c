// SPDX-License-Identifier: Apache-2.0
#include "clock.h"

#include "cpu.h"
#include "port.h"

enum { TIME_BIT = 8, HOLD_US = 25 };  // two samples of a meter at 100 kHz, wherever they fall

static struct {
  uint64_t cycles;
  uint64_t power_on_us;
  uint32_t last;
  uint32_t marker;
  bool counts;
} clock;

void jlt_clock_open(void) {
  jlt_board.timer.driver->open(&jlt_board.timer);
  clock.power_on_us = jlt_now_us();
  if (jlt_board.has_cycle_counter) {
    jlt_cycle_counter_open();
    // emulators accept all this and count nothing
    const uint32_t before = jlt_cycle_counter();
    for (volatile uint32_t i = 0; i < 32; i++) {
    }
    clock.counts = jlt_cycle_counter() != before;
    clock.last = jlt_cycle_counter();
  }
  if (jlt_board.marker.driver) {
    jlt_board.marker.driver->open(&jlt_board.marker);
    clock.marker = TIME_BIT;
    jlt_board.marker.driver->write(&jlt_board.marker, clock.marker);
  }
}

uint64_t jlt_now_ticks(void) { return jlt_board.timer.driver->ticks(&jlt_board.timer); }

// Whole and part on their own: the product would overflow after days.
uint64_t jlt_now_us(void) {
  const uint64_t ticks = jlt_now_ticks();
  const uint32_t hz = jlt_board.timer.tick_hz;
  return hz % 1000000u == 0 ? ticks / (hz / 1000000u) : ticks / hz * 1000000u + ticks % hz * 1000000u / hz;
}

uint64_t jlt_power_on_us(void) { return clock.power_on_us; }

static uint64_t ticks_of_us(uint64_t us) {
  const uint32_t hz = jlt_board.timer.tick_hz;
  if (us > UINT64_MAX / hz) {
    return UINT64_MAX;
  }
  return hz % 1000000u == 0 ? us * (hz / 1000000u) : us / 1000000u * hz + us % 1000000u * hz / 1000000u;
}

bool jlt_counts_cycles(void) { return clock.counts; }

uint64_t jlt_cycles(void) {
  if (!clock.counts) {
    return 0;
  }
  const uint32_t now = jlt_cycle_counter();
  clock.cycles += now - clock.last;
  clock.last = now;
  return clock.cycles;
}

void jlt_sleep_until_us(uint64_t wake_us) {
  jlt_board.timer.driver->sleep_until(&jlt_board.timer, ticks_of_us(wake_us));
}

static void write_marker(uint32_t bits) {
  if (jlt_board.marker.driver && bits != clock.marker) {
    clock.marker = bits;
    jlt_board.marker.driver->write(&jlt_board.marker, bits);
  }
}

void jlt_mark(uint32_t phase) { write_marker((clock.marker & TIME_BIT) | jlt_gray(phase)); }

void jlt_mark_time(void) {
  write_marker(clock.marker & ~(uint32_t)TIME_BIT);
  for (volatile uint32_t i = 0; i < jlt_board.clock_hz / 1000000u; i++) {
  }
  write_marker(clock.marker | TIME_BIT);
}

static void hold(void) {
  const uint32_t hz = jlt_board.timer.tick_hz;
  // one tick more: the first may be nearly over
  const uint64_t until = jlt_now_ticks() + (HOLD_US * (uint64_t)hz + 999999u) / 1000000u + 1u;
  for (uint32_t turn = 0; turn < JLT_WAIT_TURNS && jlt_now_ticks() < until; turn++) {
  }
}

void jlt_mark_tick(void) {
  if (jlt_board.marker.driver) {
    write_marker(clock.marker & ~(uint32_t)TIME_BIT);
    hold();
    write_marker(clock.marker | TIME_BIT);
    hold();
  }
}

void jlt_mark_exit(uint32_t exit) {
  jlt_mark(JLT_PHASE_EXIT);
  for (uint32_t tick = 0; tick <= exit; tick++) {
    jlt_mark_tick();
  }
  jlt_mark(JLT_PHASE_IDLE);
}
