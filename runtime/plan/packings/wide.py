# SPDX-License-Identifier: Apache-2.0
"""Weights for SIMD lanes (AVX2, AVX512VNNI, NEON): csrc/kernels/wide/layout.h.

Output channels come in blocks of 16, the last one padded with zeros: 16 sums of weights, then the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

_CHANNELS = 16
_K_PAD = {8: 4, 4: 8}


def pack_conv(weights: npt.NDArray[np.int8], bits: int, together: int) -> bytes:
    """Return a convolution's packed copy.

    Parameters
    ----------
    weights : ndarray of int8, shape (channels, K)
        Canonical weights.
    bits
        8: int8 ``[K / together][16][together]``. 4: ``[K / 8][16][4]`` bytes, u = (q + 128) >> 4 of four k in the low
        nibbles and of the next four in the high ones; sums are of u.
    together
        Products that one instruction adds up at 8 bits, 2 or 4.
    """
    values = weights if bits == 8 else ((weights.astype(np.int16) + 128) >> 4).astype(np.int8)
    channels, k = values.shape
    padded = np.zeros((-(-channels // _CHANNELS) * _CHANNELS, -(-k // _K_PAD[bits]) * _K_PAD[bits]), np.int8)
    padded[:channels, :k] = values
    blocks = padded.reshape(-1, _CHANNELS, padded.shape[1])
    sums = blocks.sum(axis=2, dtype=np.int64).astype("<i4")
    if bits == 8:
        body = blocks.reshape(len(blocks), _CHANNELS, -1, together).transpose(0, 2, 1, 3).view(np.uint8)
    else:
        nibbles = blocks.reshape(len(blocks), _CHANNELS, -1, 2, 4).transpose(3, 0, 2, 1, 4).view(np.uint8)
        body = nibbles[0] | nibbles[1] << 4
    return _with_sums(sums, body)


def pack_dwconv(weights: npt.NDArray[np.int8], params: ConvParams, bits: int, lanes: npt.NDArray[np.intp]) -> bytes:
    """Return a depthwise convolution's packed copy: int16 ``[taps / 2][16][2]``, at 4 bits 16u - 120.

    Parameters
    ----------
    weights : ndarray of int8, shape (1, taps * channels)
        Canonical weights.
    params
        The op's parameters.
    bits
        8 or 4.
    lanes : ndarray of int, shape (16,)
        The order in which the kernel's registers hold the channels of a block.
    """
    taps, channels = params.k_h * params.k_w, params.out_c
    values = weights.reshape(taps, channels).astype(np.int16)
    if bits == 4:
        values = 16 * ((values + 128) >> 4) - 120
    padded = np.zeros((-(-taps // 2) * 2, -(-channels // _CHANNELS) * _CHANNELS), "<i2")
    padded[:taps, :channels] = values
    blocks = padded.reshape(len(padded), -1, _CHANNELS).transpose(1, 0, 2)
    sums = blocks.sum(axis=1, dtype=np.int64).astype("<i4")
    body = blocks[:, :, lanes].reshape(len(blocks), -1, 2, _CHANNELS).transpose(0, 1, 3, 2)
    return _with_sums(sums, np.ascontiguousarray(body).view(np.uint8))


def _with_sums(sums: npt.NDArray[np.int32], body: npt.NDArray[np.uint8]) -> bytes:
    """Put each block's sums before its weights."""
    head = np.ascontiguousarray(sums).view(np.uint8)
    return np.concatenate([head, np.ascontiguousarray(body).reshape(len(head), -1)], axis=1).tobytes()
