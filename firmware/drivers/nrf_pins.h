// SPDX-License-Identifier: Apache-2.0
// Pins of the nRF52840 (PS 6.9). A port is the address of its first register; pin 32 is the first of port 1.
#ifndef JLT_FIRMWARE_NRF_PINS_H
#define JLT_FIRMWARE_NRF_PINS_H

#include "port.h"

enum { JLT_NRF_OUTSET = 0x508, JLT_NRF_OUTCLR = 0x50C, JLT_NRF_IN = 0x510, JLT_NRF_PIN_CNF = 0x700 };

// Of PIN_CNF; the input buffer of an output may stay connected.
enum {
  JLT_NRF_INPUT = 0,
  JLT_NRF_OUTPUT = 1 | 1 << 1,
  JLT_NRF_OUTPUT_SENSED = 1,
  JLT_NRF_OPEN_DRAIN = 1 | 3 << 2 | 6 << 8,  // output with its input, pulled up, low only
};

static inline uintptr_t jlt_nrf_port(uint32_t pin) { return pin < 32u ? 0x50000000u : 0x50000300u; }

static inline void jlt_nrf_write(uintptr_t port, uint32_t pin, bool high) {
  JLT_REG(port + (high ? JLT_NRF_OUTSET : JLT_NRF_OUTCLR)) = 1u << pin;
}

static inline void jlt_nrf_pin(uintptr_t port, uint32_t pin, uint32_t configuration) {
  JLT_REG(port + JLT_NRF_PIN_CNF + 4u * pin) = configuration;
}

#endif
