// SPDX-License-Identifier: Apache-2.0
// Flash of the STM32L4+ (RM0432, 3.3 and 3.7) as two banks: pages of 4 KiB, eight bytes at once with their ECC. Code in
// one bank runs on while the other is written.
#include <string.h>

#include "drivers.h"

enum { ACR = 0x00, KEYR = 0x08, SR = 0x10, CR = 0x14, ECCR = 0x18, OPTR = 0x20 };
enum { ACR_ICEN = 1 << 9, ACR_DCEN = 1 << 10, ACR_ICRST = 1 << 11, ACR_DCRST = 1 << 12, OPTR_DBANK = 1 << 22 };
enum { SR_BSY = 1 << 16, SR_ERRORS = 0xC3FA, CR_PG = 1, CR_PER = 2, CR_BKER = 1 << 11, CR_STRT = 1 << 16 };
enum { KEY1 = 0x45670123, FLASH_START = 0x08000000, BANK_BYTES = 0x100000, PAGE_BYTES = 4096, WAITS = 8 };
#define KEY2 0xCDEF89ABu
#define CR_LOCK (1u << 31)
#define ECCR_TORN (1u << 31 | 1u << 29)  // ECCD and ECCD2: two bits or more are wrong; cleared by writing them

// An erase takes 25 ms at most: several times the usual bound.
static bool idle(const jlt_flash_t *flash) {
  for (uint32_t i = 0; i < WAITS; i++) {
    if (jlt_wait_for(flash->base + SR, SR_BSY, 0)) {
      return true;
    }
  }
  return false;
}

static bool unlock(const jlt_flash_t *flash) {
  if (!(JLT_REG(flash->base + OPTR) & OPTR_DBANK) || !idle(flash)) {
    return false;  // as one bank its pages are twice as large
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

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  if (bytes != PAGE_BYTES || page % PAGE_BYTES != 0 || !unlock(flash)) {
    return false;
  }
  const uint32_t offset = (uint32_t)page - FLASH_START;
  const uint32_t number = offset % BANK_BYTES / PAGE_BYTES;
  const uint32_t cr = CR_PER | number << 3 | (offset >= BANK_BYTES ? CR_BKER : 0);
  JLT_REG(flash->base + CR) = cr;
  JLT_REG(flash->base + CR) = cr | CR_STRT;
  return finish(flash, idle(flash) && !(JLT_REG(flash->base + SR) & SR_ERRORS));
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  if (to % 8u != 0 || !unlock(flash)) {
    return false;
  }
  bool ok = true;
  for (uint32_t i = 0; ok && i < bytes; i += 8u) {
    uint32_t words[2];
    memcpy(words, data + i, sizeof(words));
    JLT_REG(flash->base + CR) = CR_PG;
    JLT_REG(to + i) = words[0];
    __asm volatile("isb" ::: "memory");
    JLT_REG(to + i + 4u) = words[1];
    ok = idle(flash) && !(JLT_REG(flash->base + SR) & SR_ERRORS);
  }
  return finish(flash, ok);
}

static volatile bool seen;  // something torn, since the last question

// Reading eight bytes that a power cut has torn ends here. Nothing read from slots is believed without its sum, so the
// program goes on; who reads asks whether it was torn.
void jlt_nmi(void) {
  const uint32_t flags = JLT_REG(jlt_board.flash.base + ECCR) & ECCR_TORN;
  if (flags == 0) {
    jlt_restart();
  }
  JLT_REG(jlt_board.flash.base + ECCR) = flags;
  seen = true;
}

static bool torn(const jlt_flash_t *flash) {
  (void)flash;
  __asm volatile("dsb" ::: "memory");  // after all that has been read
  const bool answer = seen;
  seen = false;
  return answer;
}

const jlt_flash_driver_t jlt_flash_stm32l4 = {erase, program, torn};
