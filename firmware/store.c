// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include "clock.h"
#include "port.h"

static struct {
  bool senses;
  bool counts;
  bool asked;  // whether there is a counter
} store;

void jlt_store_open(void) {
  store.senses = jlt_board.store.driver && jlt_board.store.driver->open(&jlt_board.store);
}

bool jlt_store_senses(void) { return store.senses; }

bool jlt_store_read_mv(uint32_t *mv) {
  return store.senses && jlt_board.store.driver->read_store_mv(&jlt_board.store, mv);
}

// Looked for when first asked: a bus in software is slow, and nothing else here needs the part.
static bool has_counter(void) {
  if (!store.asked) {
    store.asked = true;
    store.counts = jlt_board.counter.driver && jlt_board.counter.driver->open(&jlt_board.counter);
  }
  return store.counts;
}

void jlt_store_sensors(jlt_wire_sensors_t *out) {
  *out = (jlt_wire_sensors_t){.time_us = jlt_now_us()};
  const bool stored = jlt_store_read_mv(&out->store_mv);
  const bool drawn = has_counter() && jlt_board.counter.driver->read_energy_nj &&
                     jlt_board.counter.driver->read_energy_nj(&jlt_board.counter, &out->drawn_nj);
  out->valid = (stored ? 1u : 0u) | (drawn ? 2u : 0u);
}
