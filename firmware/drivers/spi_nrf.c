// SPDX-License-Identifier: Apache-2.0
// SPI master of the nRF52840 without DMA (PS 6.24): mode 0; each byte sent brings one back.
#include "drivers.h"
#include "nrf_pins.h"

enum { READY = 0x108, ENABLE = 0x500, PSEL_SCK = 0x508 };
enum { PSEL_MOSI = 0x50C, PSEL_MISO = 0x510, RXD = 0x518, TXD = 0x51C };
enum { FREQUENCY = 0x524, CONFIG = 0x554, ENABLE_SPI = 1, HZ_8M = 8000000 };

static void select(const jlt_spi_t *spi, bool on) { jlt_nrf_write(spi->select_base, spi->select_pin, !on); }

static bool open_spi(const jlt_spi_t *spi) {
  select(spi, false);
  jlt_nrf_pin(spi->select_base, spi->select_pin, JLT_NRF_OUTPUT);
  // the pins must have their direction before the master drives them
  jlt_nrf_pin(jlt_nrf_port(spi->pins[0]), spi->pins[0] % 32u, JLT_NRF_OUTPUT_SENSED);
  jlt_nrf_pin(jlt_nrf_port(spi->pins[1]), spi->pins[1] % 32u, JLT_NRF_OUTPUT);
  jlt_nrf_pin(jlt_nrf_port(spi->pins[2]), spi->pins[2] % 32u, JLT_NRF_INPUT);
  JLT_REG(spi->base + PSEL_SCK) = spi->pins[0];
  JLT_REG(spi->base + PSEL_MOSI) = spi->pins[1];
  JLT_REG(spi->base + PSEL_MISO) = spi->pins[2];
  uint32_t code = 0x80000000u, hz = HZ_8M;  // 8, 4, 2, 1 MHz and below: each half of the one before
  while (hz > 125000u && hz > spi->rate_hz) {
    hz /= 2u;
    code /= 2u;
  }
  JLT_REG(spi->base + FREQUENCY) = code;
  JLT_REG(spi->base + CONFIG) = 0;
  JLT_REG(spi->base + ENABLE) = ENABLE_SPI;
  return true;
}

static bool exchange(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    JLT_REG(spi->base + READY) = 0;
    JLT_REG(spi->base + TXD) = out ? out[i] : 0u;
    if (!jlt_wait_for(spi->base + READY, 1, 1)) {
      return false;
    }
    const uint8_t byte = (uint8_t)JLT_REG(spi->base + RXD);
    if (in) {
      in[i] = byte;
    }
  }
  return true;
}

const jlt_spi_driver_t jlt_spi_nrf = {open_spi, select, exchange};
