# SPDX-License-Identifier: Apache-2.0
"""Weights for csrc/kernels/avx2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.plan.packings import wide

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

# how unpacking leaves sixteen channels in two registers
LANES = np.array([0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15])


def pack_conv(weights: npt.NDArray[np.int8], params: ConvParams, bits: int) -> bytes:
    """Return the packed copy of CONV and FC; pairs of products meet in one VPMADDWD."""
    return wide.pack_conv(weights, params, bits, together=2)


def pack_dwconv(weights: npt.NDArray[np.int8], params: ConvParams, bits: int) -> bytes:
    """Return the packed copy of DWCONV."""
    return wide.pack_dwconv(weights, params, bits, LANES)
