// SPDX-License-Identifier: Apache-2.0
// Which instruction set this machine's core runs best, of those with kernels in this build.
#ifndef JLT_HOST_ISA_H
#define JLT_HOST_ISA_H

#include <stdbool.h>
#include <stdint.h>

// An Isa; JLT_ISA_REF when there are kernels for none.
uint32_t jlt_host_best_isa(void);

// Whether kernels for it run here.
bool jlt_host_runs(uint32_t isa);

#endif
