// SPDX-License-Identifier: Apache-2.0
// Store voltage at a pin of the STM32F4's ADC1 (RM0390, 13.13), against the board's regulated supply.
#include "drivers.h"

enum { SR = 0x00, CR2 = 0x08, SMPR2 = 0x10, SQR1 = 0x2C, SQR3 = 0x34, DR = 0x4C, CCR = 0x304 };
enum { SR_EOC = 2, CR2_ADON = 1, CR2_SWSTART = 1 << 30, CCR_QUARTER = 1 << 16, SLOWEST = 0x3FFFFFFF };

// A divider of large resistors needs the longest sampling. Twelve bits are the reset state.
static bool open_adc(const jlt_power_t *power) {
  JLT_REG(power->base + CCR) = CCR_QUARTER;
  JLT_REG(power->base + SMPR2) = SLOWEST;
  JLT_REG(power->base + SQR1) = 0;
  JLT_REG(power->base + SQR3) = power->channel;
  JLT_REG(power->base + CR2) = CR2_ADON;
  for (volatile uint32_t i = 0; i < jlt_board.clock_hz / 1000000u; i++) {  // it is ready after 3 us
  }
  return true;
}

static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  JLT_REG(power->base + SR) = 0;
  JLT_REG(power->base + CR2) = CR2_ADON | CR2_SWSTART;
  if (!jlt_wait_for(power->base + SR, SR_EOC, SR_EOC)) {
    return false;
  }
  *mv = (JLT_REG(power->base + DR) & 0xFFFu) * power->full_scale_mv >> power->bits;
  return true;
}

const jlt_power_driver_t jlt_power_adc_stm32f4 = {open_adc, read_store_mv, NULL};
