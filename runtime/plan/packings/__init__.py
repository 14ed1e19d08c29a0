# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which kernels of one instruction set read them: one module for each, beside ``csrc/kernels/<isa>/``.

A packer takes the canonical int8 weights, the op's parameters and the bits, and returns as many bytes as the C side's
``packed_bytes`` says; at 4 bits it keeps the high nibble plane only, u = (q + 128) >> 4. What is read often and never changes,
such as sums of weights, belongs into the packed copy too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.errors import PlanError
from joulet.plan.packings import avx2, avx512vnni, neon

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

Weights = npt.NDArray[np.int8]
Packer = Callable[[Weights, "ConvParams", int], bytes]

PACKERS: Mapping[tuple[str, str], Packer] = {
    ("AVX2", "CONV"): avx2.pack_conv,
    ("AVX2", "FC"): avx2.pack_conv,
    ("AVX2", "DWCONV"): avx2.pack_dwconv,
    ("NEON", "CONV"): neon.pack_conv,
    ("NEON", "FC"): neon.pack_conv,
    ("NEON", "DWCONV"): neon.pack_dwconv,
    ("AVX512VNNI", "CONV"): avx512vnni.pack_conv,
    ("AVX512VNNI", "FC"): avx512vnni.pack_conv,
    ("AVX512VNNI", "DWCONV"): avx512vnni.pack_dwconv,
}


def pack(isa: str, code: str, weights: Weights, params: ConvParams, bits: int) -> bytes:
    """Return one weight's packed copy.

    Parameters
    ----------
    isa
        Name of the instruction set, as in ``layout.CODES["Isa"]``.
    code
        CONV, DWCONV or FC.
    weights : ndarray of int8, shape (rows, row_elements)
        As a container stores them: rows are output channels, one row for DWCONV.
    params
        The op's parameters.
    bits
        8 or 4.

    Raises
    ------
    PlanError
        When there is no packer: a kernel in C without one in Python.
    """
    packer = PACKERS.get((isa, code))
    if packer is None:
        raise PlanError(f"nothing packs weights of {code} for {isa}; kernels.def and runtime/plan/packings disagree")
    return packer(weights, params, bits)


def high_nibbles(weights: Weights) -> npt.NDArray[np.uint8]:
    """Return u = (q + 128) >> 4, what 4 bits keep of int8 weights."""
    return ((weights.astype(np.int16) + 128) >> 4).astype(np.uint8)
