// SPDX-License-Identifier: Apache-2.0
// Flash of the STM32F4 with 512 KiB (RM0390, 3.5 and 3.8): sectors of 16, 64 and 128 KiB, words of four bytes at 2.7 V
// or more. One bank: the core stands still while a sector is erased, up to 2 s, and what the line brings then is lost;
// the link sends it again.
#include <string.h>

#include "stm32_flash.h"

enum { SR = 0x0C, CR = 0x10 };
enum { CR_PG = 1, CR_SER = 2, CR_32_BITS = 2 << 8, CR_STRT = 1 << 16, SECTORS = 8 };
// from the instruction cache the loop may run on: many times the usual bound
static const jlt_stm32_flash_t at = {.keyr = 0x04, .sr = SR, .cr = CR, .errors = 0x1F2, .waits = 64};

static uint32_t sector_bytes(uint32_t sector) { return sector < 4u ? 0x4000u : sector == 4u ? 0x10000u : 0x20000u; }

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  uintptr_t start = JLT_STM32_FLASH_START;
  uint32_t sector = 0;
  while (sector < SECTORS && start != page) {
    start += sector_bytes(sector++);
  }
  if (sector == SECTORS || sector_bytes(sector) != bytes || !jlt_stm32_flash_unlock(flash->base, at)) {
    return false;
  }
  const uint32_t cr = CR_SER | CR_32_BITS | sector << 3;
  JLT_REG(flash->base + CR) = cr;
  JLT_REG(flash->base + CR) = cr | CR_STRT;
  return jlt_stm32_flash_finish(flash->base, at, jlt_stm32_flash_done(flash->base, at));
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  if (to % 4u != 0 || !jlt_stm32_flash_unlock(flash->base, at)) {
    return false;
  }
  bool ok = true;
  for (uint32_t i = 0; ok && i < bytes; i += 4u) {
    uint32_t word;
    memcpy(&word, data + i, sizeof(word));
    JLT_REG(flash->base + CR) = CR_PG | CR_32_BITS;
    JLT_REG(to + i) = word;
    ok = jlt_stm32_flash_done(flash->base, at);
  }
  return jlt_stm32_flash_finish(flash->base, at, ok);
}

const jlt_flash_driver_t jlt_flash_stm32f4 = {erase, program, NULL};
