// SPDX-License-Identifier: Apache-2.0
#include "host/slow_memory.h"

enum { UNICORN_MEM_WRITE = 17 };  // uc_mem_type
#define XPSR_IT 0x0600fc00u  // Armv7-M Architecture Reference Manual (DDI 0403), B1.4.2: how an IT block goes on

// Unicorn restores the core's state from before an instruction that it calls a hook of memory for, and an IT block that
// the instruction is in would begin again with the next block of code: the translation of this one has it in itself.
static void leave_it_block(const jlt_slow_memory_t *memory, void *emulator) {
  uint32_t xpsr;
  if (memory->read_register(emulator, memory->xpsr, &xpsr) == 0 && (xpsr & XPSR_IT) != 0) {
    xpsr &= ~XPSR_IT;
    (void)memory->write_register(emulator, memory->xpsr, &xpsr);
  }
}

void jlt_count_access(void *emulator, int type, uint64_t address, int size, int64_t value, void *user) {
  jlt_slow_memory_t *memory = user;
  (void)address;
  (void)size;
  (void)value;
  if (type == UNICORN_MEM_WRITE) {
    memory->writes++;
    *memory->cycles += memory->write_wait;
  } else {
    memory->reads++;
    *memory->cycles += memory->read_wait;
  }
  leave_it_block(memory, emulator);
}
