// SPDX-License-Identifier: Apache-2.0
// APB UART of Arm's Cortex-M System Design Kit (DDI 0479D, 4.3), as on the MPS2 and MPS3 images.
#include "drivers.h"

enum { DATA = 0x00, STATE = 0x04, CTRL = 0x08, INTCLEAR = 0x0C, BAUDDIV = 0x10 };
enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, CTRL_TX = 1, CTRL_RX = 2, CTRL_RX_IRQ = 8, INT_RX = 2 };

static bool open_uart(const jlt_uart_t *uart) {
  JLT_REG(uart->base + BAUDDIV) = uart->clock_hz / uart->baud;
  JLT_REG(uart->base + CTRL) = CTRL_TX | CTRL_RX | (uart->irq >= 0 ? CTRL_RX_IRQ : 0);
  return true;
}

static bool can_write(const jlt_uart_t *uart) { return !(JLT_REG(uart->base + STATE) & STATE_TX_FULL); }

static void write(const jlt_uart_t *uart, uint8_t byte) { JLT_REG(uart->base + DATA) = byte; }

static bool read(const jlt_uart_t *uart, uint8_t *byte) {
  if (!(JLT_REG(uart->base + STATE) & STATE_RX_FULL)) {
    return false;
  }
  JLT_REG(uart->base + INTCLEAR) = INT_RX;
  *byte = (uint8_t)JLT_REG(uart->base + DATA);
  return true;
}

const jlt_uart_driver_t jlt_uart_cmsdk = {open_uart, can_write, write, read};
