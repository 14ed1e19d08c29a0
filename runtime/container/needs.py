# SPDX-License-Identifier: Apache-2.0
"""What the kernels of an instruction set ask for, op by op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.container.assemble import SectionInfo
from joulet.container.checked import Checked
from joulet.container.read import Container
from joulet.errors import ContainerError, PlanError

SHARED = 12  # in place of bits: one packed copy that serves 8 and 4


@dataclass(frozen=True, slots=True, kw_only=True)
class IsaNeeds:
    """What one op's kernel asks for.

    Attributes
    ----------
    taken
        Whether the instruction set has a kernel for it; else the reference runs.
    kernel
        Place of that kernel in kernels.def, within its instruction set.
    scratch_bytes
        Of that kernel [bytes].
    packed
        Bytes of packed weights by bits, 0 where it reads the canonical ones; by ``SHARED`` those of a copy that serves both, 0
        where there is none.
    takes_sparse
        Whether it has a kernel for a sparse copy at 8 bits, which asks for the same scratch.
    """

    scratch_bytes: int
    packed: Mapping[int, int]
    takes_sparse: bool = False
    taken: bool = False
    kernel: int = 0


def isa_needs(container: Container, isa: int) -> list[IsaNeeds]:
    """Return what each op's kernel of an instruction set asks for, as the C side says.

    Raises
    ------
    PlanError
        For a container that the engine refuses, or an op that cannot be planned.
    """
    checked = Checked(container.data)
    answer = ffi.new("jlt_isa_needs_t *")
    needs = []
    for op in range(len(container.ops)):
        status = lib.jlt_isa_needs(checked.view, isa, op, answer)
        if status or answer.scratch_bytes == 2**32 - 1:
            raise PlanError(f"op {op} cannot be planned for this instruction set (status {status})")
        needs.append(
            IsaNeeds(
                scratch_bytes=int(answer.scratch_bytes),
                packed={
                    8: int(answer.packed_8_bytes),
                    4: int(answer.packed_4_bytes),
                    SHARED: int(answer.packed_shared_bytes),
                },
                taken=bool(answer.taken),
                kernel=int(answer.kernel),
                takes_sparse=bool(answer.takes_sparse),
            )
        )
    return needs


_VERSIONS = (layout.PACKING_VERSION, layout.PACKING_VERSION_SPARSE)
Copies = frozenset[tuple[int, int]]  # packed weights: (weight, bits), (weight, SHARED) or (weight, SPARSE)
SPARSE = -8
"""In place of bits: a copy of the weights at 8 bits without the blocks that are all zeros."""


def copy_read(copies: Copies, weight: int, bits: int) -> int | None:
    """Return which copy a kernel reads at 8 or 4 bits, as ``jlt_choose`` does: by its bits, SPARSE or SHARED; None without any."""
    if bits == 8 and (weight, SPARSE) in copies:
        return SPARSE
    return next((kind for kind in (SHARED, bits) if (weight, kind) in copies), None)


def isa_part(container: Container, isa: str) -> int | None:
    """Return the number of a container's plan part for an instruction set, whatever version packed it; None without one."""
    section = packed_section(container.data, container.sections, isa, any_version=True)
    return None if section is None else section.part


def stored_copies(container: Container, isa: str) -> Copies | None:
    """Return the packed copies in a container's plan part for an instruction set, None without such a part."""
    section = packed_section(container.data, container.sections, isa)
    if section is None:
        return None
    at = section.offset + layout.dtype("Packed").itemsize
    places = np.frombuffer(container.data, "<u4", 2 * len(container.weights), at).reshape(-1, 2)
    found: set[tuple[int, int]] = set()
    for weight, (at_8, at_4) in enumerate(places.tolist()):
        if at_8 == at_4 != layout.NO_OFFSET:
            found.add((weight, SHARED))
            continue
        found.update((weight, bits) for bits, place in ((8, at_8), (4, at_4)) if place != layout.NO_OFFSET)
    return frozenset(found) | frozenset((weight, SPARSE) for weight in sparse_offsets(container, section))


def sparse_offsets(container: Container, packed: SectionInfo) -> dict[int, int]:
    """Return where the sparse copies lie that come with a PACKED section, by weight: from the start of SPARSE [bytes].

    Raises
    ------
    ContainerError
        Where PACKED says that there are some, and SPARSE lacks.
    """
    version = np.frombuffer(container.data, layout.dtype("Packed"), 1, packed.offset)[0]["version"]
    if version != layout.PACKING_VERSION_SPARSE:
        return {}
    section = next((s for s in container.sections if s.name == "SPARSE" and s.part == packed.part and s.present), None)
    head = layout.dtype("Sparse").itemsize
    if section is None or section.size_bytes < head + 4 * len(container.weights):
        raise ContainerError(f"plan part {packed.part} lacks its sparse copies; make the part again: joulet build")
    at = section.offset + head
    offsets = np.frombuffer(container.data, "<u4", len(container.weights), at)
    return {int(weight): int(offsets[weight]) for weight in np.flatnonzero(offsets != layout.NO_OFFSET)}


def packed_section(
    container: bytes, sections: Sequence[SectionInfo], isa: str, *, any_version: bool = False
) -> SectionInfo | None:
    """Return the section of a container that has weights as the kernels of an instruction set read them today.

    None where no part has them; with ``any_version`` those of other days count too.
    """
    code, head = layout.CODES["Isa"][isa], layout.dtype("Packed")
    for section in sections:
        if section.name != "PACKED" or not section.present:
            continue
        packed = np.frombuffer(container, head, 1, section.offset)[0]
        if int(packed["isa"]) == code and (any_version or int(packed["version"]) in _VERSIONS):
            return section
    return None


def wanted_copies(container: Container, needs: Sequence[IsaNeeds]) -> dict[tuple[int, int], int]:
    """Return every packed copy that some kernel would read at some precision, and its bytes, in the order of the ops."""
    wanted: dict[tuple[int, int], int] = {}
    for op, need in enumerate(needs):
        weight = int(container.ops[op]["weight"])
        if weight == layout.NO_INDEX:
            continue
        for bits in (8, 4):
            if bits in bits_of(container, weight) and need.packed[bits]:
                wanted.setdefault((weight, bits), need.packed[bits])
    return wanted


def bits_of(container: Container, weight: int) -> set[int]:
    """Return the integer bits at which some precision reads a weight."""
    layers = container.layers.reshape(len(container.precisions), len(container.weights))
    return {int(bits) for bits in layers["bits"][:, weight] if bits != 32}


def scratch_of(container: Container, needs: Sequence[IsaNeeds], copies: Copies) -> list[int]:
    """Return the scratch of each op [bytes]: the most of the kernels that run it at some precision."""
    reference = isa_needs(container, layout.CODES["Isa"]["REF"])
    most = []
    for op, need in enumerate(needs):
        weight = int(container.ops[op]["weight"])
        reads = [] if weight == layout.NO_INDEX else [(weight, b) for b in bits_of(container, weight) if need.packed[b]]
        missing = [copy for copy in reads if copy_read(copies, *copy) is None]
        own = [] if missing and len(missing) == len(reads) else [need.scratch_bytes]
        most.append(max([*own, *([reference[op].scratch_bytes] if missing else [])]))
    return most
