// SPDX-License-Identifier: Apache-2.0
// Band groups: ops in a row of which inner tensors are never whole; FORMAT.md §6.
//
// The last op's output is walked in bands of rows. For each band every member makes those rows of its output that the band needs and
// that are not there yet; what later bands need of it is moved to the beginning of its memory first, so that each call of a kernel
// has all its rows in one piece and sees a smaller convolution. No row is made twice. A group runs to its end once it has begun:
// inside it there is no safe point, and to whoever drives the engine it is one op of one unit.
//
//   in ─▶ conv ─▶ ▓▓▓ ─▶ dwconv ─▶ ▓ ─▶ conv ─▶ out          ▓ rows that the arena holds
#ifndef JLT_CORE_BANDS_H
#define JLT_CORE_BANDS_H

#include "joulet.h"
#include "kernels/selection.h"

enum { JLT_BAND_OPS_LIMIT = 8 };

// How rows of an op's output depend on rows of its inputs. Rows are 2^14 at the most.
typedef struct {
  uint32_t in_row_bytes;
  uint32_t out_row_bytes;
  uint32_t reach;  // rows from the first that a window reads to the last, both counted
  uint16_t in_rows;
  uint16_t out_rows;
  uint16_t stride;
  uint16_t pad;
} jlt_band_axis_t;

// One call of a kernel: rows [from, to) of a member's output, from rows [in_from, in_to) of its inputs.
typedef struct {
  const jlt_op_t *op;
  jlt_band_axis_t axis;
  uint16_t from;
  uint16_t to;
  uint16_t in_from;
  uint16_t in_to;
  uint16_t base;        // row of the output at the beginning of its memory
  uint16_t in_base[2];  // the same of inputs
  uint16_t kept;        // before the call, so many rows of the output are to be moved to the beginning of its memory,
  uint16_t dropped;     // from behind so many
} jlt_band_call_t;

// A walk through all calls of a group, in order.
typedef struct {
  const jlt_container_t *container;
  const jlt_band_group_t *group;
  const jlt_op_t *ops;                // its first
  uint32_t member;                    // next one in this band
  uint16_t end[JLT_BAND_OPS_LIMIT];   // rows that are made
  uint16_t to[JLT_BAND_OPS_LIMIT];    // and will be with this band
  uint16_t keep[JLT_BAND_OPS_LIMIT];  // first row that this band or a later one needs
  uint16_t base[JLT_BAND_OPS_LIMIT];  // row at the beginning of the memory
} jlt_band_walk_t;

#if JLT_BANDS
// The group that an op belongs to at integer precisions, null without.
const jlt_band_group_t *jlt_band_group_of(const jlt_container_t *container, uint32_t op);

// The last op that runs when `op` is due: its group's last, or itself.
uint32_t jlt_band_last(const jlt_container_t *container, uint32_t op);

// Bytes of the arena that the output of an op takes: all of it, or the rows that its group holds.
uint32_t jlt_band_room(const jlt_container_t *container, uint32_t op);

// False for an op that does not go by rows: other codes, more than one image, too many rows.
bool jlt_band_axis(const jlt_container_t *container, const jlt_op_t *op, jlt_band_axis_t *axis);

jlt_band_walk_t jlt_band_start(const jlt_container_t *container, const jlt_band_group_t *group);

// False at the end. Every member has an axis, and members read outputs of earlier ones.
bool jlt_band_next(jlt_band_walk_t *walk, jlt_band_call_t *call);

// The groups of the plan part in use, whose container has passed its check, against its ops: who reads what is between them, and every
// call of their walks with its rows in their memory. Offsets are checked with the arena.
JLT_MUST_CHECK jlt_status_t jlt_check_bands(const jlt_container_t *container);

// Whether a group's last op may write over `tensor`, which nothing reads after the group, where the arena has them.
bool jlt_band_may_write_over(const jlt_container_t *container, const jlt_band_group_t *group, uint32_t tensor);
#else
#include "core/no_bands.h"
#endif

#endif
