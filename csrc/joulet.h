// SPDX-License-Identifier: Apache-2.0
// Public interface of the engine: check a container once, then step through it.
//
// Nothing here allocates, prints, calls back or keeps state of its own: the caller owns every byte. A function that
// can fail returns 0 or a negative jlt_status_t; results go out through pointers. The formats are in FORMAT.md.
#ifndef JOULET_H
#define JOULET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/format.h"

#if defined(__GNUC__)
#define JLT_MUST_CHECK __attribute__((warn_unused_result))
#define JLT_NO_INLINE __attribute__((noinline))  // what it takes of the stack is given back before its caller goes on
#else
#define JLT_MUST_CHECK
#define JLT_NO_INLINE
#endif

// Whether an exit's head can be fitted again on the device (core/refit.h); firmware has it where it was asked for.
#ifndef JLT_WITH_REFIT
#define JLT_WITH_REFIT 0
#endif

// Whether an arena may lie in two memories (MEMORIES, FORMAT.md §6); firmware can on boards that have two. Builds that cannot have all
// of it in one, which is as right.
#ifndef JLT_TWO_MEMORIES
#define JLT_TWO_MEMORIES 1
#endif

// Whether an engine can keep the calls of ops that it has prepared (jlt_engine_keep_calls). Hosts do; firmware has no memory for it.
#ifndef JLT_KEEPS_CALLS
#define JLT_KEEPS_CALLS 0
#endif

enum {
  JLT_BASE_ALIGN_BYTES = 64,   // of a container in memory
  JLT_ARENA_ALIGN_BYTES = 16,  // of an arena
  JLT_TENSORS_LIMIT = 8192,
  JLT_OPS_LIMIT = 4096,
};

// Codes are never reused.
typedef enum {
  JLT_OK = 0,
  JLT_ERR_ARGUMENT = -1,     // a null pointer, an index out of range, a buffer of the wrong size
  JLT_ERR_ALIGNMENT = -2,    // the container or the arena does not start at the alignment asked for
  JLT_ERR_TRUNCATED = -3,    // fewer bytes than the header promises
  JLT_ERR_MAGIC = -4,        // not a .jlt container
  JLT_ERR_VERSION = -5,      // written for another major version
  JLT_ERR_CRC = -6,          // header or section damaged
  JLT_ERR_SECTION = -7,      // section table: bounds, alignment, overlap, duplicates, a section missing or of odd size
  JLT_ERR_MODEL = -8,        // counts or borders
  JLT_ERR_TENSOR = -9,       // shape, type, zero point or constant data
  JLT_ERR_OP = -10,          // code, indices, order or element types
  JLT_ERR_PARAMS = -11,      // parameters that do not fit the tensors
  JLT_ERR_WEIGHT = -12,      // storage, bounds, multipliers or shifts
  JLT_ERR_LAYER = -13,       // bits or bias
  JLT_ERR_PRECISION = -14,   // precision record
  JLT_ERR_EXIT = -15,        // exit record
  JLT_ERR_PATH = -16,        // path record or confidence table
  JLT_ERR_ARENA = -17,       // offsets out of bounds or scratch too small
  JLT_ERR_OVERLAP = -18,     // two live tensors share memory
  JLT_ERR_ACCUMULATOR = -19, // sums could leave 32 bits
  JLT_ERR_ABSENT = -20,      // the path needs a section that is not in this file, or kernels that are not in this build
  JLT_ERR_STATE = -21,       // the engine was driven in the wrong order
  JLT_ERR_SWITCH = -22,      // the other path differs in what has already run
  JLT_ERR_POLICY = -23,      // policy tables: counts, indices or an order
  JLT_ERR_DIGEST = -24,      // the bytes are not those that the digest was made of
  JLT_ERR_SIGNATURE = -25,   // no signature by the key that the firmware carries
  JLT_ERR_KERNEL = -26,      // an op, or the kernel that would run it, is not in this build, which was made for another model
  JLT_ERR_BANDS = -27,       // a band group whose ops do not follow each other by rows, or with too few rows
  JLT_ERR_SPARSE = -29,      // a sparse copy of weights for which there is no kernel, or that leaves its bounds or its patch
  JLT_ERR_MEMORIES = -30,    // the border between two memories: no multiple of 16, beyond the arena, or inside a tensor or scratch
} jlt_status_t;

