// SPDX-License-Identifier: Apache-2.0
// LPUART of the STM32L4+ (RM0432, 50.7) with its queues of eight bytes. Its baud rate divider counts 256ths of a clock.
#include "drivers.h"

enum { CR1 = 0x00, BRR = 0x0C, ISR = 0x1C, ICR = 0x20, RDR = 0x24, TDR = 0x28 };
enum { CR1_UE = 1, CR1_RE = 1 << 2, CR1_TE = 1 << 3, CR1_RXFNEIE = 1 << 5, CR1_FIFOEN = 1 << 29 };
enum { ISR_ORE = 1 << 3, ISR_RXFNE = 1 << 5, ISR_TXFNF = 1 << 7, ICR_ORECF = 1 << 3 };

static bool open_uart(const jlt_uart_t *uart) {
  JLT_REG(uart->base + CR1) = 0;
  JLT_REG(uart->base + BRR) = (uint32_t)(((uint64_t)uart->clock_hz * 256u + uart->baud / 2u) / uart->baud);
  JLT_REG(uart->base + CR1) = CR1_FIFOEN | CR1_TE | CR1_RE | (uart->irq >= 0 ? CR1_RXFNEIE : 0);
  JLT_REG(uart->base + CR1) |= CR1_UE;
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return (JLT_REG(uart->base + ISR) & ISR_TXFNF) != 0; }

static void write(const jlt_uart_t *uart, uint8_t byte) { JLT_REG(uart->base + TDR) = byte; }

static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  const uint32_t status = JLT_REG(uart->base + ISR);
  if (status & ISR_ORE) {
    JLT_REG(uart->base + ICR) = ICR_ORECF;  // it would keep the interrupt pending
  }
  if (!(status & ISR_RXFNE)) {
    return false;
  }
  *byte = (uint8_t)JLT_REG(uart->base + RDR);
  return true;
}

const jlt_uart_driver_t jlt_uart_stm32_lpuart = {open_uart, can_write, write, read};
