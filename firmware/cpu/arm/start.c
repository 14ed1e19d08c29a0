// SPDX-License-Identifier: Apache-2.0
// From reset to main: vectors, floating point unit, memory. Symbols come from the linker script (link.ld.in).
#include "board.h"
#include "console.h"
#include "port.h"

extern uint32_t jlt_stack_top[], jlt_data_load[], jlt_data_start[], jlt_data_end[], jlt_bss_start[], jlt_bss_end[];

int main(void);
void jlt_reset(void);

enum { CPACR = 0xE000ED88, AIRCR = 0xE000ED0C, VTOR = 0xE000ED08, AIRCR_RESET = 0x05FA0004 };

// Anything unexpected starts over: what must survive is in non-volatile memory.
void jlt_restart(void) {
  JLT_REG(AIRCR) = AIRCR_RESET;
  for (;;) {
    __asm volatile("wfi");
  }
}

__attribute__((weak)) void jlt_systick(void) {}

// A driver of flash that reports torn words this way has its own.
__attribute__((weak)) void jlt_nmi(void) { jlt_restart(); }

__attribute__((section(".vectors"), used)) static const struct {
  uint32_t *stack;
  void (*entry[15])(void);
  void (*irq[BOARD_IRQS])(void);
} vectors = {
    .stack = jlt_stack_top,
    .entry = {jlt_reset, jlt_nmi, jlt_restart, jlt_restart, jlt_restart, jlt_restart, 0, 0, 0, 0, jlt_restart,
              jlt_restart, 0, jlt_restart, jlt_systick},
#if BOARD_UART_IRQ >= 0
    .irq = {[BOARD_UART_IRQ] = jlt_console_irq},
#endif
};

__attribute__((used, noreturn)) void jlt_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  JLT_REG(CPACR) |= 0xFu << 20;  // first: the loops below may be vectorised
  __asm volatile("dsb\n isb" ::: "memory");
#endif
#if !defined(__ARM_ARCH_6M__)
  JLT_REG(VTOR) = (uint32_t)(uintptr_t)&vectors;
#endif
  const uint32_t *from = jlt_data_load;
  for (volatile uint32_t *to = jlt_data_start; to < jlt_data_end; to++) {
    *to = *from++;
  }
  for (volatile uint32_t *to = jlt_bss_start; to < jlt_bss_end; to++) {
    *to = 0;
  }
  main();
  jlt_restart();
  for (;;) {
  }
}
