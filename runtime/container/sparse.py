# SPDX-License-Identifier: Apache-2.0
"""Sparse copies of weights in a plan part: which there could be, and the section that holds them; FORMAT.md §7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from joulet.container import layout
from joulet.container.arena_problem import conv_params
from joulet.container.needs import SPARSE, Copies, IsaNeeds, bits_of, isa_needs
from joulet.container.pool import record
from joulet.container.read import Container
from joulet.container.values import weight_scales, weight_values
from joulet.plan.packings import pack_sparse

_ALIGN_BYTES = 4


def sparse_copies(container: Container, isa: str, needs: Sequence[IsaNeeds] | None = None) -> dict[int, bytes]:
    """Return the sparse copy of each weight that has absent blocks and a kernel of an instruction set that skips them.

    Parameters
    ----------
    container
        With all of its planes.
    isa
        Name as in ``layout.CODES["Isa"]``.
    needs
        Of its ops, where they are known already.
    """
    found: dict[int, bytes] = {}
    for op, need in enumerate(isa_needs(container, layout.CODES["Isa"][isa]) if needs is None else needs):
        weight = int(container.ops[op]["weight"])
        if not need.takes_sparse or weight in found or 8 not in bits_of(container, weight):
            continue
        values = weight_values(container, weight)
        if values.all():
            continue
        content = pack_sparse(isa, values, conv_params(container, op), weight_scales(container, weight))
        if content is not None:
            found[weight] = content
    return found


def sparse_section(container: Container, copies: Copies, contents: Mapping[int, bytes]) -> bytes | None:
    """Return the content of SPARSE for the sparse ones among ``copies``; None without any."""
    chosen = sorted(weight for weight, bits in copies if bits == SPARSE)
    if not chosen:
        return None
    offsets = np.full(len(container.weights), layout.NO_OFFSET, "<u4")
    head = layout.dtype("Sparse").itemsize + offsets.nbytes
    body = bytearray()
    for weight in chosen:
        offsets[weight] = head + len(body)
        body.extend(contents[weight])
        body.extend(bytes(-len(body) % _ALIGN_BYTES))
    header = record("Sparse", section_bytes=head + len(body), n_weights=len(offsets), reserved=(0, 0))
    return header + offsets.tobytes() + bytes(body)
