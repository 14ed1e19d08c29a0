# SPDX-License-Identifier: Apache-2.0
"""Weights for Helium; ``csrc/kernels/mve/layout.h`` says how they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from joulet.plan.packings.weights import Scales, Weights, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

BYTES = 16


def pack_conv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of CONV and FC, ``(rows, row_elements)``: rows padded to whole vectors, as int8 at either precision."""
    values = values_at(weights, bits)
    padded = np.zeros((values.shape[0], -(-values.shape[1] // BYTES) * BYTES), np.int8)
    padded[:, : values.shape[1]] = values
    return b"".join((values.sum(axis=1, dtype="<i4").tobytes(), padded.tobytes()))


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of DWCONV, ``(1, k_h · k_w · channels)``, as int8 at either precision."""
    values = values_at(weights, bits).reshape(-1, params.out_c)
    return b"".join((values.sum(axis=0, dtype="<i4").tobytes(), values.tobytes()))
