// SPDX-License-Identifier: Apache-2.0
// Counting what an emulated Cortex-M executes, block by block, and stopping it at a count. Host only.
//
// A block is what the emulator translates at once: straight code up to a branch. Its instructions and their cycles are
// found once, by decoding Thumb code (Armv7-M Architecture Reference Manual, A5; Armv8-M, C2), and added each time it is
// entered. An instruction that an IT block skips counts too, as it takes its place in the pipeline.
#ifndef JLT_HOST_BLOCKS_H
#define JLT_HOST_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

// Cycles of each class of instructions.
typedef struct {
  uint8_t plain;        // arithmetic, logic, moves
  uint8_t load;
  uint8_t store;
  uint8_t multiple;     // load or store of several registers, without what each adds
  uint8_t each;         // register of a multiple
  uint8_t multiply;     // 32-bit product
  uint8_t multiply_long;
  uint8_t divide;
  uint8_t taken;        // what a taken branch adds
  uint8_t call;         // BL, beyond a taken branch
  uint8_t fp;           // floating point, and moves to and from its registers
  uint8_t fp_divide;
  uint8_t special;      // MSR, MRS, barriers, CPS
  uint8_t wide;         // what fetching 32 bits of instruction adds
} jlt_cycle_classes_t;

typedef struct {
  uint32_t bytes;  // 0: not seen yet
  uint32_t instructions;
  uint32_t cycles;  // with its last branch not taken
} jlt_block_t;

typedef struct {
  const uint8_t *code;
  uint64_t code_base;
  uint32_t code_bytes;
  jlt_block_t *blocks;  // one a halfword of code
  jlt_cycle_classes_t classes;
  void (*stop)(void *emulator);
  uint64_t instructions;
  uint64_t cycles;
  uint64_t most_instructions;  // stops before a block that would pass it
  uint64_t most_cycles;
  uint64_t block_at;  // address of the block that is running
  uint64_t block_end;
  bool stopped;
  bool strayed;  // code outside the region has been entered
} jlt_block_counter_t;

// A callback for the emulator's block hook; `user` is the counter.
void jlt_count_block(void *emulator, uint64_t address, uint32_t bytes, void *user);

// Instructions of [address, address + bytes) and their cycles.
void jlt_weigh_block(const jlt_block_counter_t *counter, uint64_t address, uint32_t bytes, jlt_block_t *out);

#endif
