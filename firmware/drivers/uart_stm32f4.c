// SPDX-License-Identifier: Apache-2.0
// USART of the STM32F4 (RM0390, 25.6): one byte each way, 16-fold oversampling.
#include "drivers.h"

enum { SR = 0x00, DR = 0x04, BRR = 0x08, CR1 = 0x0C };
enum { SR_ORE = 1 << 3, SR_RXNE = 1 << 5, SR_TXE = 1 << 7 };
enum { CR1_RE = 1 << 2, CR1_TE = 1 << 3, CR1_RXNEIE = 1 << 5, CR1_UE = 1 << 13 };

static bool open_uart(const jlt_uart_t *uart) {
  JLT_REG(uart->base + CR1) = 0;
  JLT_REG(uart->base + BRR) = (uart->clock_hz + uart->baud / 2u) / uart->baud;
  JLT_REG(uart->base + CR1) = CR1_UE | CR1_TE | CR1_RE | (uart->irq >= 0 ? CR1_RXNEIE : 0);
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return (JLT_REG(uart->base + SR) & SR_TXE) != 0; }

static void write(const jlt_uart_t *uart, uint8_t byte) { JLT_REG(uart->base + DR) = byte; }

// An overrun is cleared by reading both registers; it would keep the interrupt pending.
static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  const uint32_t status = JLT_REG(uart->base + SR);
  if (!(status & (SR_RXNE | SR_ORE))) {
    return false;
  }
  *byte = (uint8_t)JLT_REG(uart->base + DR);
  return (status & SR_RXNE) != 0;
}

const jlt_uart_driver_t jlt_uart_stm32f4 = {open_uart, can_write, write, read};
