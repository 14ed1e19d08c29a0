// SPDX-License-Identifier: Apache-2.0
// Store voltage through the nRF52840's SAADC (PS 6.23): a sixth of the input against 0.6 V, so 3.6 V at the full scale.
// Channel 9 is the chip's own supply: nothing has to be wired.
#include "drivers.h"

enum { START = 0x000, SAMPLE = 0x004, STOP = 0x008, CALIBRATE = 0x00C, STARTED = 0x100, END = 0x104, STOPPED = 0x114 };
enum { CALIBRATED = 0x110, ENABLE = 0x500, PSELP = 0x510, PSELN = 0x514, CONFIG = 0x518, RESOLUTION = 0x5F0 };
enum { RESULT_PTR = 0x62C, RESULT_MAXCNT = 0x630, CONFIG_10_US = 2 << 16, RESOLUTION_12 = 2 };

static volatile int16_t result;  // by DMA: it must lie in RAM

static bool run(const jlt_power_t *power, uintptr_t task, uintptr_t event) {
  JLT_REG(power->base + event) = 0;
  JLT_REG(power->base + task) = 1;
  return jlt_wait_for(power->base + event, 1, 1);
}

static bool open_adc(const jlt_power_t *power) {
  JLT_REG(power->base + PSELP) = power->channel;
  JLT_REG(power->base + PSELN) = 0;
  JLT_REG(power->base + CONFIG) = CONFIG_10_US;
  JLT_REG(power->base + RESOLUTION) = RESOLUTION_12;
  JLT_REG(power->base + ENABLE) = 1;
  const bool ok = run(power, CALIBRATE, CALIBRATED) && run(power, STOP, STOPPED);
  JLT_REG(power->base + ENABLE) = 0;
  return ok;
}

// Enabled only while it converts: it draws current as long as it is.
static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  JLT_REG(power->base + ENABLE) = 1;
  JLT_REG(power->base + RESULT_PTR) = (uint32_t)(uintptr_t)&result;
  JLT_REG(power->base + RESULT_MAXCNT) = 1;
  const bool ok = run(power, START, STARTED) && run(power, SAMPLE, END);
  const bool stopped = run(power, STOP, STOPPED);
  JLT_REG(power->base + ENABLE) = 0;
  const int32_t raw = result;
  *mv = raw > 0 ? (uint32_t)raw * power->full_scale_mv >> power->bits : 0u;
  return ok && stopped;
}

const jlt_power_driver_t jlt_power_adc_nrf = {open_adc, read_store_mv, NULL};
