# SPDX-License-Identifier: Apache-2.0
"""Cycles that the band groups of a board's plan part add to its ops."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.container.band_view import walked_groups
from joulet.container.read import Container


def band_cycles(container: Container, board: Board) -> npt.NDArray[np.float64]:
    """Return what bands add to each op at any integer precision [cycles], ``(n_ops,)``; a group's goes to its last op.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    added = np.zeros(len(container.ops))
    for group in walked_groups(container.data, board.isa):
        added[group.last_op] += board.cycles.bands.cycles(group.calls - len(group.ops), group.moved_bytes)
    return added
