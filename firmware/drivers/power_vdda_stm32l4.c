// SPDX-License-Identifier: Apache-2.0
// Supply of an STM32L4+ that runs from the store itself: its ADC (RM0432, 21.7) reads the internal reference, which the
// maker has measured at a known supply (STM32L4R5 datasheet, 3.19.2). Nothing has to be wired.
#include "drivers.h"

enum { ISR = 0x00, CR = 0x08, SMPR1 = 0x14, SQR1 = 0x30, DR = 0x40, CCR = 0x308 };
enum { ISR_ADRDY = 1, ISR_EOC = 4, CR_ADEN = 1, CR_ADSTART = 4, CR_ADVREGEN = 1 << 28 };
enum { CCR_QUARTER = 3 << 16, CCR_VREFEN = 1 << 22, LONGEST = 7, CALIBRATION = 0x1FFF75AA, REGULATOR_US = 40 };
#define CR_ADCAL (1u << 31)

static bool open_adc(const jlt_power_t *power) {
  JLT_REG(power->base + CCR) = CCR_QUARTER | CCR_VREFEN;
  JLT_REG(power->base + CR) = 0;  // out of deep power-down
  JLT_REG(power->base + CR) = CR_ADVREGEN;
  for (volatile uint32_t i = 0; i < jlt_board.clock_hz / 1000000u * REGULATOR_US; i++) {
  }
  JLT_REG(power->base + CR) = CR_ADVREGEN | CR_ADCAL;
  if (!jlt_wait_for(power->base + CR, CR_ADCAL, 0)) {
    return false;
  }
  JLT_REG(power->base + SMPR1) = (uint32_t)LONGEST << 3u * power->channel;
  JLT_REG(power->base + SQR1) = power->channel << 6;
  JLT_REG(power->base + ISR) = ISR_ADRDY;
  JLT_REG(power->base + CR) = CR_ADVREGEN | CR_ADEN;
  return jlt_wait_for(power->base + ISR, ISR_ADRDY, ISR_ADRDY);
}

static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  JLT_REG(power->base + ISR) = ISR_EOC;
  JLT_REG(power->base + CR) = CR_ADVREGEN | CR_ADEN | CR_ADSTART;
  if (!jlt_wait_for(power->base + ISR, ISR_EOC, ISR_EOC)) {
    return false;
  }
  const uint32_t raw = JLT_REG(power->base + DR) & 0xFFFu;
  const uint32_t calibration = *(volatile uint16_t *)CALIBRATION;
  *mv = raw ? power->full_scale_mv * calibration / raw : 0;
  return raw != 0;
}

const jlt_power_driver_t jlt_power_vdda_stm32l4 = {open_adc, read_store_mv, NULL};
