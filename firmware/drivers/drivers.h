// SPDX-License-Identifier: Apache-2.0
// Every driver there is; a board's build compiles the files it names.
#ifndef JLT_FIRMWARE_DRIVERS_H
#define JLT_FIRMWARE_DRIVERS_H

#include "port.h"

extern const jlt_uart_driver_t jlt_uart_cmsdk;
extern const jlt_uart_driver_t jlt_uart_stm32f4;
extern const jlt_uart_driver_t jlt_uart_stm32_lpuart;
extern const jlt_uart_driver_t jlt_uart_pl011;
extern const jlt_uart_driver_t jlt_uart_nrf;
extern const jlt_uart_driver_t jlt_uart_16550;

extern const jlt_timer_driver_t jlt_timer_cmsdk;
extern const jlt_timer_driver_t jlt_timer_virtual;
extern const jlt_timer_driver_t jlt_timer_sse;
extern const jlt_timer_driver_t jlt_timer_stm32;
extern const jlt_timer_driver_t jlt_timer_rp2040;
extern const jlt_timer_driver_t jlt_timer_nrf;
extern const jlt_timer_driver_t jlt_timer_clint;

extern const jlt_flash_driver_t jlt_flash_memory;
extern const jlt_flash_driver_t jlt_flash_virtual;
extern const jlt_flash_driver_t jlt_flash_stm32f4;
extern const jlt_flash_driver_t jlt_flash_stm32l4;
extern const jlt_flash_driver_t jlt_flash_rp2040;
extern const jlt_flash_driver_t jlt_flash_nrf;

extern const jlt_spi_driver_t jlt_spi_pl022_cmsdk;
extern const jlt_spi_driver_t jlt_spi_pl022_rp2040;
extern const jlt_spi_driver_t jlt_spi_stm32f4;
extern const jlt_spi_driver_t jlt_spi_stm32l4;
extern const jlt_spi_driver_t jlt_spi_nrf;

extern const jlt_i2c_driver_t jlt_i2c_sbcon;
extern const jlt_i2c_driver_t jlt_i2c_gpio_stm32;
extern const jlt_i2c_driver_t jlt_i2c_gpio_rp2040;
extern const jlt_i2c_driver_t jlt_i2c_gpio_nrf;

extern const jlt_nvm_driver_t jlt_nvm_fram;
extern const jlt_nvm_driver_t jlt_nvm_flash;

extern const jlt_power_driver_t jlt_power_ina228;
extern const jlt_power_driver_t jlt_power_adc_virtual;
extern const jlt_power_driver_t jlt_power_adc_stm32f4;
extern const jlt_power_driver_t jlt_power_vdda_stm32l4;
extern const jlt_power_driver_t jlt_power_adc_rp2040;
extern const jlt_power_driver_t jlt_power_adc_nrf;

extern const jlt_marker_driver_t jlt_marker_cmsdk;
extern const jlt_marker_driver_t jlt_marker_stm32;
extern const jlt_marker_driver_t jlt_marker_rp2040;
extern const jlt_marker_driver_t jlt_marker_nrf;

// Software I2C master over two open-drain lines; false where the part does not acknowledge.
bool jlt_i2c_read(const jlt_i2c_t *i2c, uint32_t address, uint8_t reg, uint8_t *to, uint32_t bytes);
bool jlt_i2c_write(const jlt_i2c_t *i2c, uint32_t address, uint8_t reg, const uint8_t *from, uint32_t bytes);

// Registers of the virtual boards that no real part has; on QEMU's MPS2 they read as 0.
enum {
  JLT_VIRTUAL_BASE = 0x40030000,
  JLT_VIRTUAL_ID = 0x00,        // JLT_VIRTUAL_MAGIC
  JLT_VIRTUAL_TICKS_LOW = 0x04,   // reading it latches the other half
  JLT_VIRTUAL_TICKS_HIGH = 0x08,
  JLT_VIRTUAL_WAKE_LOW = 0x0C,
  JLT_VIRTUAL_WAKE_HIGH = 0x10,   // writing it arms the alarm that ends the next wfi
  JLT_VIRTUAL_ADC = 0x14,         // store voltage, 12 bits
  JLT_VIRTUAL_FLASH_KEY = 0x20,   // JLT_VIRTUAL_UNLOCK, before each of the two below
  JLT_VIRTUAL_FLASH_ERASE = 0x24,    // address of a page
  JLT_VIRTUAL_FLASH_ADDRESS = 0x28,  // of a granule
  JLT_VIRTUAL_FLASH_LOW = 0x2C,
  JLT_VIRTUAL_FLASH_HIGH = 0x30,     // writing it programs the granule
  JLT_VIRTUAL_FLASH_STATUS = 0x34,   // 0: the last one succeeded
  JLT_VIRTUAL_MAGIC = 0x56544C4A,
  JLT_VIRTUAL_UNLOCK = 0x4F50454E,
};

// Polls until the masked bits have a value; false when the bound is reached first.
static inline bool jlt_wait_for(uintptr_t address, uint32_t mask, uint32_t value) {
  for (uint32_t turn = 0; turn < JLT_WAIT_TURNS; turn++) {
    if ((JLT_REG(address) & mask) == value) {
      return true;
    }
  }
  return false;
}

static inline bool jlt_is_virtual(void) { return JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_ID) == JLT_VIRTUAL_MAGIC; }

#endif
