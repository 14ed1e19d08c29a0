// SPDX-License-Identifier: Apache-2.0
// Store voltage through the virtual board's converter.
#include "drivers.h"

static bool open_adc(const jlt_power_t *power) {
  (void)power;
  return jlt_is_virtual();
}

static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  *mv = JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_ADC) * power->full_scale_mv >> power->bits;
  return true;
}

const jlt_power_driver_t jlt_power_adc_virtual = {open_adc, read_store_mv, NULL};
