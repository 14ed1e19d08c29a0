// SPDX-License-Identifier: Apache-2.0
// The core has no way to reset itself: QEMU's test device does it.
#include "port.h"

enum { TEST = 0x00100000, TEST_RESET = 0x7777 };

void jlt_restart(void) {
  JLT_REG(TEST) = TEST_RESET;
  for (;;) {
    __asm volatile("wfi");
  }
}
