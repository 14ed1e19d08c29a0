// SPDX-License-Identifier: Apache-2.0
// What the firmware asks of its core, for RISC-V in machine mode: the counterpart of cpu/arm/cpu.h.
#ifndef JLT_FIRMWARE_CPU_H
#define JLT_FIRMWARE_CPU_H

#include "port.h"

/// Interrupts ///

// The RISC-V Instruction Set Manual, volume II: MIE of mstatus, MTIE and MEIE of mie.
#define JLT_MSTATUS_MIE "8"
enum { JLT_MIE_TIMER = 1 << 7, JLT_MIE_EXTERNAL = 1 << 11 };

static inline void jlt_irq_off(void) { __asm volatile("csrci mstatus, " JLT_MSTATUS_MIE ::: "memory"); }

static inline void jlt_irq_on(void) { __asm volatile("csrsi mstatus, " JLT_MSTATUS_MIE ::: "memory"); }

// Of a driver, for the architecture has no interrupt controller.
void jlt_irq_enable(uint32_t irq);
void jlt_irq_taken(void);

// For sleep_until: the core's timer ends a wfi and is never taken, as interrupts are held off there (console.c).
static inline void jlt_wake_by_timer(bool on) {
  if (on) {
    __asm volatile("csrs mie, %0" ::"r"(JLT_MIE_TIMER) : "memory");
  } else {
    __asm volatile("csrc mie, %0" ::"r"(JLT_MIE_TIMER) : "memory");
  }
}

/// Cycles ///

// mcycle counts from the reset on, or a board's init lets it.
static inline void jlt_cycle_counter_open(void) {}

static inline uint32_t jlt_cycle_counter(void) {
  uint32_t cycles;
  __asm volatile("csrr %0, mcycle" : "=r"(cycles));
  return cycles;
}

#endif
