// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include "port.h"

static bool there;

void jlt_store_open(void) {
  there = jlt_board.store.driver && jlt_board.store.driver->open(&jlt_board.store);
}

bool jlt_store_senses(void) { return there; }

bool jlt_store_read_mv(uint32_t *mv) { return there && jlt_board.store.driver->read_store_mv(&jlt_board.store, mv); }
