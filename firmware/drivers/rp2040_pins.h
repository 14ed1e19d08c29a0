// SPDX-License-Identifier: Apache-2.0
// Pins of the RP2040: functions and pads (datasheet 2.19), and the single-cycle port (2.3.1.7).
#ifndef JLT_FIRMWARE_RP2040_PINS_H
#define JLT_FIRMWARE_RP2040_PINS_H

#include "port.h"

enum { JLT_RP2040_SPI = 1, JLT_RP2040_UART = 2, JLT_RP2040_SIO = 5, JLT_RP2040_NONE = 31 };
enum { JLT_RP2040_IO = 0x40014000, JLT_RP2040_PADS = 0x4001C000 };
enum { JLT_RP2040_PAD_PULL_UP = 1 << 3, JLT_RP2040_PAD_INPUT = 1 << 6 };
enum { JLT_RP2040_PAD_4_MA = 1 << 4, JLT_RP2040_PAD_SCHMITT = 2 };
#define JLT_RP2040_GPIO_IN 0xD0000004u
#define JLT_RP2040_GPIO_OUT_SET 0xD0000014u
#define JLT_RP2040_GPIO_OUT_CLR 0xD0000018u
#define JLT_RP2040_GPIO_OE_SET 0xD0000024u
#define JLT_RP2040_GPIO_OE_CLR 0xD0000028u

static inline void jlt_rp2040_pad(uint32_t pin, uint32_t pad) { JLT_REG(JLT_RP2040_PADS + 4u + 4u * pin) = pad; }

static inline void jlt_rp2040_function(uint32_t pin, uint32_t function) {
  jlt_rp2040_pad(pin, JLT_RP2040_PAD_INPUT | JLT_RP2040_PAD_4_MA | JLT_RP2040_PAD_SCHMITT);
  JLT_REG(JLT_RP2040_IO + 4u + 8u * pin) = function;
}

static inline void jlt_rp2040_write(uint32_t pin, bool high) {
  JLT_REG(high ? JLT_RP2040_GPIO_OUT_SET : JLT_RP2040_GPIO_OUT_CLR) = 1u << pin;
}

static inline void jlt_rp2040_output(uint32_t pin) {
  JLT_REG(JLT_RP2040_GPIO_OE_SET) = 1u << pin;
  jlt_rp2040_function(pin, JLT_RP2040_SIO);
}

#endif
