// SPDX-License-Identifier: Apache-2.0
// The virtual board's flash through its controller; the same image on QEMU's MPS2 finds static RAM.
#include <string.h>

#include "drivers.h"

static bool run(uint32_t reg, uint32_t value) {
  JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_FLASH_KEY) = JLT_VIRTUAL_UNLOCK;
  JLT_REG(JLT_VIRTUAL_BASE + reg) = value;
  return JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_FLASH_STATUS) == 0;
}

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  return jlt_is_virtual() ? run(JLT_VIRTUAL_FLASH_ERASE, (uint32_t)page) : jlt_flash_memory.erase(flash, page, bytes);
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  if (!jlt_is_virtual()) {
    return jlt_flash_memory.program(flash, to, data, bytes);
  }
  for (uint32_t i = 0; i < bytes; i += flash->granule_bytes) {
    uint32_t words[2];
    memcpy(words, data + i, sizeof(words));
    JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_FLASH_ADDRESS) = (uint32_t)(to + i);
    JLT_REG(JLT_VIRTUAL_BASE + JLT_VIRTUAL_FLASH_LOW) = words[0];
    if (!run(JLT_VIRTUAL_FLASH_HIGH, words[1])) {
      return false;
    }
  }
  return true;
}

const jlt_flash_driver_t jlt_flash_virtual = {erase, program, NULL};
