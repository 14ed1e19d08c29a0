# SPDX-License-Identifier: Apache-2.0
"""Weights of a container as arrays, and their high nibbles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.int8]


def high_nibbles(weights: Weights) -> npt.NDArray[np.uint8]:
    """Return u = (q + 128) >> 4, what 4 bits keep of int8 weights."""
    return ((weights.astype(np.int16) + 128) >> 4).astype(np.uint8)
