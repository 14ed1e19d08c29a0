// SPDX-License-Identifier: Apache-2.0
// Kernels that skip absent blocks of weights; FORMAT.md, SPARSE.
//
// A sparse copy stands for the weights of one op at 8 bits: blocks of several elements and channels, which are the kernel's own, are
// absent where all of their weights are 0, and the copy tells where those that are there meet the patch. That is an index from
// outside, so `sound` walks it once, when the plan is checked, and the kernel follows it blindly. As in variants.h, takes, scratch_bytes
// and sound are plain C with the same answer on every machine; calls are those of variants.h, and the scratch is the dense kernel's.
#ifndef JLT_KERNELS_SPARSE_H
#define JLT_KERNELS_SPARSE_H

#include "kernels/selection.h"
#include "kernels/variants.h"

typedef struct {
  jlt_kernel_t run;  // null where this build has no such instructions
  bool (*takes)(const void *params, const jlt_weight_t *weight);
  uint64_t (*scratch_bytes)(const void *params, const jlt_weight_t *weight);
  // Whether a copy, a multiple of 4 from an aligned base, ends within `bytes` and never leaves the patch.
  bool (*sound)(const void *params, const void *copy, uint32_t bytes);
  uint8_t isa;
  uint8_t code;
} jlt_sparse_variant_t;

#define JLT_SPARSE_VARIANT(isa, ISA, code, name, like)                             \
  void jlt_##name##__##isa(const jlt_call_t *call);                               \
  bool jlt_##name##_takes__##isa(const void *params, const jlt_weight_t *weight); \
  bool jlt_##name##_sound__##isa(const void *params, const void *copy, uint32_t bytes);
#include "kernels/kernels.def"
#undef JLT_SPARSE_VARIANT

// Whether an instruction set has a kernel for a sparse copy of an op's weights, be it in this build or not.
bool jlt_takes_sparse(uint32_t isa, uint8_t code, const void *params, const jlt_weight_t *weight);

// How an op runs at 8 bits, where the plan in use has a sparse copy of its weights and this build a kernel.
bool jlt_choose_sparse(const jlt_container_t *container, const jlt_op_t *op, jlt_choice_t *choice);

// JLT_ERR_SPARSE for a copy that no kernel takes or that is not sound.
JLT_MUST_CHECK jlt_status_t jlt_check_sparse(const jlt_container_t *container);

// Whether the pairs of channels of a copy, one after another, lie in its bytes and their blocks in a patch of `most` places.
// `pair_bytes`: of the pair that begins there, 0 where it does not.
static inline bool jlt_sparse_pairs_sound(const uint8_t *from, uint32_t bytes, uint32_t pairs, uint32_t most,
                                          uint32_t (*pair_bytes)(const uint8_t *from, uint32_t bytes, uint32_t most)) {
  for (; pairs > 0; pairs--) {
    const uint32_t taken = pair_bytes(from, bytes, most);
    if (taken == 0) {
      return false;
    }
    from += taken;
    bytes -= taken;
  }
  return true;
}

#endif
