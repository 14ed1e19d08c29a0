// SPDX-License-Identifier: Apache-2.0
// What the engine hands a kernel, and the kernels there are.
//
// A kernel runs the units [begin, end) of one op of a checked container. It writes their bytes of `out`, and `scratch`,
// which keeps nothing from tile to tile; parameters, weights and tensors have been checked against each other
// (core/check_ops.c), so it checks nothing. Scratch is 16-byte aligned and as large as the op's scratch function says.
// A unit is a run of elements of the output, as long as the op's unit function says; only the last one may be shorter.
// The output may lie over an input (core/overlap.h), so the order of reading and writing is part of the contract, for integers:
// blocks of at most 8 output pixels, or of any number of elements where an op works element by element, in ascending order;
// all that a block needs of the inputs is read before any of it is written. Depthwise, grouped and pooling kernels may go
// channel by channel within a block. FC, a convolution of one pixel and what is not in overlap.c may read and write as they like.
// s8 tensors have any alignment.
// At f32 the whole op is one unit, and every s8 tensor in the arena is float; constant s8 operands stay s8 and are
// dequantised as they are read.
#ifndef JLT_KERNELS_H
#define JLT_KERNELS_H

#include "joulet.h"

// A build may leave the float kernels out; paths at f32 are then refused at their start.
#ifndef JLT_WITH_F32
#define JLT_WITH_F32 1
#endif

#if defined(__GNUC__)
#define JLT_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define JLT_ALWAYS_INLINE inline
#endif

// Sizes of units: as small as the inner loops do well, so that little is lost with a unit that a power cut undoes.
enum {
  JLT_UNIT_PIXELS = 4,     // of convolutions, pools and resizes
  JLT_UNIT_CHANNELS = 16,  // of a matrix times one vector and of other sums that are long for each element
  JLT_UNIT_ELEMENTS = 64,  // of what goes element by element
};

// A part: from `begin` up to, not including, `end`.
typedef struct {
  uint32_t begin;
  uint32_t end;
} jlt_span_t;

typedef struct {
  const jlt_weight_t *record;
  const int8_t *s8;       // plain storage, else null
  const uint8_t *high;    // nested storage, else null
  const uint8_t *low;     // null at 4 bits
  const int32_t *bias;    // one a channel
  const int32_t *multipliers;
  const int32_t *shifts;
  const void *packed;     // as the kernel of an instruction set wants them; null for the reference
  bool shared;            // the packed copy is that of both precisions
  const float *f32;       // at f32: weights
  const float *f32_bias;  // at f32: one a channel
} jlt_weights_t;

typedef struct {
  const void *params;
  const void *in[2];
  const jlt_tensor_t *in_tensor[2];
  void *out;
  const jlt_tensor_t *out_tensor;
  jlt_weights_t weights;
  void *scratch;
  uint32_t begin;  // [units]
  uint32_t end;    // [units], more than begin
} jlt_call_t;

typedef void (*jlt_kernel_t)(const jlt_call_t *call);

typedef struct {
  jlt_kernel_t integer;  // null when left out
#if JLT_WITH_F32
  jlt_kernel_t f32;
#endif
  uint64_t (*scratch_bytes)(const void *params, bool is_f32);
  uint32_t (*unit_elements)(const void *params, const jlt_tensor_t *out);
} jlt_kernel_entry_t;

#define JLT_KERNEL(code, integer, f32, scratch, unit)                      \
  void jlt_##integer##__ref(const jlt_call_t *call);                       \
  void jlt_##f32##__ref(const jlt_call_t *call);                           \
  uint64_t jlt_##scratch##_scratch_bytes(const void *params, bool is_f32); \
  uint32_t jlt_##unit##_unit_elements(const void *params, const jlt_tensor_t *out);
#include "kernels/kernels.def"
#undef JLT_KERNEL

// Null for a code that is not an OpCode, or that the build does not know (selection.h).
const jlt_kernel_entry_t *jlt_kernel_entry(uint8_t code);

// Elements of the output in one unit of an op.
uint32_t jlt_op_unit_elements(const jlt_container_t *container, const jlt_op_t *op, bool is_f32);

// The tile of a call in steps of which a unit has `each` and the op `total`. Products stay below 2^31: an output has at
// most 2^28 elements, and a unit at most four times as many.
static inline jlt_span_t jlt_tile(const jlt_call_t *call, uint32_t each, uint32_t total) {
  const uint32_t end = call->end * each;
  return (jlt_span_t){.begin = call->begin * each, .end = end < total ? end : total};
}

// The part of a window's row that lies in the input's: `before` columns of it lie to the left, or to the right where `count` is 0; then
// come `count` columns, from column `from` of the input on.
typedef struct {
  uint32_t before;
  uint32_t count;
  uint32_t from;
} jlt_inside_t;

// Columns [x0, x0 + columns) of an input of `in_w`; x0 may be negative. Nothing inside begins at column 0, so that no pointer is made
// that leaves the input.
static inline jlt_inside_t jlt_inside(int32_t x0, uint32_t columns, uint32_t in_w) {
  const int32_t begin = x0 > 0 ? x0 : 0;
  const int32_t stop = x0 + (int32_t)columns;
  const int32_t end = stop < (int32_t)in_w ? stop : (int32_t)in_w;
  if (end <= begin) {
    return (jlt_inside_t){.before = columns};
  }
  return (jlt_inside_t){.before = (uint32_t)(begin - x0), .count = (uint32_t)(end - begin), .from = (uint32_t)begin};
}

// Row `row` of the weights as q − zero_point, widened; nested rows are read at the precision of `weights`.
void jlt_unpack_row(const jlt_weights_t *weights, uint32_t row, int16_t *out);

// Element `index` of operand `operand` at f32, dequantised when the operand is a constant s8 tensor.
float jlt_operand_f32(const jlt_call_t *call, uint32_t operand, uint64_t index);

#endif
