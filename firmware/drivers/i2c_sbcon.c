// SPDX-License-Identifier: Apache-2.0
// The two lines of Arm's SBCon serial bus interface (DUI 0224, 4.8): set and clear registers of an open-drain pair.
#include "drivers.h"

enum { CONTROL = 0x00, SET = 0x00, CLEAR = 0x04, SCL = 1, SDA = 2 };

static bool open_i2c(const jlt_i2c_t *i2c) {
  JLT_REG(i2c->base + SET) = SCL | SDA;
  return true;
}

static void clock(const jlt_i2c_t *i2c, bool high) { JLT_REG(i2c->base + (high ? SET : CLEAR)) = SCL; }

static void data(const jlt_i2c_t *i2c, bool high) { JLT_REG(i2c->base + (high ? SET : CLEAR)) = SDA; }

static bool sense_clock(const jlt_i2c_t *i2c) { return (JLT_REG(i2c->base + CONTROL) & SCL) != 0; }

static bool sense_data(const jlt_i2c_t *i2c) { return (JLT_REG(i2c->base + CONTROL) & SDA) != 0; }

const jlt_i2c_driver_t jlt_i2c_sbcon = {open_i2c, clock, data, sense_clock, sense_data};
