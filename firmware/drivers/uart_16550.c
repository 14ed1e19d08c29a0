// SPDX-License-Identifier: Apache-2.0
// UART of the 16550 family (Texas Instruments, TL16C550C, 7.6), its registers a byte apart. The rate of the line is QEMU's to ignore.
#include "drivers.h"

enum { DATA = 0, IER = 1, FCR = 2, LCR = 3, LSR = 5, DIVISOR_LOW = 0, DIVISOR_HIGH = 1 };
enum { IER_RX = 1, FCR_ON = 1, LCR_8N1 = 3, LCR_DIVISOR = 0x80, LSR_RX = 1, LSR_TX_EMPTY = 0x20 };

static bool open_uart(const jlt_uart_t *uart) {
  const uint32_t divisor = uart->clock_hz / (16u * uart->baud);
  JLT_REG8(uart->base + LCR) = LCR_DIVISOR;
  JLT_REG8(uart->base + DIVISOR_LOW) = (uint8_t)divisor;
  JLT_REG8(uart->base + DIVISOR_HIGH) = (uint8_t)(divisor >> 8);
  JLT_REG8(uart->base + LCR) = LCR_8N1;
  JLT_REG8(uart->base + FCR) = FCR_ON;
  JLT_REG8(uart->base + IER) = uart->irq >= 0 ? IER_RX : 0;
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return JLT_REG8(uart->base + LSR) & LSR_TX_EMPTY; }

static void write(const jlt_uart_t *uart, uint8_t byte) { JLT_REG8(uart->base + DATA) = byte; }

static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  if (!(JLT_REG8(uart->base + LSR) & LSR_RX)) {
    return false;
  }
  *byte = JLT_REG8(uart->base + DATA);
  return true;
}

const jlt_uart_driver_t jlt_uart_16550 = {open_uart, can_write, write, read};
