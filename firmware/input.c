// SPDX-License-Identifier: Apache-2.0
#include "input.h"

#include "model.h"

static struct {
  const jlt_wire_samples_t *samples;
  bool fresh;  // the INPUT slot holds a sample that nobody has taken
} input;

/// A buffer in flash ///

static bool open_flash(void) {
  uint32_t bytes;
  const jlt_wire_samples_t *samples = jlt_slot_content(JLT_WIRE_SLOT_SAMPLES, &bytes);
  const bool fits = samples && bytes >= sizeof(*samples) && samples->magic == JLT_WIRE_SAMPLES_MAGIC &&
                    samples->count > 0 && samples->bytes_each == jlt_loaded.input_bytes &&
                    samples->stride >= samples->bytes_each && samples->stride % 4u == 0 &&
                    samples->count <= (bytes - sizeof(*samples)) / samples->stride;
  input.samples = fits ? samples : NULL;
  return fits;
}

static uint32_t count_flash(void) { return input.samples->count; }

static const uint8_t *sample_flash(uint32_t index) {
  return (const uint8_t *)(input.samples + 1) + (size_t)index * input.samples->stride;
}

const jlt_input_driver_t jlt_input_flash = {open_flash, count_flash, sample_flash};

/// The link ///

static bool open_link(void) { return jlt_loaded.status == JLT_OK; }

static uint32_t count_link(void) { return 1; }

static const uint8_t *sample_link(uint32_t index) {
  (void)index;
  const bool fresh = input.fresh && jlt_loaded.fed;  // not while another one is on its way
  input.fresh = false;
  return fresh ? jlt_loaded.input : NULL;
}

const jlt_input_driver_t jlt_input_link = {open_link, count_link, sample_link};

void jlt_input_arrived(void) { input.fresh = true; }
