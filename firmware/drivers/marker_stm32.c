// SPDX-License-Identifier: Apache-2.0
// Four neighbouring pins of a GPIO port of an STM32F4 or STM32L4.
#include "drivers.h"
#include "stm32_pins.h"

enum { PINS = 4 };

static void open_marker(const jlt_marker_t *marker) {
  for (uint32_t i = 0; i < PINS; i++) {
    jlt_stm32_mode(marker->base, marker->first_pin + i, JLT_STM32_OUTPUT);
  }
}

static void write(const jlt_marker_t *marker, uint32_t bits) {
  JLT_REG(marker->base + JLT_STM32_BSRR) = (bits | (~bits & 15u) << 16) << marker->first_pin;
}

const jlt_marker_driver_t jlt_marker_stm32 = {open_marker, write};
