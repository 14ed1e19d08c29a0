# SPDX-License-Identifier: Apache-2.0
"""The values of a container's weights, whatever their storage, and their scales."""

from __future__ import annotations

import numpy as np

from joulet.container import layout
from joulet.container.read import Container
from joulet.plan.packings.weights import Scales, Weights

_STORAGE_S8 = layout.CODES["Storage"]["S8"]


def weight_values(container: Container, weight: int) -> Weights:
    """Return a weight's int8 values, ``(rows, row_elements)``, from whatever storage it has."""
    entry = container.weights[weight]
    rows, elements, at = int(entry["rows"]), int(entry["row_elements"]), int(entry["offset"])
    if int(entry["storage"]) == _STORAGE_S8:
        return np.frombuffer(container.section("DATA_S8"), np.int8, rows * elements, at).reshape(rows, elements)
    width = (elements + 1) // 2
    nibbles = []
    for plane in ("PLANE_HIGH", "PLANE_LOW"):
        pairs = np.frombuffer(container.section(plane), np.uint8, rows * width, at).reshape(rows, width)
        nibbles.append(np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(rows, 2 * width)[:, :elements])
    values: Weights = (16 * nibbles[0].astype(np.int16) + nibbles[1] - 128).astype(np.int8)
    return values


def weight_scales(container: Container, weight: int) -> Scales:
    """Return the multipliers and shifts of a weight's output channels."""
    entry = container.weights[weight]
    count = int(entry["n_multipliers"])
    multipliers, shifts = (
        np.broadcast_to(np.frombuffer(container.pool, "<i4", count, int(entry[offset])), int(entry["channels"]))
        for offset in ("multiplier_offset", "shift_offset")
    )
    return Scales(multipliers=multipliers, shifts=shifts)
