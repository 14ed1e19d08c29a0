// SPDX-License-Identifier: Apache-2.0
// Pins of STM32F4 and STM32L4: the GPIO ports are the same (RM0390 7.4, RM0432 8.4).
#ifndef JLT_FIRMWARE_STM32_PINS_H
#define JLT_FIRMWARE_STM32_PINS_H

#include "port.h"

enum {
  JLT_STM32_MODER = 0x00,
  JLT_STM32_OTYPER = 0x04,
  JLT_STM32_OSPEEDR = 0x08,
  JLT_STM32_PUPDR = 0x0C,
  JLT_STM32_IDR = 0x10,
  JLT_STM32_BSRR = 0x18,  // lower half sets, upper half clears
  JLT_STM32_AFRL = 0x20,
};

enum { JLT_STM32_INPUT = 0, JLT_STM32_OUTPUT = 1, JLT_STM32_ALTERNATE = 2, JLT_STM32_ANALOG = 3 };

static inline void jlt_stm32_field(uintptr_t address, uint32_t shift, uint32_t mask, uint32_t value) {
  JLT_REG(address) = (JLT_REG(address) & ~(mask << shift)) | value << shift;
}

static inline void jlt_stm32_mode(uintptr_t port, uint32_t pin, uint32_t mode) {
  jlt_stm32_field(port + JLT_STM32_MODER, 2u * pin, 3u, mode);
}

static inline void jlt_stm32_alternate(uintptr_t port, uint32_t pin, uint32_t function) {
  jlt_stm32_field(port + JLT_STM32_AFRL + 4u * (pin / 8u), 4u * (pin % 8u), 15u, function);
  jlt_stm32_field(port + JLT_STM32_OSPEEDR, 2u * pin, 3u, 2u);
  jlt_stm32_mode(port, pin, JLT_STM32_ALTERNATE);
}

static inline void jlt_stm32_write(uintptr_t port, uint32_t pin, bool high) {
  JLT_REG(port + JLT_STM32_BSRR) = 1u << (high ? pin : pin + 16u);
}

#endif
