// SPDX-License-Identifier: Apache-2.0
// SPI FRAM of the FM25V and CY15B families (Infineon 001-84497, 001-87882): no erase, no waiting, writes as it is clocked.
#include "drivers.h"

enum { WREN = 0x06, WRITE = 0x02, READ = 0x03, RDID = 0x9F, MANUFACTURER = 0xC2 };

static bool command(const jlt_spi_t *spi, const uint8_t *head, uint32_t head_bytes, const uint8_t *out, uint8_t *in,
                    uint32_t bytes) {
  spi->driver->select(spi, true);
  const bool ok = spi->driver->exchange(spi, head, NULL, head_bytes) && spi->driver->exchange(spi, out, in, bytes);
  spi->driver->select(spi, false);
  return ok;
}

// The maker's code in bank 7: six times 7F, then C2; then the part.
static uint32_t open_nvm(const jlt_nvm_t *nvm) {
  static const uint8_t head = RDID;
  uint8_t id[9];
  if (!nvm->spi->driver->open(nvm->spi) || !command(nvm->spi, &head, 1, NULL, id, sizeof(id)) || id[6] != MANUFACTURER) {
    return 0;
  }
  const uint32_t part = (uint32_t)id[7] << 8 | id[8];
  return nvm->device_id == 0 || part == nvm->device_id ? nvm->bytes : 0;
}

// Parts up to 64 KiB take two bytes of address, larger ones three.
static uint32_t head_of(const jlt_nvm_t *nvm, uint8_t opcode, uint32_t address, uint8_t head[4]) {
  uint32_t at = 0;
  head[at++] = opcode;
  if (nvm->bytes > 65536u) {
    head[at++] = (uint8_t)(address >> 16);
  }
  head[at++] = (uint8_t)(address >> 8);
  head[at++] = (uint8_t)address;
  return at;
}

static bool in_range(const jlt_nvm_t *nvm, uint32_t address, uint32_t bytes) {
  return address <= nvm->bytes && bytes <= nvm->bytes - address;
}

static bool read(const jlt_nvm_t *nvm, uint32_t from, void *to, uint32_t bytes) {
  uint8_t head[4];
  return in_range(nvm, from, bytes) && command(nvm->spi, head, head_of(nvm, READ, from, head), NULL, to, bytes);
}

static bool write(const jlt_nvm_t *nvm, uint32_t to, const void *from, uint32_t bytes) {
  static const uint8_t enable = WREN;
  uint8_t head[4];
  return in_range(nvm, to, bytes) && command(nvm->spi, &enable, 1, NULL, NULL, 0) &&
         command(nvm->spi, head, head_of(nvm, WRITE, to, head), from, NULL, bytes);
}

const jlt_nvm_driver_t jlt_nvm_fram = {open_nvm, read, write, NULL};
