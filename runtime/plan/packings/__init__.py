# SPDX-License-Identifier: Apache-2.0
"""Weights in the order in which kernels of one instruction set read them: the twins of ``csrc/kernels/<isa>/``.

A packer takes the canonical int8 weights, the op's parameters and the bits, and returns as many bytes as the C side's
``packed_bytes`` says; at 4 bits it keeps the high nibble plane only, u = (q + 128) >> 4. What is read often and never changes,
such as sums of weights, belongs into the packed copy too; so may the scales, which are the same at every precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from joulet.errors import PlanError
from joulet.plan.packings import armv6m, armv7em, mve, wide
from joulet.plan.packings.sparse import ELEMENTS, block_presence
from joulet.plan.packings.weights import Scales, Weights, high_nibbles

if TYPE_CHECKING:
    from joulet.plan.steps import ConvParams

Packer = Callable[[Weights, "ConvParams", int, Scales], bytes]

# of CONV, FC and DWCONV
_BY_ISA: Mapping[str, tuple[Packer, Packer, Packer]] = {
    "ARMV6M": (armv6m.pack_conv, armv6m.pack_conv, armv6m.pack_dwconv),
    "ARMV7EM": (armv7em.pack_conv, armv7em.pack_fc, armv7em.pack_dwconv),
    "MVE": (mve.pack_conv, mve.pack_conv, mve.pack_dwconv),
    "AVX2": (  # pairs of products meet in one VPMADDWD
        partial(wide.pack_conv, together=2),
        partial(wide.pack_fc, together=2),
        partial(wide.pack_dwconv, pairs=True),
    ),
    "AVX512VNNI": (  # four in one VPDPBUSD
        partial(wide.pack_conv, together=4, nibbles=False),
        partial(wide.pack_fc, together=4, nibbles=False),
        partial(wide.pack_dwconv, pairs=False),
    ),
    "NEON": (  # four in one SDOT
        partial(wide.pack_conv, together=4, nibbles=False),
        partial(wide.pack_conv, together=4, nibbles=False),
        partial(wide.pack_dwconv, pairs=False),
    ),
}
# Whether one copy can serve both precisions, by the weights' values; of CONV and FC
_SHAREABLE: Mapping[str, Callable[[Weights], bool]] = {"ARMV7EM": armv7em.is_shareable}
PACKERS: Mapping[tuple[str, str], Packer] = {
    (isa, code): packer
    for isa, packers in _BY_ISA.items()
    for code, packer in zip(("CONV", "FC", "DWCONV"), packers, strict=True)
}


class SparsePacker(NamedTuple):
    """How an instruction set's kernels read sparse weights of CONV.

    Attributes
    ----------
    pack
        Makes the copy; None where they cannot read one of these weights.
    rows
        Of a block.
    together
        Blocks that are stored and done at once: the last ones of a few rows are filled up.
    """

    pack: Callable[[Weights, ConvParams, Scales], bytes | None]
    rows: int
    together: int = 1


SPARSE_PACKERS: Mapping[str, SparsePacker] = {
    "ARMV6M": SparsePacker(armv6m.pack_sparse, armv6m.PAIR),
    "ARMV7EM": SparsePacker(armv7em.pack_sparse, armv7em.SPARSE_ROWS),
    "MVE": SparsePacker(mve.pack_sparse, mve.SPARSE_ROWS, mve.SPARSE_BLOCKS),
}
# Whose sums at 4 bits share registers
RUN_ISAS = frozenset({"ARMV6M"})


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
        8, 4, or ``SHARED`` for the copy that serves both.
    scales
        Of the output channels.

    Raises
    ------
    PlanError
        When there is no packer: a kernel in C without one in Python.
    """
    packer = PACKERS.get((isa, code))
    if packer is None:
        raise PlanError(f"nothing packs weights of {code} for {isa}; kernels.def and runtime/plan/packings disagree")
    return packer(weights, params, bits, scales)


def is_shareable(isa: str, weights: Weights) -> bool:
    """Tell whether one packed copy can serve both precisions, for an op whose kernel has such copies (``packed[SHARED]``).

    Parameters
    ----------
    isa, weights
        As :func:`pack` takes them.
    """
    return isa in _SHAREABLE and _SHAREABLE[isa](weights)


def pack_sparse(isa: str, weights: Weights, params: ConvParams, scales: Scales) -> bytes | None:
    """Return the sparse copy of a convolution's weights at 8 bits, None where an instruction set cannot read one of these.

    Raises
    ------
    PlanError
        When there is no packer, as :func:`pack`.
    """
    if isa not in SPARSE_PACKERS:
        raise PlanError(f"nothing packs sparse weights for {isa}; kernels.def and runtime/plan/packings disagree")
    return SPARSE_PACKERS[isa].pack(weights, params, scales)


def stored_share(isa: str, weights: Weights) -> float:
    """Return the share of a convolution's blocks that a sparse copy has, with those that fill up what is done at once.

    Of as many as are done when all are there.
    """
    packer = SPARSE_PACKERS[isa]
    counts = np.maximum(block_presence(weights, packer.rows).sum(axis=1), 1)
    return float((-(-counts // packer.together)).mean() / _turns(packer, weights.shape[1]))


def expected_share(isa: str, elements: int, absent: float) -> float:
    """Return the same for rows of so many elements of which a share of blocks is absent, wherever they are."""
    packer = SPARSE_PACKERS[isa]
    most = _turns(packer, elements)
    turns = ((1 - absent) * (elements // ELEMENTS) + (packer.together - 1) / 2) / packer.together
    return min(max(turns, 1.0), most) / most


def runs_of_a_row(isa: str, weights: Weights) -> int:
    """Return how often a row's sums at 4 bits are taken out of lanes that would overflow, of a set in ``RUN_ISAS``."""
    assert isa in RUN_ISAS
    return _runs(weights.tobytes(), weights.shape[1])


@lru_cache(maxsize=256)
def _runs(weights: bytes, elements: int) -> int:
    run, _ = armv6m.longest_run(high_nibbles(np.frombuffer(weights, np.int8).reshape(-1, elements)))
    return -(-elements // run)


def _turns(packer: SparsePacker, elements: int) -> int:
    return -(-(elements // ELEMENTS) // packer.together)
