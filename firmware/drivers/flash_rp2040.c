// SPDX-License-Identifier: Apache-2.0
// Flash beside the RP2040, written by functions in its ROM (datasheet 2.8.3.1.3): sectors of 4 KiB, pages of 256 bytes.
// Nothing can be fetched from it meanwhile, so this runs in RAM with interrupts held off; an erase takes 45 ms and
// more, and what the line brings then beyond 32 bytes is lost: the link sends it again. [unverified on silicon]
#include <string.h>

#include "drivers.h"
#include "rp2040_flash.h"

enum { XIP_BASE = 0x10000000, SECTOR_BYTES = 4096, PAGE_BYTES = 256, BLOCK_BYTES = 65536, BLOCK_ERASE = 0xD8 };
enum { ROM_TABLE = 0x14 };
enum { ROM_LOOK_UP = 0x18 };  // half-words: addresses of the table of functions and of what searches it

typedef struct {
  void (*connect)(void);
  void (*exit_xip)(void);
  void (*erase)(uint32_t from, uint32_t bytes, uint32_t block_bytes, uint8_t block_command);
  void (*program)(uint32_t to, const uint8_t *data, uint32_t bytes);
  void (*flush)(void);
} rom_t;

typedef void (*function_t)(void);

// The compiler takes an address near 0 for a null pointer with an offset.
static uintptr_t rom_word(uintptr_t address) {
  __asm volatile("" : "+r"(address));
  return *(volatile uint16_t *)address;
}

static function_t find(char a, char b) {
  typedef void *(*look_up_t)(uint16_t *table, uint32_t code);
  const look_up_t look_up = (look_up_t)rom_word(ROM_LOOK_UP);
  return (function_t)look_up((uint16_t *)rom_word(ROM_TABLE), (uint32_t)b << 8 | (uint32_t)a);
}

static bool find_all(rom_t *rom) {
  rom->connect = find('I', 'F');
  rom->exit_xip = find('E', 'X');
  rom->erase = (void (*)(uint32_t, uint32_t, uint32_t, uint8_t))find('R', 'E');
  rom->program = (void (*)(uint32_t, const uint8_t *, uint32_t))find('R', 'P');
  rom->flush = find('F', 'C');
  return rom->connect && rom->exit_xip && rom->erase && rom->program && rom->flush;
}

// Erases where there is no data. Nothing in here may lie in flash.
__attribute__((section(".ramcode"), noinline))
static void write_from_ram(const rom_t *rom, uint32_t offset, const uint8_t *data) {
  rom->connect();
  rom->exit_xip();
  if (data) {
    rom->program(offset, data, PAGE_BYTES);
  } else {
    rom->erase(offset, SECTOR_BYTES, BLOCK_BYTES, BLOCK_ERASE);
  }
  rom->flush();
  JLT_REG(JLT_SSI_BASE + JLT_SSI_SSIENR) = 0;
  JLT_REG(JLT_SSI_BASE + JLT_SSI_BAUDR) = JLT_SSI_DIVIDER;
  JLT_REG(JLT_SSI_BASE + JLT_SSI_CTRLR0) = JLT_SSI_FRAME;
  JLT_REG(JLT_SSI_BASE + JLT_SSI_SPI_CTRLR0) = JLT_SSI_READ;
  JLT_REG(JLT_SSI_BASE + JLT_SSI_CTRLR1) = 0;
  JLT_REG(JLT_SSI_BASE + JLT_SSI_SSIENR) = 1;
}

static void write_alone(const rom_t *rom, uint32_t offset, const uint8_t *data) {
  uint32_t masked;
  __asm volatile("mrs %0, primask\n cpsid i" : "=r"(masked)::"memory");
  write_from_ram(rom, offset, data);
  __asm volatile("msr primask, %0" ::"r"(masked) : "memory");
}

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  rom_t rom;
  (void)flash;
  if (bytes != SECTOR_BYTES || page % SECTOR_BYTES != 0 || !find_all(&rom)) {
    return false;
  }
  write_alone(&rom, (uint32_t)page - XIP_BASE, NULL);
  const volatile uint32_t *words = (const volatile uint32_t *)page;
  for (uint32_t i = 0; i < SECTOR_BYTES / 4u; i++) {
    if (words[i] != UINT32_MAX) {
      return false;
    }
  }
  return true;
}

// A bit that stays 1 is left as it is, so a page may be written piece by piece.
static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  rom_t rom;
  uint8_t page[PAGE_BYTES];
  (void)flash;
  if (!find_all(&rom)) {
    return false;
  }
  const uintptr_t end = to + bytes;
  for (uintptr_t at = to; at < end;) {
    const uint32_t skipped = (uint32_t)at % PAGE_BYTES;
    const uint32_t room = PAGE_BYTES - skipped;
    const uint32_t count = end - at < room ? (uint32_t)(end - at) : room;
    memset(page, 0xFF, sizeof(page));
    memcpy(page + skipped, data + (at - to), count);
    write_alone(&rom, (uint32_t)at - skipped - XIP_BASE, page);
    if (memcmp((const void *)at, page + skipped, count) != 0) {
      return false;
    }
    at += count;
  }
  return true;
}

const jlt_flash_driver_t jlt_flash_rp2040 = {erase, program, NULL};
