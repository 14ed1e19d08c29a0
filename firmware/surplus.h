// SPDX-License-Identifier: Apache-2.0
// Whether there is more energy than what a session has planned can use: then a head may be fitted.
#ifndef JLT_FIRMWARE_SURPLUS_H
#define JLT_FIRMWARE_SURPLUS_H

#include <stdbool.h>

#include "link/wire.h"

bool jlt_in_surplus(const jlt_wire_session_t *session, const jlt_wire_refit_t *refit);

#endif
