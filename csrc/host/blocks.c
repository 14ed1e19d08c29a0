// SPDX-License-Identifier: Apache-2.0
#include "host/blocks.h"

static uint32_t bits_set(uint32_t x) {
  uint32_t count = 0;
  for (; x; x &= x - 1u) {
    count++;
  }
  return count;
}

// Encodings of 16 bits (Armv7-M ARM, A5.2), by their top bits.
static uint32_t weigh_narrow(const jlt_cycle_classes_t *c, uint32_t op) {
  if (op >> 10 == 0x10) {  // data processing
    return (op >> 6 & 15u) == 13u ? c->multiply : c->plain;
  }
  if (op >> 11 == 0x09) {  // load literal
    return c->load;
  }
  if (op >> 12 == 0x5) {  // load and store, register offset
    return op >> 9 >= 0x2B ? c->load : c->store;
  }
  if (op >> 12 >= 0x6 && op >> 12 <= 0x9) {  // immediate offset, sp relative
    return op >> 11 & 1u ? c->load : c->store;
  }
  if (op >> 9 == 0x5A || op >> 9 == 0x5E) {  // push, pop
    return c->multiple + c->each * bits_set(op & 0x1FFu);
  }
  if (op >> 12 == 0xC) {
    return c->multiple + c->each * bits_set(op & 0xFFu);
  }
  if (op >> 5 == 0x5B3) {  // cps
    return c->special;
  }
  return c->plain;
}

// Encodings of 32 bits (A5.3).
static uint32_t weigh_wide(const jlt_cycle_classes_t *c, uint32_t first, uint32_t second) {
  const uint32_t op1 = first >> 11 & 3u, op2 = first >> 4 & 0x7Fu;
  if (op2 & 0x40) {  // coprocessor: floating point, Helium
    const bool divides = (first & 0xFFB0u) == 0xEE80u && (second & 0x0E50u) == 0x0A00u;
    const bool root = (first & 0xFFBFu) == 0xEEB1u && (second & 0x0EC0u) == 0x0AC0u;
    const bool moves_memory = op1 == 1 && (first >> 8 & 15u) <= 13u && (first >> 5 & 0x7Fu) != 0x62u;
    if (moves_memory) {
      const bool multiple = !((first & 0x0120u) == 0x0100u);
      return multiple ? c->multiple + c->each * (second & 0xFFu) : (first >> 4 & 1u ? c->load : c->store);
    }
    return divides || root ? c->fp_divide : c->fp;
  }
  if (op1 == 1) {
    if ((op2 & 0x64u) == 0x00u) {  // multiple
      return c->multiple + c->each * bits_set(second);
    }
    if ((op2 & 0x64u) == 0x04u) {  // dual, exclusive, table branch
      return first & 0x10u ? c->load + c->each : c->store + c->each;
    }
    return c->plain;
  }
  if (op1 == 2) {
    if (second & 0x8000u) {
      if ((second & 0xD000u) == 0xD000u) {  // bl
        return (uint32_t)c->plain + c->call;
      }
      return (first & 0x07E0u) >= 0x0380u && !(second & 0x1000u) && (first & 0x0380u) == 0x0380u ? c->special : c->plain;
    }
    return c->plain;
  }
  if ((op2 & 0x71u) == 0x00u) {  // store single
    return c->store;
  }
  if ((op2 & 0x61u) == 0x01u) {  // load byte, halfword, word
    return c->load;
  }
  if ((op2 & 0x78u) == 0x30u) {
    return c->multiply;
  }
  if ((op2 & 0x78u) == 0x38u) {
    return (second & 0xF0u) == 0xF0u && (op2 & 5u) == 1u ? c->divide : c->multiply_long;
  }
  return c->plain;
}

void jlt_weigh_block(const jlt_block_counter_t *counter, uint64_t address, uint32_t bytes, jlt_block_t *out) {
  const uint8_t *code = counter->code + (address - counter->code_base);
  *out = (jlt_block_t){.bytes = bytes};
  for (uint32_t at = 0; at + 2u <= bytes;) {
    const uint32_t first = code[at] | (uint32_t)code[at + 1u] << 8;
    const bool wide = first >> 11 >= 0x1Du && at + 4u <= bytes;
    if (wide) {
      const uint32_t second = code[at + 2u] | (uint32_t)code[at + 3u] << 8;
      out->cycles += weigh_wide(&counter->classes, first, second) + counter->classes.wide;
    } else {
      out->cycles += weigh_narrow(&counter->classes, first);
    }
    out->instructions++;
    at += wide ? 4u : 2u;
  }
}

void jlt_count_block(void *emulator, uint64_t address, uint32_t bytes, void *user) {
  jlt_block_counter_t *counter = user;
  if (address < counter->code_base || address - counter->code_base + bytes > counter->code_bytes) {
    counter->strayed = true;
    counter->stop(emulator);
    return;
  }
  jlt_block_t *block = &counter->blocks[(address - counter->code_base) >> 1];
  if (block->bytes != bytes) {
    jlt_weigh_block(counter, address, bytes, block);
  }
  // the branch at the end of the block before was taken when this one does not follow it
  const uint32_t taken = address == counter->block_end ? 0u : counter->classes.taken;
  if (counter->instructions + block->instructions > counter->most_instructions ||
      counter->cycles + block->cycles + taken > counter->most_cycles) {
    counter->stopped = true;
    counter->stop(emulator);
    return;
  }
  counter->instructions += block->instructions;
  counter->cycles += block->cycles + taken;
  counter->block_at = address;
  counter->block_end = address + bytes;
}
