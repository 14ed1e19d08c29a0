# SPDX-License-Identifier: Apache-2.0
"""Weights for cores without SIMD; ``csrc/kernels/armv6m/layout.h`` says how they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.plan.packings.sparse import ELEMENTS, block_presence, block_skips
from joulet.plan.packings.weights import Scales, Weights, high_nibbles, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

PAIR = 2
ROWS = 8
_MOST_SKIPPED = 255  # between two blocks of a sparse copy
_MOST_BLOCKS = 2**16 - 1  # of a pair in it
LANE = (2**16 - 1) // 255  # the most that nibbles may add up to in a run: each meets a byte
MOST_RUN = 512  # more would need weights that are nearly all one end of their range


def pack_conv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of CONV and FC, ``(rows, row_elements)``: by pairs of rows, or by eight for a matrix times a vector."""
    one_pixel = params.n == params.out_h == params.out_w == 1
    block = ROWS if one_pixel else PAIR
    sums = np.zeros(-(-weights.shape[0] // block) * block, "<i4")
    sums[: weights.shape[0]] = values_at(weights, bits).sum(axis=1, dtype=np.int32)
    codes = high_nibbles(weights) if bits == 4 else (weights.astype(np.int16) + 128).astype(np.uint8)
    run = 0
    if bits == 4:
        run, turned = longest_run(codes)
        codes[turned] = 15 - codes[turned]
        sums[: weights.shape[0]] |= turned
    padded = np.zeros((len(sums), -(-weights.shape[1] // 4) * 4), np.uint8)
    padded[: codes.shape[0], : codes.shape[1]] = codes
    blocks = padded.reshape(-1, block, padded.shape[1]).transpose(0, 2, 1)  # (blocks, k, block)
    head: bytes = np.array([run], "<u4").tobytes() + sums.tobytes()
    if bits == 8:
        body: bytes = blocks.tobytes()
    elif one_pixel:
        body = _words(blocks).tobytes()
    else:
        body = (blocks[..., 0] | blocks[..., 1] << 4).tobytes()
    return head + body


def longest_run(codes: npt.NDArray[np.uint8]) -> tuple[int, npt.NDArray[np.bool_]]:
    """Return the longest run that fits lanes of 16 bits, and which rows are to be turned to 15 − u for it."""
    longest = -(-codes.shape[1] // 4) * 4
    for run in range(min(longest, MOST_RUN), 16, -4):
        starts = np.arange(0, codes.shape[1], run)
        sums = np.add.reduceat(codes.astype(np.int64), starts, axis=1).max(axis=1)
        others = np.add.reduceat(15 - codes.astype(np.int64), starts, axis=1).max(axis=1)
        turned = sums > LANE
        if not (turned & (others > LANE)).any():
            return run, turned
    return 16, np.zeros(len(codes), np.bool_)


def pack_sparse(weights: Weights, params: ConvParams, scales: Scales) -> bytes | None:
    """Return what ``csrc/kernels/armv6m/sparse.h`` says of weights of CONV at 8 bits; None where there are too many.

    Blocks of two rows and four elements are absent where all of their weights are 0.
    """
    channels, elements = weights.shape
    blocks = weights.reshape(channels // PAIR, PAIR, elements // ELEMENTS, ELEMENTS).transpose(0, 2, 3, 1)
    found = [weights.sum(axis=1, dtype="<i4").tobytes()]
    for pair, present in zip(blocks, block_presence(weights, PAIR), strict=True):
        skips, stored = block_skips(present, _MOST_SKIPPED)
        if len(stored) > _MOST_BLOCKS:
            return None
        bodies = pair[stored].reshape(len(stored), PAIR * ELEMENTS).view(np.uint8)
        found += [len(stored).to_bytes(2, "little"), np.concatenate([skips[:, None], bodies], axis=1).tobytes()]
    return b"".join(found)


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Pack weights of DWCONV, ``(1, k_h · k_w · channels)``: channel by channel, as int8 at either precision."""
    values = values_at(weights, bits).reshape(-1, params.out_c)
    return b"".join((values.sum(axis=0, dtype="<i4").tobytes(), values.T.tobytes()))


def _words(blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return ``(blocks, k, 8)`` nibbles as ``(blocks, k / 4, 4)`` words: four k of two rows each."""
    pairs = blocks.reshape(blocks.shape[0], -1, 4, 4, 2).astype(np.uint32)  # (blocks, k / 4, j, word, half)
    shifts = np.arange(4, dtype=np.uint32)[:, None, None] * 4 + np.arange(2, dtype=np.uint32) * 16
    words: npt.NDArray[np.uint32] = np.bitwise_or.reduce(np.bitwise_or.reduce(pairs << shifts, axis=4), axis=2).astype(
        "<u4"
    )
    return words
