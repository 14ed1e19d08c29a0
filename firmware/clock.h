// SPDX-License-Identifier: Apache-2.0
// Time, cycles, marker pins: thin words for what the board's drivers do.
#ifndef JLT_FIRMWARE_CLOCK_H
#define JLT_FIRMWARE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

void jlt_clock_open(void);
uint64_t jlt_now_ticks(void);
uint64_t jlt_now_us(void);
uint64_t jlt_power_on_us(void);  // when the clock was opened

// Cycles of the core since power-up, 0 where no counter counts; it must be asked once in 2^32 cycles.
uint64_t jlt_cycles(void);
bool jlt_counts_cycles(void);

void jlt_sleep_until_us(uint64_t wake_us);

// Shows on the marker pins what the board is doing.
void jlt_mark(uint32_t phase);

// A low pulse of a microsecond or more: a time stamp for a meter.
void jlt_mark_time(void);

// A pulse on the pin of time stamps, low and high long enough for a meter that looks 100,000 times a second.
void jlt_mark_tick(void);

// Tells which exit was reached: in a phase of its own, one tick more than its index.
void jlt_mark_exit(uint32_t exit);

#endif
