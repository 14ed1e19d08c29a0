// SPDX-License-Identifier: Apache-2.0
#include "sender.h"

#include "console.h"
#include "link/frame.h"

static bool heard;

void jlt_sender_listen(bool listening) { heard = listening; }

void jlt_sender_send(uint8_t type, uint16_t sequence, const void *payload, uint16_t length) {
  jlt_frame_writer_t writer;
  uint8_t byte;
  jlt_frame_begin(&writer, type, sequence, payload, length);
  while (jlt_frame_next(&writer, &byte)) {
    jlt_console_write(&byte, 1);
  }
}

void jlt_sender_tell(uint8_t type, const void *payload, uint16_t length) {
  if (heard) {
    jlt_sender_send(type, 0, payload, length);
  }
}
