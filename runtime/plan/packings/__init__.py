# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which kernels of one instruction set read them: one module for each, beside ``csrc/kernels/<isa>/``.

A packer takes the canonical int8 weights, the op's parameters and the bits, and returns as many bytes as the C side's
``packed_bytes`` says; at 4 bits it keeps the high nibble plane only, u = (q + 128) >> 4. What is read often and never changes,
such as sums of weights, belongs into the packed copy too. A packer in ``SCALED_PACKERS`` also gets the multipliers and shifts,
the same at every precision, to lay them beside the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.errors import PlanError
from joulet.plan.packings import armv6m, armv7em, avx2, avx512vnni, mve, neon
from joulet.plan.packings.nibbles import Weights

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Multipliers [q31] and shifts of every output channel, int32, shape (channels,)."""

    multipliers: npt.NDArray[np.int32]
    shifts: npt.NDArray[np.int32]


Packer = Callable[[Weights, "ConvParams", int], bytes]
ScaledPacker = Callable[[Weights, "ConvParams", int, Scales], bytes]

PACKERS: Mapping[tuple[str, str], Packer] = {
    ("ARMV6M", "CONV"): armv6m.pack_conv,
    ("ARMV6M", "DWCONV"): armv6m.pack_dwconv,
    ("ARMV6M", "FC"): armv6m.pack_conv,
    ("MVE", "CONV"): mve.pack_conv,
    ("MVE", "DWCONV"): mve.pack_dwconv,
    ("MVE", "FC"): mve.pack_conv,
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
SCALED_PACKERS: Mapping[tuple[str, str], ScaledPacker] = {
    ("ARMV7EM", "CONV"): armv7em.pack_conv,
    ("ARMV7EM", "FC"): armv7em.pack_fc,
    ("ARMV7EM", "DWCONV"): armv7em.pack_dwconv,
}


def pack(isa: str, code: str, weights: Weights, params: ConvParams, bits: int, scales: Scales) -> bytes:
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
    scales
        Of the output channels.

    Raises
    ------
    PlanError
        When there is no packer: a kernel in C without one in Python.
    """
    scaled = SCALED_PACKERS.get((isa, code))
    if scaled is not None:
        return scaled(weights, params, bits, scales)
    packer = PACKERS.get((isa, code))
    if packer is None:
        raise PlanError(f"nothing packs weights of {code} for {isa}; kernels.def and runtime/plan/packings disagree")
    return packer(weights, params, bits)
