# SPDX-License-Identifier: Apache-2.0
"""Weights for Helium; ``csrc/kernels/mve/layout.h`` says how they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.plan.packings.sparse import ELEMENTS, block_presence
from joulet.plan.packings.weights import Scales, Weights, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

BYTES = 16  # of a vector
LANES = 4  # channels of a group
SPARSE_ROWS = 2  # of a block
SPARSE_BLOCKS = BYTES // ELEMENTS  # of a vector


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


def pack_sparse(weights: Weights, params: ConvParams, scales: Scales) -> bytes | None:
    """Return what ``csrc/kernels/mve/sparse.h`` says of weights of CONV at 8 bits.

    Blocks of two rows and four elements are absent where all of their weights are 0.
    """
    channels, elements = weights.shape
    rows = -(-channels // LANES) * LANES
    padded = np.zeros((rows, elements), np.int8)
    padded[:channels] = weights
    blocks = padded.reshape(rows // SPARSE_ROWS, SPARSE_ROWS, -1, ELEMENTS).transpose(0, 2, 1, 3)
    present = block_presence(padded, SPARSE_ROWS)
    sums = bytes(padded.sum(axis=1, dtype="<i4").tobytes())
    return sums + b"".join(_sparse_pair(each, there) for each, there in zip(blocks, present, strict=True))


def _sparse_pair(blocks: npt.NDArray[np.int8], present: npt.NDArray[np.bool_]) -> bytes:
    """Return the vectors of two rows: ``blocks`` are ``(words, 2, 4)``. One is there at least; the last is filled up with zeros."""
    places = np.flatnonzero(present)
    count = max(1, -(-len(places) // SPARSE_BLOCKS))
    where = np.zeros(count * SPARSE_BLOCKS, np.uint8)
    where[: len(places)] = places
    values = np.zeros((len(where), *blocks.shape[1:]), np.int8)
    values[: len(places)] = blocks[places]
    rows = values.reshape(count, SPARSE_BLOCKS, SPARSE_ROWS, ELEMENTS).transpose(0, 2, 1, 3).reshape(count, -1)
    body = np.concatenate((where.reshape(count, SPARSE_BLOCKS), rows.view(np.uint8)), axis=1)
    return bytes([count - 1]) + bytes(body.tobytes())


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
