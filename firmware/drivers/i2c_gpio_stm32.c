// SPDX-License-Identifier: Apache-2.0
// Two open-drain pins of one GPIO port of an STM32F4 or STM32L4, pulled up weakly; a bus wants resistors of its own.
#include "drivers.h"
#include "stm32_pins.h"

static void clock(const jlt_i2c_t *i2c, bool high) { jlt_stm32_write(i2c->base, i2c->clock_pin, high); }

static void data(const jlt_i2c_t *i2c, bool high) { jlt_stm32_write(i2c->base, i2c->data_pin, high); }

static void open_pin(const jlt_i2c_t *i2c, uint32_t pin) {
  jlt_stm32_write(i2c->base, pin, true);
  jlt_stm32_field(i2c->base + JLT_STM32_OTYPER, pin, 1u, 1u);
  jlt_stm32_field(i2c->base + JLT_STM32_PUPDR, 2u * pin, 3u, 1u);
  jlt_stm32_mode(i2c->base, pin, JLT_STM32_OUTPUT);
}

static bool open_i2c(const jlt_i2c_t *i2c) {
  open_pin(i2c, i2c->clock_pin);
  open_pin(i2c, i2c->data_pin);
  return true;
}

static bool sense(const jlt_i2c_t *i2c, uint32_t pin) { return (JLT_REG(i2c->base + JLT_STM32_IDR) >> pin & 1u) != 0; }

static bool sense_clock(const jlt_i2c_t *i2c) { return sense(i2c, i2c->clock_pin); }

static bool sense_data(const jlt_i2c_t *i2c) { return sense(i2c, i2c->data_pin); }

const jlt_i2c_driver_t jlt_i2c_gpio_stm32 = {open_i2c, clock, data, sense_clock, sense_data};
