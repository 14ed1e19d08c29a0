// SPDX-License-Identifier: Apache-2.0
// INA228 power monitor (TI SBOS886, 7.6): energy of 40 bits, bus voltage of 20.
#include "drivers.h"

enum { CONFIG = 0x00, SHUNT_CAL = 0x02, VBUS = 0x05, ENERGY = 0x09, MANUFACTURER = 0x3E, DEVICE = 0x3F };
enum { CONFIG_RSTACC = 1 << 14, MANUFACTURER_TI = 0x5449, DEVICE_INA228 = 0x228 };

static bool read_register(const jlt_power_t *power, uint8_t reg, uint32_t bytes, uint64_t *value) {
  uint8_t raw[5];
  if (!jlt_i2c_read(power->i2c, power->address, reg, raw, bytes)) {
    return false;
  }
  *value = 0;
  for (uint32_t i = 0; i < bytes; i++) {
    *value = *value << 8 | raw[i];
  }
  return true;
}

static bool write_register(const jlt_power_t *power, uint8_t reg, uint32_t value) {
  const uint8_t raw[2] = {(uint8_t)(value >> 8), (uint8_t)value};
  return jlt_i2c_write(power->i2c, power->address, reg, raw, sizeof(raw));
}

static bool open_power(const jlt_power_t *power) {
  uint64_t maker, device;
  if (!power->i2c->driver || !power->i2c->driver->open(power->i2c) ||
      !read_register(power, MANUFACTURER, 2, &maker) || !read_register(power, DEVICE, 2, &device) ||
      maker != MANUFACTURER_TI || device >> 4 != DEVICE_INA228) {
    return false;
  }
  // SHUNT_CAL = 13107.2e6 x CURRENT_LSB x R_SHUNT
  const uint64_t cal = (uint64_t)power->current_lsb_na * power->shunt_uohm * 131072u / 10000000000u;
  return cal <= 0x7FFFu && write_register(power, SHUNT_CAL, (uint32_t)cal) && write_register(power, CONFIG, CONFIG_RSTACC);
}

// 195.3125 uV in the upper 20 of 24 bits
static bool read_store_mv(const jlt_power_t *power, uint32_t *mv) {
  uint64_t raw;
  if (!read_register(power, VBUS, 3, &raw)) {
    return false;
  }
  *mv = (uint32_t)((raw >> 4) * 1953125u / 10000000u);
  return true;
}

// 16 x 3.2 x CURRENT_LSB joules
static bool read_energy_nj(const jlt_power_t *power, uint64_t *nj) {
  uint64_t raw;
  if (!read_register(power, ENERGY, 5, &raw)) {
    return false;
  }
  *nj = raw * power->current_lsb_na * 512u / 10u;
  return true;
}

const jlt_power_driver_t jlt_power_ina228 = {open_power, read_store_mv, read_energy_nj};
