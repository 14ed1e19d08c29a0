// SPDX-License-Identifier: Apache-2.0
// Arm PrimeCell SSP PL022 (DDI 0194H): mode 0, eight bits, chip select from a GPIO of the CMSDK.
#include "drivers.h"

enum { CR0 = 0x00, CR1 = 0x04, DR = 0x08, SR = 0x0C, CPSR = 0x10 };
enum { CR0_8_BITS = 7, CR1_ENABLE = 2, SR_TX_NOT_FULL = 2, SR_RX_NOT_EMPTY = 4 };
enum { GPIO_DATAOUT = 0x04, GPIO_OUTENSET = 0x10 };

static void select(const jlt_spi_t *spi, bool on) {
  const uint32_t pin = 1u << spi->select_pin;
  const uint32_t out = JLT_REG(spi->select_base + GPIO_DATAOUT);
  JLT_REG(spi->select_base + GPIO_DATAOUT) = on ? out & ~pin : out | pin;
}

static bool open_spi(const jlt_spi_t *spi) {
  select(spi, false);
  JLT_REG(spi->select_base + GPIO_OUTENSET) = 1u << spi->select_pin;
  uint32_t divider = 2;  // even, 2..254
  while (divider < 254u && spi->clock_hz / divider > spi->rate_hz) {
    divider += 2u;
  }
  JLT_REG(spi->base + CR1) = 0;
  JLT_REG(spi->base + CPSR) = divider;
  JLT_REG(spi->base + CR0) = CR0_8_BITS;
  JLT_REG(spi->base + CR1) = CR1_ENABLE;
  return true;
}

static bool wait_for(const jlt_spi_t *spi, uint32_t flag) {
  for (uint32_t turn = 0; turn < JLT_WAIT_TURNS; turn++) {
    if (JLT_REG(spi->base + SR) & flag) {
      return true;
    }
  }
  return false;
}

static bool exchange(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    if (!wait_for(spi, SR_TX_NOT_FULL)) {
      return false;
    }
    JLT_REG(spi->base + DR) = out ? out[i] : 0u;
    if (!wait_for(spi, SR_RX_NOT_EMPTY)) {
      return false;
    }
    const uint8_t byte = (uint8_t)JLT_REG(spi->base + DR);
    if (in) {
      in[i] = byte;
    }
  }
  return true;
}

const jlt_spi_driver_t jlt_spi_pl022_cmsdk = {open_spi, select, exchange};
