# SPDX-License-Identifier: Apache-2.0
"""Depthwise weights for NEON: csrc/kernels/neon/dwconv_layout.h. All others are packed as for other SIMD lanes (wide.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from joulet.plan.packings.weights import Scales, Weights, values_at
from joulet.plan.packings.wide import with_sums

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

_CHANNELS = 16
_ROWS = 4


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Return a depthwise convolution's packed copy: column by column ``[rows / 4][16][4]`` int8, at 4 bits 16u - 120.

    Parameters
    ----------
    weights : ndarray of int8, shape (1, taps * channels)
        Canonical weights.
    params
        The op's parameters.
    bits
        8 or 4.
    scales
        Not packed.
    """
    rows, columns, channels = params.k_h, params.k_w, params.out_c
    values = values_at(weights, bits).reshape(rows, columns, channels)
    padded = np.zeros((-(-rows // _ROWS) * _ROWS, columns, -(-channels // _CHANNELS) * _CHANNELS), np.int8)
    padded[:rows, :, :channels] = values
    grouped = padded.reshape(-1, _ROWS, columns, padded.shape[2] // _CHANNELS, _CHANNELS)
    body = grouped.transpose(3, 2, 0, 4, 1)  # block, column, group, channel, row
    sums = body.sum(axis=(1, 2, 4), dtype=np.int64).astype("<i4")
    return with_sums(sums, np.ascontiguousarray(body).view(np.uint8))
