# SPDX-License-Identifier: Apache-2.0
"""Weights for csrc/kernels/avx512vnni."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.plan.packings import wide

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

# sixteen channels in one register
LANES = np.arange(16)


def pack_conv(weights: npt.NDArray[np.int8], params: ConvParams, bits: int) -> bytes:
    """Return the packed copy of CONV and FC; four products meet in one VPDPBUSD."""
    return wide.pack_conv(weights, params, bits, together=4)


def pack_dwconv(weights: npt.NDArray[np.int8], params: ConvParams, bits: int) -> bytes:
    """Return the packed copy of DWCONV."""
    return wide.pack_dwconv(weights, params, bits, LANES)
