// SPDX-License-Identifier: Apache-2.0
// I2C master in software (NXP UM10204): the same on every board that can pull two lines low.
#include "drivers.h"

static void pause(const jlt_i2c_t *i2c) {
  for (volatile uint32_t i = 0; i < i2c->half_period_turns; i++) {
  }
}

// A part may hold the clock low for a while, not for ever.
static bool release_clock(const jlt_i2c_t *i2c) {
  i2c->driver->clock(i2c, true);
  for (uint32_t turn = 0; turn < 1000u; turn++) {
    if (i2c->driver->sense_clock(i2c)) {
      return true;
    }
    pause(i2c);
  }
  return false;
}

static bool start(const jlt_i2c_t *i2c) {
  i2c->driver->data(i2c, true);
  pause(i2c);
  if (!release_clock(i2c)) {
    return false;
  }
  pause(i2c);
  i2c->driver->data(i2c, false);
  pause(i2c);
  i2c->driver->clock(i2c, false);
  return true;
}

static void stop(const jlt_i2c_t *i2c) {
  i2c->driver->data(i2c, false);
  pause(i2c);
  (void)release_clock(i2c);
  pause(i2c);
  i2c->driver->data(i2c, true);
  pause(i2c);
}

static bool bit(const jlt_i2c_t *i2c, bool out, bool *in) {
  i2c->driver->data(i2c, out);
  pause(i2c);
  if (!release_clock(i2c)) {
    return false;
  }
  *in = i2c->driver->sense_data(i2c);
  pause(i2c);
  i2c->driver->clock(i2c, false);
  return true;
}

static bool send(const jlt_i2c_t *i2c, uint8_t byte) {
  bool in;
  for (uint32_t i = 0; i < 8u; i++) {
    if (!bit(i2c, (byte << i & 0x80u) != 0, &in)) {
      return false;
    }
  }
  return bit(i2c, true, &in) && !in;  // acknowledged by a low line
}

static bool receive(const jlt_i2c_t *i2c, uint8_t *byte, bool last) {
  bool in;
  *byte = 0;
  for (uint32_t i = 0; i < 8u; i++) {
    if (!bit(i2c, true, &in)) {
      return false;
    }
    *byte = (uint8_t)(*byte << 1 | in);
  }
  return bit(i2c, last, &in);
}

bool jlt_i2c_write(const jlt_i2c_t *i2c, uint32_t address, uint8_t reg, const uint8_t *from, uint32_t bytes) {
  bool ok = start(i2c) && send(i2c, (uint8_t)(address << 1)) && send(i2c, reg);
  for (uint32_t i = 0; ok && i < bytes; i++) {
    ok = send(i2c, from[i]);
  }
  stop(i2c);
  return ok;
}

bool jlt_i2c_read(const jlt_i2c_t *i2c, uint32_t address, uint8_t reg, uint8_t *to, uint32_t bytes) {
  bool ok = start(i2c) && send(i2c, (uint8_t)(address << 1)) && send(i2c, reg) && start(i2c) &&
            send(i2c, (uint8_t)(address << 1 | 1u));
  for (uint32_t i = 0; ok && i < bytes; i++) {
    ok = receive(i2c, to + i, i + 1u == bytes);
  }
  stop(i2c);
  return ok;
}
