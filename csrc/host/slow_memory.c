// SPDX-License-Identifier: Apache-2.0
#include "host/slow_memory.h"

enum { UNICORN_MEM_WRITE = 17 };  // uc_mem_type

void jlt_count_access(void *emulator, int type, uint64_t address, int size, int64_t value, void *user) {
  jlt_slow_memory_t *memory = user;
  (void)emulator;
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
}
