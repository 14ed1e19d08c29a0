// SPDX-License-Identifier: Apache-2.0
// "Flash" of boards in emulation that is static RAM: simply written.
#include <string.h>

#include "drivers.h"

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  (void)flash;
  memset((void *)page, 0xFF, bytes);
  return true;
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  (void)flash;
  memcpy((void *)to, data, bytes);
  return true;
}

const jlt_flash_driver_t jlt_flash_memory = {erase, program, NULL};
