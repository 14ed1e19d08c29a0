// SPDX-License-Identifier: Apache-2.0
// Marker pins on a GPIO port of Arm's Cortex-M System Design Kit (DDI 0479D, 4.2).
#include "drivers.h"

enum { DATAOUT = 0x04, OUTENSET = 0x10, PINS = 4 };

static void open_marker(const jlt_marker_t *marker) {
  JLT_REG(marker->base + OUTENSET) = ((1u << PINS) - 1u) << marker->first_pin;
}

static void write(const jlt_marker_t *marker, uint32_t bits) {
  JLT_REG(marker->base + DATAOUT) = bits << marker->first_pin;
}

const jlt_marker_driver_t jlt_marker_cmsdk = {open_marker, write};
