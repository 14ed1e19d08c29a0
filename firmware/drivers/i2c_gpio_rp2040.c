// SPDX-License-Identifier: Apache-2.0
// Two pins of the RP2040 as open drain: the output is low for ever, and on or off. Pulled up weakly; a bus wants
// resistors of its own.
#include "drivers.h"
#include "rp2040_pins.h"

static void pull(uint32_t pin, bool high) {
  JLT_REG(high ? JLT_RP2040_GPIO_OE_CLR : JLT_RP2040_GPIO_OE_SET) = 1u << pin;
}

static void clock(const jlt_i2c_t *i2c, bool high) { pull(i2c->clock_pin, high); }

static void data(const jlt_i2c_t *i2c, bool high) { pull(i2c->data_pin, high); }

static void open_pin(uint32_t pin) {
  pull(pin, true);
  jlt_rp2040_write(pin, false);
  jlt_rp2040_function(pin, JLT_RP2040_SIO);
  jlt_rp2040_pad(pin, JLT_RP2040_PAD_INPUT | JLT_RP2040_PAD_4_MA | JLT_RP2040_PAD_SCHMITT | JLT_RP2040_PAD_PULL_UP);
}

static bool open_i2c(const jlt_i2c_t *i2c) {
  open_pin(i2c->clock_pin);
  open_pin(i2c->data_pin);
  return true;
}

static bool sense_clock(const jlt_i2c_t *i2c) { return (JLT_REG(JLT_RP2040_GPIO_IN) >> i2c->clock_pin & 1u) != 0; }

static bool sense_data(const jlt_i2c_t *i2c) { return (JLT_REG(JLT_RP2040_GPIO_IN) >> i2c->data_pin & 1u) != 0; }

const jlt_i2c_driver_t jlt_i2c_gpio_rp2040 = {open_i2c, clock, data, sense_clock, sense_data};
