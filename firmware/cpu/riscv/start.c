// SPDX-License-Identifier: Apache-2.0
// From reset to main on RISC-V: stack, traps, memory. Symbols come from the linker script (link.ld.in).
#include "board.h"
#include "cpu.h"
#include "port.h"

extern uint32_t jlt_data_load[], jlt_data_start[], jlt_data_end[], jlt_bss_start[], jlt_bss_end[];

enum { MCAUSE_EXTERNAL = (int)0x8000000Bu };

int main(void);
void jlt_reset(void);
void jlt_trap(void);

// Anything unexpected starts over, as on every board; how, is the board's (jlt_restart).
__attribute__((interrupt("machine"), aligned(4), used)) void jlt_trap(void) {
  int32_t cause;
  __asm volatile("csrr %0, mcause" : "=r"(cause));
  if (cause == MCAUSE_EXTERNAL) {
    jlt_irq_taken();
    return;
  }
  jlt_restart();
}

__attribute__((used, noreturn)) static void run(void) {
  __asm volatile("csrw mtvec, %0" ::"r"(jlt_trap));
  __asm volatile("csrw mie, %0" ::"r"(JLT_MIE_EXTERNAL));
  const uint32_t *from = jlt_data_load;
  for (volatile uint32_t *to = jlt_data_start; to < jlt_data_end; to++) {
    *to = *from++;
  }
  for (volatile uint32_t *to = jlt_bss_start; to < jlt_bss_end; to++) {
    *to = 0;
  }
  main();
  jlt_restart();
}

// The first instruction of the image.
__attribute__((section(".reset"), naked, used)) void jlt_reset(void) {
  __asm volatile(
      "csrci mstatus, " JLT_MSTATUS_MIE "\n\t"
      "la sp, jlt_stack_top\n\t"
      "j %0"
      :
      : "i"(run));
}
