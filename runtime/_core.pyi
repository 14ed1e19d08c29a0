# SPDX-License-Identifier: Apache-2.0
# The cffi module built from csrc/; its functions are those of joulet.h and host/batch.h.
from typing import Any

ffi: Any
lib: Any
