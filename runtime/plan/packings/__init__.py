# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which kernels of one instruction set read them: one module for each, beside ``csrc/kernels/<isa>/``.

A packer takes the canonical int8 weights, the op's parameters and the bits, and returns as many bytes as the C side's
``packed_bytes`` says; at 4 bits it keeps the high nibble plane only, u = (q + 128) >> 4. What is read often and never changes,
such as sums of weights, belongs into the packed copy too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from joulet.errors import PlanError
from joulet.plan.packings import armv6m, mve
from joulet.plan.packings.nibbles import Weights

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

Packer = Callable[[Weights, "ConvParams", int], bytes]

PACKERS: Mapping[tuple[str, str], Packer] = {
    ("ARMV6M", "CONV"): armv6m.pack_conv,
    ("ARMV6M", "DWCONV"): armv6m.pack_dwconv,
    ("ARMV6M", "FC"): armv6m.pack_conv,
    ("MVE", "CONV"): mve.pack_conv,
    ("MVE", "DWCONV"): mve.pack_dwconv,
    ("MVE", "FC"): mve.pack_conv,
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
