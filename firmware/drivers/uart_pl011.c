// SPDX-License-Identifier: Apache-2.0
// Arm PrimeCell UART PL011 (DDI 0183G, 3.3; RP2040 datasheet 4.2.8) with queues. Its clock and pins are the board's.
#include "drivers.h"

enum { DR = 0x00, FR = 0x18, IBRD = 0x24, FBRD = 0x28, LCR_H = 0x2C, CR = 0x30, IFLS = 0x34, IMSC = 0x38, ICR = 0x44 };
enum { FR_RXFE = 1 << 4, FR_TXFF = 1 << 5, LCR_H_FEN = 1 << 4, LCR_H_8_BITS = 3 << 5 };
enum { CR_UARTEN = 1, CR_TXE = 1 << 8, CR_RXE = 1 << 9, INT_RX = 1 << 4, INT_RT = 1 << 6 };

static bool open_uart(const jlt_uart_t *uart) {
  // the divider counts 64ths of sixteen clocks
  const uint32_t divider = (uint32_t)(((uint64_t)uart->clock_hz * 4u + uart->baud / 2u) / uart->baud);
  JLT_REG(uart->base + CR) = 0;
  JLT_REG(uart->base + IBRD) = divider >> 6;
  JLT_REG(uart->base + FBRD) = divider & 63u;
  JLT_REG(uart->base + LCR_H) = LCR_H_FEN | LCR_H_8_BITS;  // after the dividers: its write takes them over
  JLT_REG(uart->base + IFLS) = 0;                          // an eighth full; fewer bytes time out
  JLT_REG(uart->base + IMSC) = uart->irq >= 0 ? INT_RX | INT_RT : 0;
  JLT_REG(uart->base + CR) = CR_UARTEN | CR_TXE | CR_RXE;
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return !(JLT_REG(uart->base + FR) & FR_TXFF); }

static void write(const jlt_uart_t *uart, uint8_t byte) { JLT_REG(uart->base + DR) = byte; }

static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  if (JLT_REG(uart->base + FR) & FR_RXFE) {
    return false;
  }
  JLT_REG(uart->base + ICR) = INT_RT;
  *byte = (uint8_t)JLT_REG(uart->base + DR);
  return true;
}

const jlt_uart_driver_t jlt_uart_pl011 = {open_uart, can_write, write, read};
