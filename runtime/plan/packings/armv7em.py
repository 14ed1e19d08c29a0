# SPDX-License-Identifier: Apache-2.0
"""Packed weights of Cortex-M4, M7 and M33: the layouts at the heads of ``csrc/kernels/armv7em/*.c``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from joulet.container.needs import SHARED
from joulet.plan.packings.sparse import block_presence, block_skips
from joulet.plan.packings.weights import Scales, Weights, high_nibbles, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

_FIRST, _SECOND = [0, 2], [1, 3]  # elements of a group of four that share a register
_MOST_ACTIVATION = 255  # |x - zero point|
_SUM_LIMIT = 2**23
_BYTES_LIMIT = 4096  # weights of a convolution
SPARSE_ROWS = 2  # of a block
_TURN = 4  # groups
_MOST_SKIPPED = 254  # four of 255 would be the end
_SPARSE_END = b"\xff" * 4
_LOW_LANES = 2  # of four channels, those whose row 2 lies in the low half of its word


def pack_conv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Return every two rows' words, group by group, and then their scales; few weights of 4 bits keep a byte each."""
    rows = _grouped(weights, params.k_h, bits, 2)  # (blocks, 2, groups, 4)
    if bits == SHARED:
        return _head(False) + _with_scales(_words_of_two(_without_sign(rows)), scales, 2)
    if bits == 4 and rows.shape[2] * 4 * params.out_c <= _BYTES_LIMIT:
        return pack_conv(values_at(weights, 4), params, 8, scales)
    stacked = bits == 8 and _stack(rows)
    if bits == 8:
        words = _words_of_two(rows)
    else:
        lanes = _lanes([rows[:, row][:, :, elements] for elements in (_FIRST, _SECOND) for row in (0, 1)])
        words = lanes.view(np.uint8)
    return _head(stacked) + _with_scales(words, scales, 2)


def pack_fc(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Return every four rows' words, group by group, and then their scales; several vectors are a convolution."""
    if params.n * params.out_h * params.out_w != 1:
        return pack_conv(weights, params, bits, scales)
    rows = _grouped(weights, 1, bits, 4)
    if bits == SHARED:
        return _head(False) + _with_scales(_words_of_four(_without_sign(rows)), scales, 4)
    stacked = bits == 8 and _stack(rows)
    if bits == 8:
        words = _words_of_four(rows)
    else:
        rows[:, 3] ^= 8  # the highest nibble of a lane is signed
        each = [_lanes([rows[:, row][:, :, elements] for row in range(4)]) for elements in (_FIRST, _SECOND)]
        words = np.stack(each, axis=2).view(np.uint8)
    return _head(stacked) + _with_scales(words, scales, 4)


def pack_sparse(weights: Weights, params: ConvParams, scales: Scales) -> bytes | None:
    """Return what ``csrc/kernels/armv7em/sparse.h`` says of weights of CONV at 8 bits; None where two rows cannot be stacked.

    Blocks of two rows and four elements are absent where all of their weights are 0.
    """
    rows = _grouped(weights, params.k_h, 8, 2)  # (pairs, 2, groups, 4)
    present = block_presence(weights, SPARSE_ROWS)
    if not _stack(rows):
        return None
    words = np.stack([_bytes_of_pair(rows, _FIRST), _bytes_of_pair(rows, _SECOND)], axis=2)  # (pairs, groups, 2, 4)
    ends = _scales_of(scales, 2)
    return b"".join(
        _sparse_pair(each, there) + end.tobytes() for each, there, end in zip(words, present, ends, strict=True)
    )


def _sparse_pair(words: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_]) -> bytes:
    """Return the turns of two rows: ``words`` are ``(groups, 2, 4)``."""
    skips, groups = block_skips(present, _MOST_SKIPPED)
    missing = -len(groups) % _TURN
    counts = np.concatenate([np.zeros(missing, np.uint8), skips]).reshape(-1, _TURN)
    body = np.concatenate([np.zeros((missing, 8), np.uint8), words.reshape(len(words), 8)[groups]])
    turns = np.concatenate([counts, body.reshape(len(counts), -1)], axis=1)
    return missing.to_bytes(4, "little") + turns.tobytes() + _SPARSE_END


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
    """Return every channel's six words, two for a kernel column, and its scale."""
    taps = values_at(weights, bits).reshape(3, 3, params.out_c)
    lanes = np.zeros((params.out_c, 3, 4), "<i2")
    whole = params.out_c - params.out_c % 4
    for channel in range(params.out_c):
        lane = channel % 4 if channel < whole else channel - (params.out_c - 4)
        places = (0, 1, 2) if lane < _LOW_LANES else (2, 3, 1)  # of kernel rows 0, 1, 2
        lanes[channel][:, places] = taps[:, :, channel].T
    return _with_scales(lanes.view(np.uint8), scales, 1)


