# SPDX-License-Identifier: Apache-2.0
"""Which blocks of weights are there, and how a sparse copy counts those that are not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet.plan.packings.weights import Weights

ELEMENTS = 4
"""Of a row, in a block."""


def block_presence(weights: Weights, rows: int) -> npt.NDArray[np.bool_]:
    """Return which blocks are not all zeros, ``(channels / rows, elements / 4)``.

    Parameters
    ----------
    weights : ndarray of int8, shape (channels, elements)
        Whole blocks.
    rows
        Channels of a block.
    """
    channels, elements = weights.shape
    return np.asarray(weights.reshape(channels // rows, rows, elements // ELEMENTS, ELEMENTS).any(axis=(1, 3)))


def block_skips(present: npt.NDArray[np.bool_], most: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the blocks of a row to store, and how many absent ones each has before it.

    At least one is stored, and where more than ``most`` are absent in a row some of those are too.

    Parameters
    ----------
    present : ndarray of bool, shape (blocks,)
        Which are there.
    most
        That can be counted, up to 255.
    """
    stored: list[int] = []
    last = -1
    for block in np.flatnonzero(present).tolist() or [0]:
        while block - last - 1 > most:
            last += most + 1
            stored.append(last)
        stored.append(block)
        last = block
    blocks = np.array(stored)
    return (np.diff(blocks, prepend=-1) - 1).astype(np.uint8), blocks
