// SPDX-License-Identifier: Apache-2.0
// Two pins of one port of the nRF52840 that drive low only, pulled up weakly; a bus wants resistors of its own.
#include "drivers.h"
#include "nrf_pins.h"

static void clock(const jlt_i2c_t *i2c, bool high) { jlt_nrf_write(i2c->base, i2c->clock_pin, high); }

static void data(const jlt_i2c_t *i2c, bool high) { jlt_nrf_write(i2c->base, i2c->data_pin, high); }

static bool open_i2c(const jlt_i2c_t *i2c) {
  clock(i2c, true);
  data(i2c, true);
  jlt_nrf_pin(i2c->base, i2c->clock_pin, JLT_NRF_OPEN_DRAIN);
  jlt_nrf_pin(i2c->base, i2c->data_pin, JLT_NRF_OPEN_DRAIN);
  return true;
}

static bool sense_clock(const jlt_i2c_t *i2c) { return (JLT_REG(i2c->base + JLT_NRF_IN) >> i2c->clock_pin & 1u) != 0; }

static bool sense_data(const jlt_i2c_t *i2c) { return (JLT_REG(i2c->base + JLT_NRF_IN) >> i2c->data_pin & 1u) != 0; }

const jlt_i2c_driver_t jlt_i2c_gpio_nrf = {open_i2c, clock, data, sense_clock, sense_data};