// A checked container. Valid as long as the bytes under it; every pointer points into them or is null.
typedef struct {
  const uint8_t *base;
  uint32_t bytes;
  const jlt_model_t *model;
  const jlt_tensor_t *tensors;
  const jlt_op_t *ops;
  const jlt_weight_t *weights;
  const jlt_layer_t *layers;
  const jlt_precision_t *precisions;
  const jlt_exit_t *exits;
  const jlt_path_t *paths;
  const uint16_t *confidence;  // tables of 32 q15
  const uint8_t *pool;
  const int8_t *data_s8;
  const uint8_t *plane_high;
  const uint8_t *plane_low;  // null when absent
  const uint8_t *data_f32;   // null when absent
  const jlt_arena_t *arena;       // of integer paths: the plan part's in use, or the generic one
  const uint32_t *arena_offsets;  // [bytes]
  const jlt_arena_t *f32_arena;   // of f32 paths: the generic one
  const uint32_t *f32_offsets;    // [bytes]
  const uint8_t *packed;          // of the plan part in use; null for reference kernels
  const jlt_packing_t *packings;  // one a weight
  const jlt_band_group_t *bands;  // of the plan part in use; null without
  const jlt_sparse_t *sparse;     // likewise; n_weights offsets and the copies follow
#if JLT_TWO_MEMORIES
  uint32_t slow_bytes;            // of the arena in use, from its beginning, that may lie in a slower memory; 0 without such a plan
#endif
  uint32_t packed_bytes;
  uint32_t n_bands;
  uint32_t isa;                   // Isa of the plan part in use
  uint32_t n_confidence;
  uint32_t pool_bytes;
  uint32_t data_s8_bytes;
  uint32_t plane_bytes;
  uint32_t data_f32_bytes;
} jlt_container_t;

// Checks every byte once, in time linear in the bytes; `base` must be 64-byte aligned. After JLT_OK nothing the
// engine does with `out` can read outside [base, base + bytes) or outside its arena; after an error `out` is empty.
JLT_MUST_CHECK jlt_status_t jlt_container_check(const void *base, uint32_t bytes, jlt_container_t *out);

// Opens bytes that jlt_container_check has passed before and that cannot have changed since; the caller vouches for that as
// it does for its own code, which lies in the same flash. The section table is read once and nothing is summed up. A board that
// loses power with every cloud must not read all of its model each time.
JLT_MUST_CHECK jlt_status_t jlt_container_reopen(const void *base, uint32_t bytes, jlt_container_t *out);

// Takes up the plan part for an instruction set: its kernels, where this build has them, its packed weights and its arena. The
// functions above do so for the set that the build is for; a host that knows its core better asks for another, or for
// JLT_ISA_REF. JLT_ERR_ABSENT: there is no such part, and nothing has changed. For `checked` bytes, see above.
JLT_MUST_CHECK jlt_status_t jlt_container_use(jlt_container_t *container, uint32_t isa, bool checked);

// Arena a path needs [bytes]; 0 when there is no such path.
uint32_t jlt_arena_bytes(const jlt_container_t *container, uint16_t path);

// Scratch one op asks for with the reference kernels [bytes], for any parameters that fit their record; UINT32_MAX when
// that is not possible.
uint32_t jlt_op_scratch_bytes(uint8_t code, const void *params, bool is_f32);

// What an instruction set's kernel asks for to run an op: on every machine the same answer, whatever its core.
typedef struct {
  uint32_t taken;          // 0: the reference kernel runs it
  uint32_t kernel;         // else its place among those of the instruction set in kernels.def
  uint32_t scratch_bytes;  // UINT32_MAX when that is not possible
  uint32_t packed_8_bytes;  // packed weights at 8 bits; 0: it reads the canonical ones
  uint32_t packed_4_bytes;
  uint32_t packed_shared_bytes;  // of a copy that serves both; 0: there is none
  uint32_t takes_sparse;   // 1: it has a kernel for a sparse copy, which asks for the same scratch
} jlt_isa_needs_t;

// JLT_ERR_ABSENT: this build cannot say, being for one other instruction set.
JLT_MUST_CHECK jlt_status_t jlt_isa_needs(const jlt_container_t *container, uint32_t isa, uint16_t op,
                                          jlt_isa_needs_t *needs);

// Units an op comes in, 1 or more; see jlt_engine_tile. 0 when there is no such op. A band group (core/bands.h) is one unit.
uint32_t jlt_op_units(const jlt_container_t *container, uint16_t op, bool is_f32);

enum { JLT_EVENT_LAYER = 1, JLT_EVENT_EXIT = 2, JLT_EVENT_TILE = 3 };

typedef struct {
  uint8_t kind;             // JLT_EVENT_
  uint8_t exit;             // the exit asked for
  uint16_t op;              // the op that has just run, to its end unless the event is a tile
  uint16_t confidence_q15;  // P(correct) at an exit, else 0
  uint16_t margin;          // top-1 minus top-2 of the logits at an exit, 0..255
  uint64_t macs;            // multiply-accumulates of all ops that have ended since the start
} jlt_event_t;

// One inference in progress. The fields are for reading.
typedef struct {
  const jlt_container_t *container;
  uint8_t *arena;
  uint32_t arena_bytes;
#if JLT_TWO_MEMORIES
  uint32_t slow_bytes;   // the arena's first bytes, which lie in `slow`; 0: all of it lies in `arena`
  uint8_t *slow;
#endif
  uint32_t scratch_end;  // of what the path needs of the arena; an op's scratch is the last bytes before it
  uint64_t macs;        // multiply-accumulates of all ops that have ended since the start
  uint32_t ops_run;     // ops that have ended since the start
  uint32_t unit;        // units of the next op that are done
  uint32_t tile_begin;  // the last tile [units]
  uint32_t tile_end;    // 0 before the first since start or restore
  uint16_t tile_op;     // its op
  uint16_t path;
  uint16_t next_op;
  uint8_t segment;  // the deepest one of which an op has begun
  bool is_f32;
  bool started;
  bool entered;  // the first unit has run: inputs may be overwritten
#if JLT_WITH_REFIT
  struct jlt_head *head;  // stands in for an exit's own (core/head.h); null: none does
#endif
#if JLT_KEEPS_CALLS
  struct jlt_kept_call *calls;  // a path's ops after the other's (core/kept_calls.h); null: each call is prepared anew
#endif
} jlt_engine_t;

