// SPDX-License-Identifier: Apache-2.0
// Four neighbouring pins of the RP2040.
#include "drivers.h"
#include "rp2040_pins.h"

enum { PINS = 4 };

static void open_marker(const jlt_marker_t *marker) {
  for (uint32_t i = 0; i < PINS; i++) {
    jlt_rp2040_output(marker->first_pin + i);
  }
}

static void write(const jlt_marker_t *marker, uint32_t bits) {
  JLT_REG(JLT_RP2040_GPIO_OUT_CLR) = (~bits & 15u) << marker->first_pin;
  JLT_REG(JLT_RP2040_GPIO_OUT_SET) = bits << marker->first_pin;
}

const jlt_marker_driver_t jlt_marker_rp2040 = {open_marker, write};
