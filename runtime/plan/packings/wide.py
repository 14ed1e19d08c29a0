# SPDX-License-Identifier: Apache-2.0
"""Weights for SIMD lanes (AVX2, AVX512VNNI, NEON): csrc/kernels/wide/layout.h.

Output channels come in blocks of 16, the last one padded with zeros: 16 sums of weights, then the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.plan.packings.weights import Scales, Weights, high_nibbles, values_at

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

_CHANNELS = 16
_ALIGN_BYTES = 64
_LONG_ROW = 64
_ROWS = 4  # of a column, side by side
_UNPACKED = np.array([0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15])


def pack_conv(
    weights: Weights, params: ConvParams, bits: int, scales: Scales, *, together: int, nibbles: bool = True
) -> bytes:
    """Return a convolution's packed copy.

    Parameters
    ----------
    weights : ndarray of int8, shape (channels, k_h * k_w * in_c)
        Canonical weights.
    params
        The op's parameters.
    bits
        8: int8 ``[R / together][16][together]`` a row of the window, ``[8]`` where there are eight channels in all.
        4: ``[R / 8][16][4]`` bytes, u = (q + 128) >> 4 of four elements in the low nibbles and of the next four in the high
        ones; sums are of u. Rows of less than 64 are kept as at 8 bits, 16u - 120.
    scales
        Not packed.
    together
        Products that one instruction adds up at 8 bits, 2 or 4.
    nibbles
        Without, all rows at 4 bits are bytes.
    """
    channels, row = len(weights), params.k_w * params.in_c
    if bits == 4 and nibbles and row >= _LONG_ROW:
        values = high_nibbles(weights).view(np.int8)
    else:
        values, bits = values_at(weights, bits), 8
    block = 8 if bits == 8 and channels == 8 else _CHANNELS
    order = _UNPACKED if together == 2 and block == _CHANNELS else np.arange(block)
    return _packed(values.reshape(channels, params.k_h, row), block, order, together if bits == 8 else None)


def pack_fc(
    weights: Weights, params: ConvParams, bits: int, scales: Scales, *, together: int, nibbles: bool = True
) -> bytes:
    """Return the packed copy of a matrix that meets one vector; several vectors are a convolution.

    A line of 64 bytes, the first of which is 1 where an int8 weight is -128, then blocks of 16 channels as :func:`pack_conv`
    lays them out, but for int8 always four elements side by side; long rows at 4 bits are nibbles. ``together`` and ``nibbles``
    are those of the instruction set's convolution.
    """
    if params.n * params.out_h * params.out_w != 1:
        return pack_conv(weights, params, bits, scales, together=together, nibbles=nibbles)
    is_int8 = bits == 8 or params.in_c < _LONG_ROW
    values = values_at(weights, bits) if is_int8 else high_nibbles(weights).view(np.int8)
    order = _UNPACKED if together == 2 else np.arange(_CHANNELS)
    line = np.zeros(_ALIGN_BYTES, np.uint8)
    line[0] = is_int8 and bool((values == -128).any())
    return line.tobytes() + _packed(values[:, np.newaxis], _CHANNELS, order, 4 if is_int8 else None)


def pack_dwconv(weights: Weights, params: ConvParams, bits: int, scales: Scales, *, pairs: bool) -> bytes:
    """Return a depthwise convolution's packed copy: column by column four rows side by side, at 4 bits 16u - 120.

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
    pairs
        Whether rows meet in pairs, int16 ``[rows / 4][2][16][2]``, the channels as AVX2's unpacking leaves them in two registers;
        otherwise all four of a channel, int8 ``[rows / 4][16][4]``.
    """
    rows, columns, channels = params.k_h, params.k_w, params.out_c
    values = values_at(weights, bits).reshape(rows, columns, channels)
    if channels == 8:  # of two pixels
        values, channels = np.tile(values, (1, 1, 2)), _CHANNELS
    padded = np.zeros((-(-rows // _ROWS) * _ROWS, columns, -(-channels // _CHANNELS) * _CHANNELS), np.int8)
    padded[:rows, :, :channels] = values
    grouped = padded.reshape(-1, _ROWS, columns, padded.shape[2] // _CHANNELS, _CHANNELS)
    body = grouped.transpose(3, 2, 0, 4, 1)  # block, column, group, channel, row
    sums = body.sum(axis=(1, 2, 4), dtype=np.int64).astype("<i4")
    if pairs:
        halves = body[:, :, :, _UNPACKED].reshape(*body.shape[:4], 2, 2).astype("<i2")
        body = halves.transpose(0, 1, 2, 4, 3, 5)  # block, column, group, pair, channel, row
    return _with_sums(sums, np.ascontiguousarray(body).view(np.uint8))


def _packed(values: Weights, block: int, order: npt.NDArray[np.int64], together: int | None) -> bytes:
    """Return ``(channels, k_h, elements)`` in blocks of channels, put into ``order``, each behind the sums of its weights.

    ``together`` int8 of a channel lie side by side; None: values are nibbles, eight a step.
    """
    channels, k_h, row = values.shape
    step = together or 8
    padded = np.zeros((-(-channels // block) * block, k_h, -(-row // step) * step), np.int8)
    padded[:channels, :, :row] = values
    blocks = padded.reshape(len(padded) // block, block, -1)
    sums = np.tile(blocks.sum(axis=2, dtype=np.int64).astype("<i4"), (1, _CHANNELS // block))
    ordered = blocks[:, order]
    if together:
        body = ordered.reshape(len(blocks), block, -1, together).transpose(0, 2, 1, 3).reshape(len(blocks), -1)
    else:
        nibbles = ordered.reshape(len(blocks), block, -1, 2, 4).transpose(3, 0, 2, 1, 4)
        body = (nibbles[0] | nibbles[1] << 4).reshape(len(blocks), -1)
    whole = np.zeros((len(blocks), -(-body.shape[1] // _ALIGN_BYTES) * _ALIGN_BYTES), np.int8)
    whole[:, : body.shape[1]] = body
    return _with_sums(sums, whole.view(np.uint8))


def _with_sums(sums: npt.NDArray[np.int32], body: npt.NDArray[np.uint8]) -> bytes:
    """Put each block's sums before its weights."""
    head = np.ascontiguousarray(sums).view(np.uint8)
    return np.concatenate([head, np.ascontiguousarray(body).reshape(len(head), -1)], axis=1).tobytes()
