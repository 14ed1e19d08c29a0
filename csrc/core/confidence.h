// SPDX-License-Identifier: Apache-2.0
// Confidence of an exit: the margin of its logits, looked up in a calibrated table.
#ifndef JLT_CORE_CONFIDENCE_H
#define JLT_CORE_CONFIDENCE_H

#include "joulet.h"

enum { JLT_CONFIDENCE_CONSTANT_Q15 = 32767 };  // of a model without classes

// Largest minus second largest of `count` values, 0..255; 0 when there are fewer than two.
uint16_t jlt_margin_s8(const int8_t *logits, uint32_t count);

// The same at f32: values are brought to the logits' own s8 grid first, so that one table serves every precision.
uint16_t jlt_margin_f32(const float *logits, uint32_t count, float scale, int32_t zero_point);

// P(correct) at `exit` of `path`, q15.
uint16_t jlt_confidence_q15(const jlt_container_t *container, uint16_t path, uint8_t exit, uint16_t margin);

#endif
