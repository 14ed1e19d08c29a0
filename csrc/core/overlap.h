// SPDX-License-Identifier: Apache-2.0
// Where the output of an op may lie over an input that nothing needs any more; FORMAT.md §6.
//
// A kernel reads all that a block of pixels needs before it writes the block, and blocks ascend (kernels/kernels.h). So what the
// output's pixels up to one may take is what no later pixel reads: the output begins a distance below the input. The least one
// is found here for any window, in time linear in the output's rows and columns.
#ifndef JLT_CORE_OVERLAP_H
#define JLT_CORE_OVERLAP_H

#include "joulet.h"

#define JLT_OVERLAP_NEVER INT32_MAX
#define JLT_OVERLAP_ANYWHERE INT32_MIN

// The output may begin `distance` bytes or more below the input, or `by_pixel` or more where that is a multiple of
// `pixel_bytes`: kernels that go channel by channel then find each one's input where they have read it. Negative: above.
typedef struct {
  int32_t distance;
  int32_t by_pixel;
  uint32_t pixel_bytes;
} jlt_overlap_t;

// Of an op and one of its inputs, both checked.
jlt_overlap_t jlt_overlap_of(const jlt_container_t *container, const jlt_op_t *op, uint32_t input);

// Whether an op may write its output over `tensor` where the arena has them, given that the op is the last to use it. Generic
// plans, which the f32 kernels run in too, allow what works element by element in the very same place.
bool jlt_may_write_over(const jlt_container_t *container, const jlt_op_t *op, uint32_t tensor);

#endif
