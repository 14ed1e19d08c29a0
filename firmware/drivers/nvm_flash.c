// SPDX-License-Identifier: Apache-2.0
// Non-volatile memory in a region of internal flash: what has been written once is written again only after an erase.
#include <string.h>

#include "drivers.h"

static uint32_t open_nvm(const jlt_nvm_t *nvm) { return jlt_board.flash.driver ? nvm->region.bytes : 0; }

static bool in_range(const jlt_nvm_t *nvm, uint32_t address, uint32_t bytes) {
  return address <= nvm->region.bytes && bytes <= nvm->region.bytes - address;
}

static bool read(const jlt_nvm_t *nvm, uint32_t from, void *to, uint32_t bytes) {
  if (!in_range(nvm, from, bytes)) {
    return false;
  }
  const jlt_flash_t *flash = &jlt_board.flash;
  const bool asks = flash->driver->torn != NULL;
  (void)(asks && flash->driver->torn(flash));
  memcpy(to, (const void *)(nvm->region.address + from), bytes);
  return !(asks && flash->driver->torn(flash));
}

static bool write(const jlt_nvm_t *nvm, uint32_t to, const void *from, uint32_t bytes) {
  const jlt_flash_t *flash = &jlt_board.flash;
  return in_range(nvm, to, bytes) && flash->driver->program(flash, nvm->region.address + to, from, bytes);
}

static bool erase(const jlt_nvm_t *nvm) {
  const jlt_flash_t *flash = &jlt_board.flash;
  for (uint32_t at = 0; at < nvm->region.bytes; at += nvm->region.page_bytes) {
    if (!flash->driver->erase(flash, nvm->region.address + at, nvm->region.page_bytes)) {
      return false;
    }
  }
  return true;
}

const jlt_nvm_driver_t jlt_nvm_flash = {open_nvm, read, write, erase};