def is_shareable(weights: Weights) -> bool:
    """Tell whether all rows leave their sums the room that a second one has, at 8 bits and at 4."""
    at_8 = weights.astype(np.int32)
    return all(np.abs(each).sum(axis=1).max() * _MOST_ACTIVATION < _SUM_LIMIT for each in (at_8, at_8 & ~15))


def _without_sign(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return rows with q + 128 in place of q in the even ones, that of what fills them up too."""
    flips = np.array([128, 0] * (rows.shape[1] // 2), np.uint8)
    stored: npt.NDArray[np.uint8] = rows ^ flips[:, np.newaxis, np.newaxis]
    return stored


def _stack(rows: npt.NDArray[np.uint8]) -> bool:
    """Make the bytes of odd rows the high ones of 256 * odd + even, where lanes and sums have the room for it."""
    values = rows.view(np.int8)
    even, odd = values[:, 0::2].astype(np.int32), values[:, 1::2].astype(np.int32)
    lanes = 256 * odd + even
    if lanes.min() < -(2**15) or np.abs(odd).sum(axis=(2, 3)).max() * _MOST_ACTIVATION >= _SUM_LIMIT:
        return False
    rows[:, 1::2] = (lanes >> 8).astype(np.uint8)
    return True


def _head(stacked: bool) -> bytes:
    return int(stacked).to_bytes(4, "little")


def _grouped(weights: Weights, kernel_rows: int, bits: int, block: int) -> npt.NDArray[np.uint8]:
    """Return ``(blocks, block, groups, 4)``: bytes of int8, or nibbles; what fills up is 0.

    Every kernel row begins a group, but where they have one element each left over: the last group has them all then.
    """
    values = high_nibbles(weights) if bits == 4 else weights.view(np.uint8)
    rows = values.reshape(len(weights), kernel_rows, -1)
    left = rows.shape[2] % 4
    if left == 1 and 1 < kernel_rows <= 4:
        whole = rows.shape[2] - left
        ends = rows[:, :, whole:].reshape(len(rows), -1)
        rows = np.concatenate([rows[:, :, :whole].reshape(len(rows), -1), ends], axis=1)[:, np.newaxis]
    padded = _fill_up(np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % 4))), block)
    return padded.reshape(len(padded) // block, block, -1, 4)


def _bytes_of_pair(rows: npt.NDArray[np.uint8], elements: list[int]) -> npt.NDArray[np.uint8]:
    """Return ``(blocks, groups, 4)``: for two elements, the first row's and the second's."""
    pair = rows[:, :, :, elements]  # (blocks, 2, groups, 2)
    return np.ascontiguousarray(pair.transpose(0, 2, 3, 1)).reshape(pair.shape[0], pair.shape[2], 4)


def _words_of_two(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.stack([_bytes_of_pair(rows, _FIRST), _bytes_of_pair(rows, _SECOND)], axis=2)


def _words_of_four(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    pairs = [_bytes_of_pair(rows[:, two], each) for two in (slice(0, 2), slice(2, 4)) for each in (_FIRST, _SECOND)]
    return np.stack(pairs, axis=2)


def _lanes(nibbles: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint16]:
    """Return ``(blocks, groups, 2)``: four nibbles, lowest first, in each of two lanes."""
    lanes = np.zeros(nibbles[0].shape, "<u2")
    for place, values in enumerate(nibbles):
        lanes |= values.astype(np.uint16) << (4 * place)
    return lanes


def _with_scales(words: npt.NDArray[np.uint8], scales: Scales, block: int) -> bytes:
    """Put each block's scales behind its words: twice the multiplier less 2^32, and -2^(32 - right shift).

    Both are 0 where they are no int32, and for a multiplier of 0.
    """
    filled = _scales_of(scales, block)
    blocks = words.reshape(len(filled), -1)
    return np.concatenate([blocks, filled.view(np.uint8)], axis=1).tobytes()


def _scales_of(scales: Scales, block: int) -> npt.NDArray[np.int32]:
    """Return each block's scales, ``(blocks, 2 * block)``."""
    ordinary = (scales.multipliers >= 1 << 30) & (scales.shifts >= -31) & (scales.shifts <= -1)
    pairs = [
        (2 * multiplier - (1 << 32), -(1 << 32 + shift)) if is_ordinary else (0, 0)
        for multiplier, shift, is_ordinary in zip(
            scales.multipliers.tolist(), scales.shifts.tolist(), ordinary, strict=True
        )
    ]
    return _fill_up(np.array(pairs, "<i4"), block).reshape(-1, 2 * block)


def _fill_up(rows: npt.NDArray[Any], block: int) -> npt.NDArray[Any]:
    """Append rows of 0 up to whole blocks; of two rows the single last one is the second."""
    missing = -len(rows) % block
    filled = np.pad(rows, ((0, missing), *[(0, 0)] * (rows.ndim - 1)))
    if block == 2 and missing:
        filled[-2:] = filled[[-1, -2]]
    return filled
