# SPDX-License-Identifier: Apache-2.0
"""What packers are given: a weight's values, what 4 bits make of them, and its scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Multipliers [q31] and shifts of every output channel, int32, shape (channels,)."""

    multipliers: npt.NDArray[np.int32]
    shifts: npt.NDArray[np.int32]


def high_nibbles(weights: Weights) -> npt.NDArray[np.uint8]:
    """Return u = (q + 128) >> 4, what 4 bits keep of int8 weights."""
    return ((weights.astype(np.int16) + 128) >> 4).astype(np.uint8)


def values_at(weights: Weights, bits: int) -> Weights:
    """Return what weights stand for at a precision: themselves, or 16u - 120."""
    if bits == 8:
        return weights
    values: Weights = (16 * high_nibbles(weights).astype(np.int16) - 120).astype(np.int8)
    return values
