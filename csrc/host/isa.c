// SPDX-License-Identifier: Apache-2.0
#include "host/isa.h"

#include "core/format.h"

bool jlt_host_runs(uint32_t isa) {
  switch (isa) {
    case JLT_ISA_REF:
    case JLT_ISA_ARMV6M:  // plain C
      return true;
#if defined(__x86_64__) && defined(__GNUC__)
    case JLT_ISA_AVX2:
      return __builtin_cpu_supports("avx2");
    case JLT_ISA_AVX512VNNI:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni");
#endif
#if defined(__aarch64__)
    case JLT_ISA_NEON:
      return true;
#endif
    default:
      return false;
  }
}

uint32_t jlt_host_best_isa(void) {
  static const uint32_t by_worth[] = {JLT_ISA_AVX512VNNI, JLT_ISA_AVX2, JLT_ISA_NEON};
  for (uint32_t i = 0; i < sizeof(by_worth) / sizeof(by_worth[0]); i++) {
    if (jlt_host_runs(by_worth[i])) {
      return by_worth[i];
    }
  }
  return JLT_ISA_REF;
}
