// SPDX-License-Identifier: Apache-2.0
// The most multiply-accumulates that an instruction set's int8 products allow, by doing nothing else. Host only.
#ifndef JLT_HOST_PEAK_H
#define JLT_HOST_PEAK_H

#include <stdint.h>

// Runs `rounds` of independent products in registers and returns how many multiply-accumulates that was; 0 where this build has
// no such instructions. The caller takes the time, and asks jlt_host_runs first.
uint64_t jlt_host_peak(uint32_t isa, uint32_t rounds);

#endif
