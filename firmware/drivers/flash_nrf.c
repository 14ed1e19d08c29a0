// SPDX-License-Identifier: Apache-2.0
// Flash of the nRF52840 through its NVMC (PS 4.3): pages of 4 KiB, words of four bytes. The core stands still while a
// page is erased, 85 ms; it is done in slices so that the line's buffer does not run over.
#include <string.h>

#include "drivers.h"

enum { READY = 0x400, CONFIG = 0x504, ERASEPAGEPARTIAL = 0x518, ERASEPAGEPARTIALCFG = 0x51C };
enum { CONFIG_READ = 0, CONFIG_WRITE = 1, CONFIG_ERASE = 2, PAGE_BYTES = 4096, SLICE_MS = 2, ERASE_MS = 90 };

static bool configure(const jlt_flash_t *flash, uint32_t mode) {
  JLT_REG(flash->base + CONFIG) = mode;
  return jlt_wait_for(flash->base + READY, 1, 1);
}

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  if (bytes != PAGE_BYTES || page % PAGE_BYTES != 0) {
    return false;
  }
  JLT_REG(flash->base + ERASEPAGEPARTIALCFG) = SLICE_MS;
  bool ok = configure(flash, CONFIG_ERASE);
  for (uint32_t ms = 0; ok && ms < ERASE_MS; ms += SLICE_MS) {
    JLT_REG(flash->base + ERASEPAGEPARTIAL) = (uint32_t)page;
    ok = jlt_wait_for(flash->base + READY, 1, 1);
  }
  const bool closed = configure(flash, CONFIG_READ);
  for (uint32_t i = 0; ok && i < PAGE_BYTES; i += 4u) {
    ok = JLT_REG(page + i) == UINT32_MAX;
  }
  return ok && closed;
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  if (to % 4u != 0) {
    return false;
  }
  bool ok = configure(flash, CONFIG_WRITE);
  for (uint32_t i = 0; ok && i < bytes; i += 4u) {
    uint32_t word;
    memcpy(&word, data + i, sizeof(word));
    JLT_REG(to + i) = word;
    ok = jlt_wait_for(flash->base + READY, 1, 1);
  }
  const bool closed = configure(flash, CONFIG_READ);
  return ok && closed && memcmp((const void *)to, data, bytes) == 0;
}

const jlt_flash_driver_t jlt_flash_nrf = {erase, program, NULL};
