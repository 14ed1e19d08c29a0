// SPDX-License-Identifier: Apache-2.0
#include "host/fram.h"

enum { DR = 0x08, SR = 0x0C, CPSR = 0x10, SR_EMPTY = 1, SR_TX_NOT_FULL = 2, SR_RX_NOT_EMPTY = 4 };
enum { WREN = 0x06, WRDI = 0x04, RDSR = 0x05, READ = 0x03, WRITE = 0x02, RDID = 0x9F };

void jlt_fram_reset(jlt_fram_t *fram) {
  fram->divider = 2;
  fram->free_q8 = 0;
  fram->waiting = 0;
  fram->selected = fram->latch = fram->dirty = false;
  fram->count = 0;
}

void jlt_fram_select(jlt_fram_t *fram, bool on) {
  if (fram->selected && !on && fram->count > 0 && fram->sent[0] == WRITE) {
    fram->latch = false;
  }
  fram->selected = on;
  fram->dirty = false;
  fram->count = 0;
}

static uint8_t memory(jlt_fram_t *fram, uint32_t index, uint8_t byte) {
  const uint32_t start = (uint32_t)fram->sent[1] << 16 | (uint32_t)fram->sent[2] << 8 | fram->sent[3];
  const uint32_t address = (start + index - 4u) & (fram->bytes - 1u);
  if (fram->sent[0] == READ) {
    return fram->data[address];
  }
  if (fram->latch) {
    fram->dirty = true;
    fram->last = address;
    fram->before = fram->data[address];
    fram->data[address] = byte;
    if (index == 4u || address % JLT_FRAM_LINE == 0) {
      fram->writes[address / JLT_FRAM_LINE]++;
    }
  }
  return 0;
}

static uint8_t exchange(jlt_fram_t *fram, uint8_t byte) {
  static const uint8_t id[] = {0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0xC2, 0x26, 0x08};
  const uint32_t index = fram->count++;
  if (index < sizeof(fram->sent)) {
    fram->sent[index] = byte;
  }
  const uint8_t opcode = fram->sent[0];
  if (index == 0) {
    fram->latch = opcode == WREN || (fram->latch && opcode != WRDI);
    return 0;
  }
  if (opcode == RDID) {
    return index <= sizeof(id) ? id[index - 1u] : 0u;
  }
  if (opcode == RDSR) {
    return fram->latch ? 2u : 0u;
  }
  return (opcode == READ || opcode == WRITE) && index >= 4u ? memory(fram, index, byte) : 0u;
}

uint64_t jlt_fram_read(void *emulator, uint64_t offset, unsigned size, void *user) {
  jlt_fram_t *fram = user;
  (void)emulator;
  (void)size;
  if (offset != DR && offset != SR) {
    return 0;
  }
  if (fram->waiting > 0 && fram->ready_q8[fram->head] > *fram->cycles << 8) {
    *fram->cycles = (fram->ready_q8[fram->head] + 255u) >> 8;
  }
  if (offset == SR) {
    return SR_EMPTY | SR_TX_NOT_FULL | (fram->waiting > 0 ? SR_RX_NOT_EMPTY : 0);
  }
  if (fram->waiting == 0) {
    return 0;
  }
  const uint8_t byte = fram->replies[fram->head];
  fram->head = (fram->head + 1u) % JLT_FRAM_QUEUE;
  fram->waiting--;
  return byte;
}

void jlt_fram_write(void *emulator, uint64_t offset, unsigned size, uint64_t value, void *user) {
  jlt_fram_t *fram = user;
  (void)emulator;
  (void)size;
  if (offset == CPSR) {
    fram->divider = (value & 0xFEu) > 2u ? (uint32_t)(value & 0xFEu) : 2u;
  }
  if (offset != DR || fram->waiting == JLT_FRAM_QUEUE) {  // a full queue loses what comes, as the part does
    return;
  }
  const uint64_t now = *fram->cycles << 8;
  fram->free_q8 = (fram->free_q8 > now ? fram->free_q8 : now) + 8u * (uint64_t)fram->bus_q8 * fram->divider;
  const uint32_t at = (fram->head + fram->waiting++) % JLT_FRAM_QUEUE;
  fram->ready_q8[at] = fram->free_q8;
  fram->replies[at] = fram->selected ? exchange(fram, (uint8_t)value) : 0xFFu;
}
