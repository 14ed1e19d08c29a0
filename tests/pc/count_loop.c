// SPDX-License-Identifier: Apache-2.0
// Prints by what the time-stamp counter goes on in 2,000,001 instructions, twice.
#include <inttypes.h>
#include <stdio.h>

#include "../counts/retired.h"

int main(void) {
  for (int i = 0; i < 2; i++) {
    const uint64_t before = retired();
    __asm__ volatile("mov $1000000, %%ecx\n1: dec %%ecx\n jnz 1b" : : : "ecx", "cc");
    printf("%" PRIu64 "\n", retired() - before);
  }
  return 0;
}
