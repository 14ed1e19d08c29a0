// SPDX-License-Identifier: Apache-2.0
// Power-up, then for ever: bytes from the line, one step of the session, sleep.
#include "activation.h"
#include "clock.h"
#include "console.h"
#include "journal.h"
#include "link.h"
#include "link/wire.h"
#include "model.h"
#include "port.h"
#include "runner.h"
#include "session.h"
#include "trust.h"

enum { BYTES_A_TURN = 64 };  // between two looks at the clock

typedef enum { ASCII, ARMED, FRAMES } line_mode_t;

static struct {
  line_mode_t mode;
  uint64_t heard_us;  // last valid frame
} line;

static void enter(line_mode_t mode) {
  line.mode = mode;
  line.heard_us = jlt_now_us();
  jlt_runner_clear();
  jlt_runner_arm(mode == ARMED);
}

static void take(uint8_t byte) {
  if (line.mode == ASCII) {
    if (jlt_runner_feed(byte)) {
      jlt_link_open();
      enter(ARMED);
    }
    return;
  }
  switch (jlt_link_feed(byte, line.mode == ARMED)) {
    case JLT_LINK_HELLO:
      enter(FRAMES);
      return;
    case JLT_LINK_REQUEST:
      line.heard_us = jlt_now_us();
      return;
    case JLT_LINK_BYE:
      enter(ASCII);
      return;
    default:
      break;
  }
  if (line.mode == ARMED && jlt_runner_feed(byte)) {
    enter(ARMED);
  }
}

static void take_in(void) {
  uint8_t byte;
  while (jlt_console_read(&byte)) {
    // nothing is pending between requests: silence alone counts
    if (line.mode != ASCII && jlt_now_us() - line.heard_us > JLT_WIRE_SILENCE_US) {
      jlt_link_close();
      enter(ASCII);
    }
    take(byte);
    for (uint32_t i = 1; i < BYTES_A_TURN && jlt_console_read(&byte); i++) {
      take(byte);
    }
  }
}

int main(void) {
  if (jlt_board.init) {
    jlt_board.init();
  }
  jlt_clock_open();
  jlt_console_open();
  jlt_journal_open();
  jlt_trust_open();
  jlt_activation_open();
  jlt_model_load();
  jlt_session_open();
  if (!jlt_session_running()) {
    jlt_runner_open();
  }
  for (;;) {
    take_in();
    if (jlt_session_running()) {
      (void)jlt_session_step();
    } else {
      jlt_console_idle(UINT64_MAX);
    }
  }
}
