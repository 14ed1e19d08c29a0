// SPDX-License-Identifier: Apache-2.0
// Declarations for sources whose float kernels a board's build leaves out.
#ifndef JLT_FIRMWARE_MATH_H
#define JLT_FIRMWARE_MATH_H

float expf(float x);
float tanhf(float x);

#endif
