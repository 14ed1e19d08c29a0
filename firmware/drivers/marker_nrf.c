// SPDX-License-Identifier: Apache-2.0
// Four neighbouring pins of one port of the nRF52840.
#include "drivers.h"
#include "nrf_pins.h"

enum { PINS = 4 };

static void open_marker(const jlt_marker_t *marker) {
  for (uint32_t i = 0; i < PINS; i++) {
    jlt_nrf_pin(marker->base, marker->first_pin + i, JLT_NRF_OUTPUT);
  }
}

static void write(const jlt_marker_t *marker, uint32_t bits) {
  JLT_REG(marker->base + JLT_NRF_OUTCLR) = (~bits & 15u) << marker->first_pin;
  JLT_REG(marker->base + JLT_NRF_OUTSET) = bits << marker->first_pin;
}

const jlt_marker_driver_t jlt_marker_nrf = {open_marker, write};
