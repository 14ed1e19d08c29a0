// SPDX-License-Identifier: Apache-2.0
// SPI of STM32F4 (RM0390 26.7) and STM32L4 (RM0432 51.6): mode 0, eight bits, chip select from a GPIO. The L4's has
// queues and takes the width of an access for the number of bytes.
#include "drivers.h"
#include "stm32_pins.h"

enum { CR1 = 0x00, CR2 = 0x04, SR = 0x08, DR = 0x0C };
enum { CR1_MSTR = 1 << 2, CR1_SPE = 1 << 6, CR1_SSI = 1 << 8, CR1_SSM = 1 << 9, SR_RXNE = 1, SR_TXE = 2 };
enum { L4_CR2_8_BITS = 7 << 8, L4_CR2_FRXTH = 1 << 12 };

static void select(const jlt_spi_t *spi, bool on) { jlt_stm32_write(spi->select_base, spi->select_pin, !on); }

static bool open_with(const jlt_spi_t *spi, uint32_t cr2) {
  select(spi, false);
  jlt_stm32_mode(spi->select_base, spi->select_pin, JLT_STM32_OUTPUT);
  uint32_t rate = 0;  // clock / 2^(rate + 1)
  while (rate < 7u && spi->clock_hz >> (rate + 1u) > spi->rate_hz) {
    rate++;
  }
  JLT_REG(spi->base + CR1) = 0;
  JLT_REG(spi->base + CR2) = cr2;
  JLT_REG(spi->base + CR1) = CR1_MSTR | CR1_SSM | CR1_SSI | rate << 3;
  JLT_REG(spi->base + CR1) |= CR1_SPE;
  return true;
}

static bool open_f4(const jlt_spi_t *spi) { return open_with(spi, 0); }

static bool open_l4(const jlt_spi_t *spi) { return open_with(spi, L4_CR2_8_BITS | L4_CR2_FRXTH); }

static bool exchange_f4(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    if (!jlt_wait_for(spi->base + SR, SR_TXE, SR_TXE)) {
      return false;
    }
    JLT_REG(spi->base + DR) = out ? out[i] : 0u;
    if (!jlt_wait_for(spi->base + SR, SR_RXNE, SR_RXNE)) {
      return false;
    }
    const uint8_t byte = (uint8_t)JLT_REG(spi->base + DR);
    if (in) {
      in[i] = byte;
    }
  }
  return true;
}

static bool exchange_l4(const jlt_spi_t *spi, const uint8_t *out, uint8_t *in, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i++) {
    if (!jlt_wait_for(spi->base + SR, SR_TXE, SR_TXE)) {
      return false;
    }
    JLT_REG8(spi->base + DR) = out ? out[i] : 0u;
    if (!jlt_wait_for(spi->base + SR, SR_RXNE, SR_RXNE)) {
      return false;
    }
    const uint8_t byte = JLT_REG8(spi->base + DR);
    if (in) {
      in[i] = byte;
    }
  }
  return true;
}

const jlt_spi_driver_t jlt_spi_stm32f4 = {open_f4, select, exchange_f4};
const jlt_spi_driver_t jlt_spi_stm32l4 = {open_l4, select, exchange_l4};
