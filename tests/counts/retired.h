// SPDX-License-Identifier: Apache-2.0
// How many instructions this core has run, where a program may ask: on x86 the time-stamp counter, which Bochs advances by one
// for each. Elsewhere 0; there an emulator's plugin counts.
#ifndef RETIRED_H
#define RETIRED_H

#include <stdint.h>

static inline uint64_t retired(void) {
#if defined(__x86_64__)
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return low | (uint64_t)high << 32;
#else
  return 0;
#endif
}

#endif