// All of an engine that must outlive its memory, beside the tensors that jlt_live_at names (core/live.h). Erased or
// zeroed memory holds none.
typedef struct {
  uint64_t macs;
  uint32_t ops_run;
  uint32_t unit;
  uint16_t path;
  uint16_t next_op;
  uint8_t segment;
  uint8_t started;
  uint8_t entered;
  uint8_t reserved;  // 0
} jlt_engine_mark_t;
_Static_assert(sizeof(jlt_engine_mark_t) == 24, "jlt_engine_mark_t: layout");

// `arena` is 16-byte aligned and stays the engine's; its size is checked per path at start.
JLT_MUST_CHECK jlt_status_t jlt_engine_init(jlt_engine_t *engine, const jlt_container_t *container, void *arena,
                                            uint32_t arena_bytes);

#if JLT_TWO_MEMORIES
// The same for a container whose plan has two memories: the first container->slow_bytes of its arena lie in `slow`, the rest in
// `fast`. Both are 16-byte aligned, and what `slow` has is checked here. Only integer paths start, and
// the container takes up no other plan while the engine is in use.
JLT_MUST_CHECK jlt_status_t jlt_engine_init_two(jlt_engine_t *engine, const jlt_container_t *container, void *fast,
                                                uint32_t fast_bytes, void *slow, uint32_t slow_bytes);
#endif

#if JLT_KEEPS_CALLS
// Room that jlt_engine_keep_calls asks for [bytes].
size_t jlt_calls_bytes(const jlt_container_t *container);

// From now on an op's call is prepared at its first run along a path and kept in `room`, aligned as pointers are, which stays the engine's.
// The container takes up no other plan while the engine is in use.
JLT_MUST_CHECK jlt_status_t jlt_engine_keep_calls(jlt_engine_t *engine, void *room, size_t bytes);
#endif

// Begins an inference along `path`; write the inputs next.
JLT_MUST_CHECK jlt_status_t jlt_engine_start(jlt_engine_t *engine, uint16_t path);

// Copies input number `input` in, in the type of its tensor; `bytes` is its exact size.
JLT_MUST_CHECK jlt_status_t jlt_engine_write(jlt_engine_t *engine, uint16_t input, const void *from, uint32_t bytes);

// Copies a tensor out in its own type. Only outputs of the exit just reached hold their values.
JLT_MUST_CHECK jlt_status_t jlt_engine_read(const jlt_engine_t *engine, uint16_t tensor, void *to, uint32_t bytes);

// Runs one op, or the rest of one, or a band group, and returns: every return is a safe point. Of a group the last op is told. Heads other than `exit`'s are skipped,
// `exit` may grow from call to call, and JLT_EVENT_EXIT says that it has been reached.
JLT_MUST_CHECK jlt_status_t jlt_engine_step(jlt_engine_t *engine, uint8_t exit, jlt_event_t *event);

// Runs at most `units` units of the next op, 0 for all that is left. JLT_EVENT_TILE says that the op has not ended; how
// an op is divided changes no byte of what it writes. An op of a head left in the middle for a later exit is lost.
JLT_MUST_CHECK jlt_status_t jlt_engine_tile(jlt_engine_t *engine, uint8_t exit, uint32_t units, jlt_event_t *event);

// Units of the next op on the way to `exit`: done and in all.
JLT_MUST_CHECK jlt_status_t jlt_engine_units(const jlt_engine_t *engine, uint8_t exit, uint32_t *done, uint32_t *total);

// What the last tile or op has written: bytes [from, to) of a tensor as it lies in the arena. Ops that write here and
// there are one unit, and the whole tensor is named.
JLT_MUST_CHECK jlt_status_t jlt_engine_written(const jlt_engine_t *engine, uint16_t *tensor, uint32_t *from,
                                               uint32_t *to);

// Where the engine stands, to be kept through a loss of power.
void jlt_engine_save(const jlt_engine_t *engine, jlt_engine_mark_t *mark);

// Goes back to where `mark` was taken, by an engine of the same container; then the live tensors must be put back. Any
// bytes are safe to hand in: what no run can have left is refused, and the engine is left as it was.
JLT_MUST_CHECK jlt_status_t jlt_engine_restore(jlt_engine_t *engine, const jlt_engine_mark_t *mark);

// Continues along another path with the same precisions in all that has begun; not in the middle of an op.
JLT_MUST_CHECK jlt_status_t jlt_engine_switch(jlt_engine_t *engine, uint16_t path);

// Size of a tensor's content in its own type [bytes].
uint32_t jlt_tensor_bytes(const jlt_tensor_t *tensor);

#endif
