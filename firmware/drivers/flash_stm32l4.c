// SPDX-License-Identifier: Apache-2.0
// Flash of the STM32L4+ (RM0432, 3.3 and 3.7) as two banks: pages of 4 KiB, eight bytes at once with their ECC. Code in
// one bank runs on while the other is written.
#include <string.h>

#include "stm32_flash.h"

enum { SR = 0x10, CR = 0x14, ECCR = 0x18, OPTR = 0x20, OPTR_DBANK = 1 << 22 };
enum { CR_PG = 1, CR_PER = 2, CR_BKER = 1 << 11, CR_STRT = 1 << 16, BANK_BYTES = 0x100000, PAGE_BYTES = 4096 };
// an erase takes 25 ms at most: several times the usual bound
static const jlt_stm32_flash_t at = {.keyr = 0x08, .sr = SR, .cr = CR, .errors = 0xC3FA, .waits = 8};
#define ECCR_TORN (1u << 31 | 1u << 29)  // ECCD and ECCD2: two bits or more are wrong; cleared by writing them

static bool unlock(const jlt_flash_t *flash) {
  // as one bank its pages are twice as large
  return (JLT_REG(flash->base + OPTR) & OPTR_DBANK) && jlt_stm32_flash_unlock(flash->base, at);
}

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  if (bytes != PAGE_BYTES || page % PAGE_BYTES != 0 || !unlock(flash)) {
    return false;
  }
  const uint32_t offset = (uint32_t)page - JLT_STM32_FLASH_START;
  const uint32_t number = offset % BANK_BYTES / PAGE_BYTES;
  const uint32_t cr = CR_PER | number << 3 | (offset >= BANK_BYTES ? CR_BKER : 0);
  JLT_REG(flash->base + CR) = cr;
  JLT_REG(flash->base + CR) = cr | CR_STRT;
  return jlt_stm32_flash_finish(flash->base, at, jlt_stm32_flash_done(flash->base, at));
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
    ok = jlt_stm32_flash_done(flash->base, at);
  }
  return jlt_stm32_flash_finish(flash->base, at, ok);
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
