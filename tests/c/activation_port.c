// SPDX-License-Identifier: Apache-2.0
// A board on the host, for tests of firmware/activation.c: flash and FRAM are arrays, and power fails after so many
// units (8 bytes programmed or written, or a piece of an erase).
#include <string.h>

#include "activation.h"
#include "journal.h"
#include "signature.h"

enum { PAGE_BYTES = 4096, MOST_PAGES = 4, FRAM_BYTES = 1024, SLOT_BYTES = 4096 };

_Alignas(64) uint8_t test_ring[MOST_PAGES * PAGE_BYTES];
_Alignas(64) uint8_t test_slots[4][SLOT_BYTES];
uint8_t test_fram[FRAM_BYTES];
int32_t test_budget;    // units until power fails
uint32_t test_twice;    // granules programmed without an erase
uint32_t test_signed;
uint32_t test_fails;    // write operations that report failure, counted down

jlt_port_t test_port;
const jlt_port_t *test_board(void) { return &test_port; }

static bool spend(void) { return test_budget > 0 && test_budget-- > 0; }

static bool fails(void) { return test_fails > 0 && test_fails-- > 0; }

static bool erase(const jlt_flash_t *flash, uintptr_t page, uint32_t bytes) {
  (void)flash;
  for (uint32_t at = 0; at < bytes; at += bytes / 8u) {
    if (!spend()) {
      return false;
    }
    memset((uint8_t *)page + at, 0xFF, bytes / 8u);
  }
  return true;
}

static bool program(const jlt_flash_t *flash, uintptr_t to, const uint8_t *data, uint32_t bytes) {
  (void)flash;
  if (fails()) {
    return false;
  }
  for (uint32_t at = 0; at < bytes; at += 8u) {
    uint8_t *granule = (uint8_t *)to + at;
    const uint32_t done = spend() ? 8u : 3u;
    for (uint32_t i = 0; i < 8u; i++) {
      test_twice += granule[i] != 0xFF && i == 0;
    }
    memcpy(granule, data + at, done);
    if (done < 8u) {
      return false;
    }
  }
  return true;
}

static bool read_nvm(const jlt_nvm_t *nvm, uint32_t from, void *to, uint32_t bytes) {
  (void)nvm;
  memcpy(to, test_fram + from, bytes);
  return true;
}

static bool write_nvm(const jlt_nvm_t *nvm, uint32_t to, const void *from, uint32_t bytes) {
  (void)nvm;
  for (uint32_t at = 0; at < bytes; at++) {
    if (!spend()) {
      return false;
    }
    test_fram[to + at] = ((const uint8_t *)from)[at];
  }
  return !fails();
}

static bool erase_nvm(const jlt_nvm_t *nvm) {
  (void)nvm;
  return false;
}

static const jlt_flash_driver_t flash_driver = {erase, program, NULL};
static const jlt_nvm_driver_t fram_driver = {NULL, read_nvm, write_nvm, NULL};
static const jlt_nvm_driver_t flash_nvm_driver = {NULL, read_nvm, write_nvm, erase_nvm};

void test_set_up(uint32_t pages, uint8_t build) {
  memset(&test_port, 0, sizeof(test_port));
  memset(test_port.build_id, build, sizeof(test_port.build_id));
  test_port.flash = (jlt_flash_t){&flash_driver, 0, 8};
  test_port.nvm.driver = pages > 0 ? &flash_nvm_driver : &fram_driver;
  test_port.activation = (jlt_region_t){(uintptr_t)test_ring, pages * PAGE_BYTES, PAGE_BYTES};
  test_port.model = (jlt_region_t){(uintptr_t)test_slots[0], SLOT_BYTES, PAGE_BYTES};
  test_port.model_b = (jlt_region_t){(uintptr_t)test_slots[1], SLOT_BYTES, PAGE_BYTES};
  test_port.policy = (jlt_region_t){(uintptr_t)test_slots[2], SLOT_BYTES, PAGE_BYTES};
  test_port.policy_b = (jlt_region_t){(uintptr_t)test_slots[3], SLOT_BYTES, PAGE_BYTES};
  jlt_activation_open();
}

uint32_t jlt_journal_bytes(void) { return FRAM_BYTES; }
bool jlt_signed_only(void) { return test_signed != 0; }
