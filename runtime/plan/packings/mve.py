# SPDX-License-Identifier: Apache-2.0
"""Weights for Helium; ``csrc/kernels/mve/layout.h`` says how they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from joulet.plan.packings.weights import Scales, Weights, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

BYTES = 16  # of a vector
LANES = 4  # channels of a group


def pack_conv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of CONV and FC, ``(rows, row_elements)``: rows that alternate by vectors, at either precision int8."""
    values = values_at(weights, bits)
    channels, elements = values.shape
    groups, vectors = -(-channels // LANES), -(-elements // BYTES)
    padded = np.zeros((groups * LANES, vectors * BYTES), np.int8)
    padded[:channels, :elements] = values
    sums = padded.sum(axis=1, dtype="<i4")
    if params.n * params.out_h * params.out_w == 1:
        packed = padded.reshape(groups, LANES, vectors, BYTES).transpose(0, 2, 1, 3)
        ends = sums.view(np.int8).reshape(groups, BYTES)
        return bytes(np.concatenate((packed.reshape(groups, -1), ends), axis=1).tobytes())
    # rows of a group: 0 and 2 are its first pair, 1 and 3 its second
    pairs = padded.reshape(groups, 2, 2, vectors, BYTES).transpose(0, 2, 3, 1, 4)
    return bytes(sums.tobytes() + pairs.tobytes())


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of DWCONV, ``(1, k_h · k_w · channels)``, as int8 at either precision: a vector a channel where it fits one."""
    taps = params.k_h * params.k_w
    rows = -(-params.out_c // LANES) * LANES
    padded = np.zeros((params.k_h, params.k_w, rows), np.int8)
    padded[:, :, : params.out_c] = values_at(weights, bits).reshape(params.k_h, params.k_w, params.out_c)
    sums = bytes(padded.sum(axis=(0, 1), dtype="<i4").tobytes())
    if taps > BYTES:
        return sums + padded.reshape(taps, rows).tobytes()
    vectors = np.zeros((rows, BYTES), np.int8)
    vectors[:, :taps] = padded.transpose(2, 1, 0).reshape(rows, taps)
    return sums + vectors.tobytes()
