// SPDX-License-Identifier: Apache-2.0
// SPI FRAM (CY15B104Q and its kind, Infineon 001-87882) behind a PL022, for an emulated core. Host only.
//
// A power cut may come at every byte, so every byte is clocked; in C, since a restart reads tens of thousands of them.
#ifndef JLT_HOST_FRAM_H
#define JLT_HOST_FRAM_H

#include <stdbool.h>
#include <stdint.h>

enum { JLT_FRAM_QUEUE = 8, JLT_FRAM_LINE = 64 };

typedef struct {
  uint8_t *data;
  uint32_t bytes;       // a power of two
  uint32_t *writes;     // to each line of 64 bytes
  uint64_t *cycles;     // of the core: a byte that is asked for early makes it wait
  uint32_t bus_q8;      // cycles of the core to one of the bus before its divider, q8
  uint32_t divider;
  uint64_t free_q8;     // when the bus is free again
  uint64_t ready_q8[JLT_FRAM_QUEUE];
  uint8_t replies[JLT_FRAM_QUEUE];
  uint32_t head;
  uint32_t waiting;     // replies
  uint32_t count;       // bytes of the command so far
  uint8_t sent[4];
  bool selected;
  bool latch;           // writing is enabled
  bool dirty;           // the command has written
  uint8_t before;       // what the last byte written replaced
  uint32_t last;        // its address
} jlt_fram_t;

// Loses what is volatile.
void jlt_fram_reset(jlt_fram_t *fram);
void jlt_fram_select(jlt_fram_t *fram, bool on);

// Callbacks for the emulator's registers; `user` is the memory.
uint64_t jlt_fram_read(void *emulator, uint64_t offset, unsigned size, void *user);
void jlt_fram_write(void *emulator, uint64_t offset, unsigned size, uint64_t value, void *user);

#endif
