// SPDX-License-Identifier: Apache-2.0
// What the firmware asks of its core, for Cortex-M. cpu/<architecture>/ holds this, what runs from reset to main, and the linker
// script; a build has one of them on its search path.
#ifndef JLT_FIRMWARE_CPU_H
#define JLT_FIRMWARE_CPU_H

#include "port.h"

/// Interrupts ///

static inline void jlt_irq_off(void) { __asm volatile("cpsid i" ::: "memory"); }

static inline void jlt_irq_on(void) { __asm volatile("cpsie i" ::: "memory"); }

static inline void jlt_irq_enable(uint32_t irq) {
  enum { NVIC_ISER = 0xE000E100 };
  JLT_REG(NVIC_ISER + 4u * (irq / 32u)) = 1u << (irq % 32u);
}

// For sleep_until: an interrupt that ends a wfi and is never taken, as they are held off there (console.c).
static inline void jlt_wake_by(uint32_t irq, bool on) {
  enum { NVIC_ISER = 0xE000E100, NVIC_ICER = 0xE000E180, NVIC_ICPR = 0xE000E280 };
  const uintptr_t at = 4u * (irq / 32u);
  const uint32_t bit = 1u << irq % 32u;
  if (on) {
    JLT_REG(NVIC_ISER + at) = bit;
    return;
  }
  JLT_REG(NVIC_ICER + at) = bit;
  __asm volatile("dsb" ::: "memory");
  JLT_REG(NVIC_ICPR + at) = bit;
}

/// Cycles ///

// ARMv7-M Architecture Reference Manual, C1.8: the DWT unit counts cycles once DEMCR.TRCENA is set.
enum { JLT_DEMCR = 0xE000EDFC, JLT_DEMCR_TRCENA = 1 << 24, JLT_DWT_CTRL = 0xE0001000, JLT_DWT_CYCCNT = 0xE0001004 };

static inline void jlt_cycle_counter_open(void) {
  JLT_REG(JLT_DEMCR) |= JLT_DEMCR_TRCENA;
  JLT_REG(JLT_DWT_CYCCNT) = 0;
  JLT_REG(JLT_DWT_CTRL) |= 1u;
}

#define jlt_cycle_counter() JLT_REG(JLT_DWT_CYCCNT)  // a register, to be read and compared

#endif
