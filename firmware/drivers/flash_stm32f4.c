// SPDX-License-Identifier: Apache-2.0
// Flash of the STM32F4 with 512 KiB (RM0390, 3.5 and 3.8): sectors of 16, 64 and 128 KiB, words of four bytes at 2.7 V
// or more. One bank: the core stands still while a sector is erased, up to 2 s, and what the line brings then is lost;
// the link sends it again.
#include <string.h>

#include "drivers.h"

enum { ACR = 0x00, KEYR = 0x04, SR = 0x0C, CR = 0x10 };
enum { ACR_ICEN = 1 << 9, ACR_DCEN = 1 << 10, ACR_ICRST = 1 << 11, ACR_DCRST = 1 << 12 };
enum { SR_BSY = 1 << 16, SR_ERRORS = 0x1F2, CR_PG = 1, CR_SER = 2, CR_32_BITS = 2 << 8, CR_STRT = 1 << 16 };
enum { KEY1 = 0x45670123, FLASH_START = 0x08000000, SECTORS = 8, WAITS = 64 };
#define KEY2 0xCDEF89ABu
#define CR_LOCK (1u << 31)

// From the instruction cache the loop may run on: many times the usual bound.
static bool idle(const jlt_flash_t *flash) {
  for (uint32_t i = 0; i < WAITS; i++) {
    if (jlt_wait_for(flash->base + SR, SR_BSY, 0)) {
      return true;
    }
  }
  return false;
}

static bool unlock(const jlt_flash_t *flash) {
  if (!idle(flash)) {
    return false;
  }
  if (JLT_REG(flash->base + CR) & CR_LOCK) {
    JLT_REG(flash->base + KEYR) = KEY1;
    JLT_REG(flash->base + KEYR) = KEY2;
  }
  JLT_REG(flash->base + SR) = SR_ERRORS;
  return !(JLT_REG(flash->base + CR) & CR_LOCK);
}

// The caches know nothing of what has been written.
static bool finish(const jlt_flash_t *flash, bool ok) {
  JLT_REG(flash->base + CR) = CR_LOCK;
  const uint32_t acr = JLT_REG(flash->base + ACR);
  JLT_REG(flash->base + ACR) = acr & ~(uint32_t)(ACR_ICEN | ACR_DCEN);
  JLT_REG(flash->base + ACR) = (acr & ~(uint32_t)(ACR_ICEN | ACR_DCEN)) | ACR_ICRST | ACR_DCRST;
  JLT_REG(flash->base + ACR) = acr;
  return ok;
}

static uint32_t sector_bytes(uint32_t sector) { return sector < 4u ? 0x4000u : sector == 4u ? 0x10000u : 0x20000u; }

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  uintptr_t start = FLASH_START;
  uint32_t sector = 0;
  while (sector < SECTORS && start != page) {
    start += sector_bytes(sector++);
  }
  if (sector == SECTORS || sector_bytes(sector) != bytes || !unlock(flash)) {
    return false;
  }
  const uint32_t cr = CR_SER | CR_32_BITS | sector << 3;
  JLT_REG(flash->base + CR) = cr;
  JLT_REG(flash->base + CR) = cr | CR_STRT;
  return finish(flash, idle(flash) && !(JLT_REG(flash->base + SR) & SR_ERRORS));
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  if (to % 4u != 0 || !unlock(flash)) {
    return false;
  }
  bool ok = true;
  for (uint32_t i = 0; ok && i < bytes; i += 4u) {
    uint32_t word;
    memcpy(&word, data + i, sizeof(word));
    JLT_REG(flash->base + CR) = CR_PG | CR_32_BITS;
    JLT_REG(to + i) = word;
    ok = idle(flash) && !(JLT_REG(flash->base + SR) & SR_ERRORS);
  }
  return finish(flash, ok);
}

const jlt_flash_driver_t jlt_flash_stm32f4 = {erase, program, NULL};
