// SPDX-License-Identifier: Apache-2.0
// What the flash controllers of the STM32F4 (RM0390 3.8) and STM32L4+ (RM0432 3.7) have in common: the keys, the lock and the caches.
// Registers lie at other offsets and operations differ, so each has a driver of its own.
#ifndef JLT_FIRMWARE_STM32_FLASH_H
#define JLT_FIRMWARE_STM32_FLASH_H

#include "drivers.h"

enum { JLT_STM32_FLASH_START = 0x08000000, JLT_STM32_FLASH_BUSY = 1 << 16, JLT_STM32_FLASH_ACR = 0x00 };
enum { JLT_STM32_FLASH_CACHES = 3 << 9, JLT_STM32_FLASH_RESETS = 3 << 11 };  // of instructions and of data
#define JLT_STM32_FLASH_LOCK (1u << 31)

typedef struct {
  uint32_t keyr, sr, cr;  // offsets of the registers
  uint32_t errors;        // bits of sr
  uint32_t waits;         // times the usual bound
} jlt_stm32_flash_t;

static inline bool jlt_stm32_flash_idle(uintptr_t base, jlt_stm32_flash_t at) {
  for (uint32_t i = 0; i < at.waits; i++) {
    if (jlt_wait_for(base + at.sr, JLT_STM32_FLASH_BUSY, 0)) {
      return true;
    }
  }
  return false;
}

// What was started has ended, and well.
static inline bool jlt_stm32_flash_done(uintptr_t base, jlt_stm32_flash_t at) {
  return jlt_stm32_flash_idle(base, at) && !(JLT_REG(base + at.sr) & at.errors);
}

static inline bool jlt_stm32_flash_unlock(uintptr_t base, jlt_stm32_flash_t at) {
  if (!jlt_stm32_flash_idle(base, at)) {
    return false;
  }
  if (JLT_REG(base + at.cr) & JLT_STM32_FLASH_LOCK) {
    JLT_REG(base + at.keyr) = 0x45670123u;
    JLT_REG(base + at.keyr) = 0xCDEF89ABu;
  }
  JLT_REG(base + at.sr) = at.errors;
  return !(JLT_REG(base + at.cr) & JLT_STM32_FLASH_LOCK);
}

// Locks, and empties the caches, which know nothing of what has been written; returns `ok`.
static inline bool jlt_stm32_flash_finish(uintptr_t base, jlt_stm32_flash_t at, bool ok) {
  JLT_REG(base + at.cr) = JLT_STM32_FLASH_LOCK;
  const uint32_t acr = JLT_REG(base + JLT_STM32_FLASH_ACR);
  const uint32_t off = acr & ~(uint32_t)JLT_STM32_FLASH_CACHES;
  JLT_REG(base + JLT_STM32_FLASH_ACR) = off;
  JLT_REG(base + JLT_STM32_FLASH_ACR) = off | JLT_STM32_FLASH_RESETS;
  JLT_REG(base + JLT_STM32_FLASH_ACR) = acr;
  return ok;
}

#endif
