// SPDX-License-Identifier: Apache-2.0
// Where samples come from: a buffer in flash, or the link - whole, or as PCM that becomes features on the way.
#ifndef JLT_FIRMWARE_INPUT_H
#define JLT_FIRMWARE_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "joulet.h"
#include "link/wire.h"

typedef struct {
  bool (*open)(void);                        // false: it has nothing that fits the model
  uint32_t (*count)(void);                   // of samples; 1 where they stream
  const uint8_t *(*sample)(uint32_t index);  // all inputs of the model in turn; null: none is there now
} jlt_input_driver_t;

extern const jlt_input_driver_t jlt_input_flash;
extern const jlt_input_driver_t jlt_input_link;

// Takes PCM; once 49 frames are in, the features of the last 49 lie in the INPUT slot. JLT_ERR_ABSENT: the board's firmware has no
// front end, for want of flash (`front` in board.toml).
JLT_MUST_CHECK jlt_status_t jlt_input_pcm(const jlt_wire_pcm_t *head, const int16_t *samples, uint32_t count,
                                          jlt_wire_pcm_reply_t *reply);

// The INPUT slot has been filled from outside.
void jlt_input_arrived(void);

#endif
