// SPDX-License-Identifier: Apache-2.0
// Store voltage through the RP2040's ADC (datasheet 4.9.6); channel 3 of a Pico is a third of VSYS (Pico datasheet
// 4.4).
#include "drivers.h"
#include "rp2040_pins.h"

enum { CS = 0x00, RESULT = 0x04, CS_EN = 1, CS_START_ONCE = 4, CS_READY = 1 << 8, FIRST_PIN = 26 };

static bool open_adc(const jlt_power_t *power) {
  jlt_rp2040_function(FIRST_PIN + power->channel, JLT_RP2040_NONE);
  jlt_rp2040_pad(FIRST_PIN + power->channel, 0);  // no digital input, no pull
  JLT_REG(power->base + CS) = CS_EN | power->channel << 12;
  return jlt_wait_for(power->base + CS, CS_READY, CS_READY);
}

static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  JLT_REG(power->base + CS) = CS_EN | CS_START_ONCE | power->channel << 12;
  if (!jlt_wait_for(power->base + CS, CS_READY, CS_READY)) {
    return false;
  }
  *mv = (JLT_REG(power->base + RESULT) & 0xFFFu) * power->full_scale_mv >> power->bits;
  return true;
}

const jlt_power_driver_t jlt_power_adc_rp2040 = {open_adc, read_store_mv, NULL};
