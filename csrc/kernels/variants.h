// SPDX-License-Identifier: Apache-2.0
// Kernels of one instruction set, beside the reference.
//
// Every variant is two files in kernels/<isa>/: the kernel, empty where the compiler lacks the instructions, and what it asks for
// (takes, scratch_bytes, packed_bytes), plain C that every host answers alike, so that a laptop plans for a board. It reads weights as
// runtime/plan/packings lays them out, obeys the rules of kernels.h, and equals the reference in every bit. A band group calls it with
// fewer rows than the op has (in_h, out_h, pad_top; two output pixels or more where there are weights): whether it takes an op, what it
// packs and its scratch are the same then.
#ifndef JLT_KERNELS_VARIANTS_H
#define JLT_KERNELS_VARIANTS_H

#include "kernels/kernels.h"

// The instruction set that a build is for. A microcontroller's knows its own only; a host plans for all, and chooses among
// those that its compiler has (host/isa.c). JLT_REFERENCE_KERNELS leaves all of them out, where flash is short.
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define JLT_IS_M_PROFILE 1
#if defined(JLT_REFERENCE_KERNELS)
#define JLT_ISA_BUILD JLT_ISA_REF
#elif defined(__ARM_FEATURE_MVE)
#define JLT_ISA_BUILD JLT_ISA_MVE
#define JLT_WITH_MVE 1
#elif defined(__ARM_FEATURE_DSP)
#define JLT_ISA_BUILD JLT_ISA_ARMV7EM
#define JLT_WITH_ARMV7EM 1
#else
#define JLT_ISA_BUILD JLT_ISA_ARMV6M
#define JLT_WITH_ARMV6M 1
#endif
#elif defined(__riscv) && !defined(__linux__)
#define JLT_IS_M_PROFILE 0
#if defined(JLT_REFERENCE_KERNELS)
#define JLT_ISA_BUILD JLT_ISA_REF
#else
#define JLT_ISA_BUILD JLT_ISA_ARMV6M  // of all cores without SIMD: FORMAT.md
#define JLT_WITH_ARMV6M 1
#endif
#else
#define JLT_IS_M_PROFILE 0
#define JLT_ISA_BUILD JLT_ISA_REF
#define JLT_WITH_ARMV6M 1
#define JLT_WITH_ARMV7EM 1
#define JLT_WITH_MVE 1
#define JLT_WITH_NEON 1
#define JLT_WITH_AVX2 1
#define JLT_WITH_AVX512VNNI 1
#endif

// A kernel where the compiler makes code for it, else null. Those for cores without SIMD are plain C and run anywhere.
#define JLT_RUN_armv6m(kernel) kernel
#if defined(JLT_WITH_ARMV7EM) && defined(__ARM_FEATURE_DSP) && JLT_IS_M_PROFILE
#define JLT_RUN_armv7em(kernel) kernel
#else
#define JLT_RUN_armv7em(kernel) NULL
#endif
#if defined(__ARM_FEATURE_MVE)
#define JLT_RUN_mve(kernel) kernel
#else
#define JLT_RUN_mve(kernel) NULL
#endif
#if defined(__aarch64__)
#define JLT_RUN_neon(kernel) kernel
#else
#define JLT_RUN_neon(kernel) NULL
#endif
#if defined(__x86_64__)
#define JLT_RUN_avx2(kernel) kernel
#define JLT_RUN_avx512vnni(kernel) kernel
#else
#define JLT_RUN_avx2(kernel) NULL
#define JLT_RUN_avx512vnni(kernel) NULL
#endif

typedef struct {
  jlt_kernel_t run;  // null where this build has no such instructions
  bool (*takes)(const void *params, const jlt_weight_t *weight);  // else the reference runs
  // of ops with weights, else null: there is neither scratch nor anything packed
  uint64_t (*scratch_bytes)(const void *params, const jlt_weight_t *weight);
  uint64_t (*packed_bytes)(const void *params, const jlt_weight_t *weight, uint32_t bits);  // 0: reads the canonical ones
  uint8_t isa;
  uint8_t code;
  bool shares;  // a packed copy may serve both precisions; it has the bytes of one of 8 bits
} jlt_variant_t;

#define JLT_VARIANT(isa, ISA, code, name)                                                               \
  void jlt_##name##__##isa(const jlt_call_t *call);                                                    \
  bool jlt_##name##_takes__##isa(const void *params, const jlt_weight_t *weight);                      \
  uint64_t jlt_##name##_scratch_bytes__##isa(const void *params, const jlt_weight_t *weight);          \
  uint64_t jlt_##name##_packed_bytes__##isa(const void *params, const jlt_weight_t *weight, uint32_t bits);
#define JLT_VARIANT_SHARING JLT_VARIANT
#define JLT_VARIANT_UNWEIGHTED(isa, ISA, code, name)   \
  void jlt_##name##__##isa(const jlt_call_t *call);     \
  bool jlt_##name##_takes__##isa(const void *params, const jlt_weight_t *weight);
#include "kernels/kernels.def"
#undef JLT_VARIANT
#undef JLT_VARIANT_SHARING
#undef JLT_VARIANT_UNWEIGHTED

// What every instruction set's convolutions want of an op, at least: one group, no dilation, symmetric weights, two roundings.
static inline bool jlt_is_plain_conv(const jlt_conv_params_t *p, const jlt_weight_t *weight) {
  return p->groups == 1 && p->dilation_h == 1 && p->dilation_w == 1 && weight->zero_point == 0 &&
         weight->rounding == JLT_ROUNDING_TWICE;
}

// The variant that takes an op, whether or not this build has its instructions; null for the reference. `weight` is null for ops without.
const jlt_variant_t *jlt_variant_of(uint32_t isa, uint8_t code, const void *params, const jlt_weight_t *weight);

// How an op runs in the plan in use.
typedef struct {
  jlt_kernel_t run;
  const void *packed;
  bool shared;
  uint32_t scratch_bytes;
} jlt_choice_t;

// `bits`: of the op's weights, 8 or 4; 0 without.
jlt_choice_t jlt_choose(const jlt_container_t *container, const jlt_op_t *op, uint32_t bits);

// JLT_ERR_KERNEL when an op would run, at some integer precision, a kernel that the build leaves out (selection.h).
JLT_MUST_CHECK jlt_status_t jlt_check_kernels(const jlt_container_t *container);

// Scratch of an op in the plan in use, at whatever integer precision; the reference's without one [bytes].
uint32_t jlt_chosen_scratch_bytes(const jlt_container_t *container, const jlt_op_t *op);

#endif
