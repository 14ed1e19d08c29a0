// SPDX-License-Identifier: Apache-2.0
// RISC-V's platform-level interrupt controller (RISC-V Platform-Level Interrupt Controller Specification 1.0), context 0.
#include "board.h"
#include "console.h"
#include "cpu.h"

enum { PRIORITY = 0x0, ENABLE = 0x2000, THRESHOLD = 0x200000, CLAIM = 0x200004 };

void jlt_irq_enable(uint32_t irq) {
  JLT_REG(BOARD_PLIC + PRIORITY + 4u * irq) = 1;
  JLT_REG(BOARD_PLIC + ENABLE + 4u * (irq / 32u)) |= 1u << (irq % 32u);
  JLT_REG(BOARD_PLIC + THRESHOLD) = 0;
}

void jlt_irq_taken(void) {
  const uint32_t irq = JLT_REG(BOARD_PLIC + CLAIM);
  if (irq == (uint32_t)BOARD_UART_IRQ) {
    jlt_console_irq();
  }
  JLT_REG(BOARD_PLIC + CLAIM) = irq;
}
