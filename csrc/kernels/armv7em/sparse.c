// SPDX-License-Identifier: Apache-2.0
// Which convolutions the kernel for absent blocks takes, and whether a sparse copy (sparse.h) is sound; plain C.
#include "kernels/armv7em/sparse.h"

#include "kernels/sparse.h"

#if JLT_SPARSE && defined(JLT_WITH_ARMV7EM)

// Groups must not reach over the end of a kernel row, nor channels be odd.
bool jlt_conv_sparse_s8_takes__armv7em(const void *params, const jlt_weight_t *weight) {
  const jlt_conv_params_t *p = params;
  return jlt_conv_s8_takes__armv7em(params, weight) && !jlt_v7_one_vector(p) && p->in_c % 4u == 0 && p->out_c % 2u == 0;
}

// Words of one turn's two channels; 0 where they end outside, or their groups leave the patch.
static uint32_t pair_words(const uint32_t *from, uint32_t words, uint32_t groups) {
  uint32_t met = 0;  // groups of the patch, up to the last that is there
  uint32_t turn = from[0] & 3u;
  uint32_t at = 1;
  do {
    if (words - at < JLT_V7_SPARSE_TURN_WORDS + 1u) {
      return 0;
    }
    for (; turn < JLT_V7_SPARSE_TURN; turn++) {
      met += (from[at] >> 8u * turn & 255u) + 1u;
      if (met > groups) {
        return 0;
      }
    }
    turn = 0;
    at += JLT_V7_SPARSE_TURN_WORDS;
  } while (from[at] != JLT_V7_SPARSE_END);
  at += 1u + JLT_V7_SPARSE_SCALE_WORDS;
  return at <= words ? at : 0;
}

bool jlt_conv_sparse_s8_sound__armv7em(const void *params, const void *copy, uint32_t bytes) {
  const jlt_conv_params_t *p = params;
  const uint32_t groups = jlt_v7_patch(p).groups;
  const uint32_t *from = copy;
  uint32_t words = bytes / 4u;
  for (uint32_t o = 0; o < p->out_c; o += 2) {
    const uint32_t taken = words > 0 ? pair_words(from, words, groups) : 0;
    if (taken == 0) {
      return false;
    }
    from += taken;
    words -= taken;
  }
  return true;
}
#endif
