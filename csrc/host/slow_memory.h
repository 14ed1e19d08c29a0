// SPDX-License-Identifier: Apache-2.0
// Counting how often an emulated core reads and writes a memory that lets it wait. Host only.
#ifndef JLT_HOST_SLOW_MEMORY_H
#define JLT_HOST_SLOW_MEMORY_H

#include <stdint.h>

typedef struct {
  uint64_t reads;  // instructions' accesses, of whatever width; a load of several registers has one each
  uint64_t writes;
  uint64_t *cycles;  // of the core, which its waits are added to
  uint32_t read_wait;  // cycles of one
  uint32_t write_wait;
  int xpsr;  // the emulator's number of that register, and its functions for registers
  int (*read_register)(void *emulator, int number, void *value);
  int (*write_register)(void *emulator, int number, const void *value);
} jlt_slow_memory_t;

// A callback for the emulator's hooks of reading and writing within the memory; `user` is the jlt_slow_memory_t.
void jlt_count_access(void *emulator, int type, uint64_t address, int size, int64_t value, void *user);

#endif
