// SPDX-License-Identifier: Apache-2.0
// Arm PrimeCell SSP PL022 (DDI 0194H): mode 0, eight bits, chip select from a GPIO of the CMSDK or of the RP2040.
#include "drivers.h"
#include "rp2040_pins.h"

enum { CR0 = 0x00, CR1 = 0x04, DR = 0x08, SR = 0x0C, CPSR = 0x10 };
enum { CR0_8_BITS = 7, CR1_ENABLE = 2, SR_RX_NOT_EMPTY = 4, QUEUE = 8 };
enum { GPIO_DATAOUT = 0x04, GPIO_OUTENSET = 0x10 };

static void select_cmsdk(const jlt_spi_t *spi, bool on) {
  const uint32_t pin = 1u << spi->select_pin;
  const uint32_t out = JLT_REG(spi->select_base + GPIO_DATAOUT);
  JLT_REG(spi->select_base + GPIO_DATAOUT) = on ? out & ~pin : out | pin;
}

static void select_rp2040(const jlt_spi_t *spi, bool on) { jlt_rp2040_write(spi->select_pin, !on); }

static void open_spi(const jlt_spi_t *spi) {
  uint32_t divider = 2;  // even, 2..254
  while (divider < 254u && spi->clock_hz / divider > spi->rate_hz) {
    divider += 2u;
  }
  JLT_REG(spi->base + CR1) = 0;
  JLT_REG(spi->base + CPSR) = divider;
  JLT_REG(spi->base + CR0) = CR0_8_BITS;
  JLT_REG(spi->base + CR1) = CR1_ENABLE;
}

static bool open_cmsdk(const jlt_spi_t *spi) {
  select_cmsdk(spi, false);
  JLT_REG(spi->select_base + GPIO_OUTENSET) = 1u << spi->select_pin;
  open_spi(spi);
  return true;
}

// Datasheet 2.19.2: clock, data out and data in are function 1 of their pins.
static bool open_rp2040(const jlt_spi_t *spi) {
  select_rp2040(spi, false);
  jlt_rp2040_output(spi->select_pin);
  for (uint32_t i = 0; i < 3u; i++) {
    jlt_rp2040_function(spi->pins[i], JLT_RP2040_SPI);
  }
  open_spi(spi);
  return true;
}

__attribute__((noinline)) static bool await(const jlt_spi_t *spi) {
  return jlt_wait_for(spi->base + SR, SR_RX_NOT_EMPTY, SR_RX_NOT_EMPTY);
}

__attribute__((always_inline)) static inline bool arrived(const jlt_spi_t *spi) {
  return (JLT_REG(spi->base + SR) & SR_RX_NOT_EMPTY) || await(spi);
}

// Both keep up to eight bytes on their way, which is what either queue holds: none can overflow. Between the first eight and
// the last the loops must take less than the sixteen cycles that the bus takes for a byte.
static bool receive(const jlt_spi_t *spi, uint8_t *in, uint32_t bytes) {
  const uintptr_t data = spi->base + DR;
  const uint32_t ahead = bytes < QUEUE ? bytes : QUEUE;
  for (uint32_t i = 0; i < ahead; i++) {
    JLT_REG(data) = 0;
  }
  for (const uint8_t *end = in + (bytes - ahead); in != end;) {
    if (!arrived(spi)) {
      return false;
    }
    *in++ = (uint8_t)JLT_REG(data);
    JLT_REG(data) = 0;
  }
  for (const uint8_t *end = in + ahead; in != end;) {
    if (!arrived(spi)) {
      return false;
    }
    *in++ = (uint8_t)JLT_REG(data);
  }
  return true;
}

static bool transmit(const jlt_spi_t *spi, const uint8_t *out, uint32_t bytes) {
  const uintptr_t data = spi->base + DR;
  const uint8_t *end = out + bytes;
  const uint32_t ahead = bytes < QUEUE ? bytes : QUEUE;
  for (uint32_t i = 0; i < ahead; i++) {
    JLT_REG(data) = *out++;
  }
  while (out != end) {
    if (!arrived(spi)) {
      return false;
    }
    (void)JLT_REG(data);
    JLT_REG(data) = *out++;
  }
  for (uint32_t i = 0; i < ahead; i++) {
    if (!arrived(spi)) {
      return false;
    }
    (void)JLT_REG(data);
  }
  return true;
}

static bool exchange(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes) {
  return out ? transmit(spi, out, bytes) : in ? receive(spi, in, bytes) : bytes == 0;
}

const jlt_spi_driver_t jlt_spi_pl022_cmsdk = {open_cmsdk, select_cmsdk, exchange};
const jlt_spi_driver_t jlt_spi_pl022_rp2040 = {open_rp2040, select_rp2040, exchange};
