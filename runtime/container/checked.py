# SPDX-License-Identifier: Apache-2.0
"""A container as the C side sees it, for planners that ask it what its kernels need."""

from __future__ import annotations

from typing import Any

import numpy as np

from joulet._core import ffi, lib
from joulet.errors import PlanError

_ALIGN_BYTES = 64


class Checked:
    """A container that has passed ``jlt_container_check``; ``view`` is its ``jlt_container_t *``, valid as long as this lives.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """

    __slots__ = ("_room", "view")

    def __init__(self, data: bytes) -> None:
        self._room = np.zeros(len(data) + _ALIGN_BYTES, np.uint8)
        at = -self._room.ctypes.data % _ALIGN_BYTES
        self._room[at : at + len(data)] = np.frombuffer(data, np.uint8)
        self.view: Any = ffi.new("jlt_container_t *")
        status = lib.jlt_container_check(ffi.cast("void *", self._room.ctypes.data + at), len(data), self.view)
        if status:
            raise PlanError(f"the engine refuses the container (status {status}); compile the model again")
