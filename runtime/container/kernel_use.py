# SPDX-License-Identifier: Apache-2.0
"""Which ops and kernels a container needs on a board: what a firmware made for it alone has to hold."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.container import layout
from joulet.container.isa_plan import band_groups
from joulet.container.needs import SHARED, SPARSE, Copies, IsaNeeds, bits_of, copy_read, isa_needs, stored_copies
from joulet.container.read import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUse:
    """A selection of kernels, as csrc/kernels/selection.h has it.

    ``ops`` has a bit for each OpCode, ``reference`` one for those that the reference kernel runs, ``isa`` one for each kernel of
    the instruction set, in the order of kernels.def; ``bands`` says whether ops run in bands, ``shared`` whether some packed
    copy serves both precisions, ``sparse`` whether some lacks the blocks that are all zeros.
    """

    ops: int
    reference: int
    isa: int
    bands: bool = False
    shared: bool = False
    sparse: bool = False

    @property
    def op_names(self) -> tuple[str, ...]:
        """Names of the ops, in the order of their codes."""
        return tuple(name for name, code in layout.CODES["OpCode"].items() if self.ops >> code & 1)


def kernel_use(container: bytes, isa: str) -> KernelUse:
    """Return what all paths of integers of a container need, heads included.

    Parameters
    ----------
    container : bytes
        A .jlt container, with the plan part that the board will use.
    isa : str
        Instruction set that the firmware is built for, as in ``layout.CODES["Isa"]``; REF: reference kernels alone.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For a container that the engine refuses.
    """
    decoded = Container.from_bytes(container)
    copies = None if isa == "REF" else stored_copies(decoded, isa)
    needs = None if copies is None else isa_needs(decoded, layout.CODES["Isa"][isa])
    ops = reference = kernels = 0
    for index, op in enumerate(decoded.ops):
        bit = 1 << int(op["code"])
        ops |= bit
        runs = {False} if needs is None else _runs(decoded, int(op["weight"]), needs[index], copies)
        if False in runs:
            reference |= bit
        if needs is not None and True in runs:
            kernels |= 1 << needs[index].kernel
    return KernelUse(
        ops=ops,
        reference=reference,
        isa=kernels,
        bands=isa != "REF" and bool(band_groups(container, isa)),
        shared=any(bits == SHARED for _, bits in copies or ()),
        sparse=any(bits == SPARSE for _, bits in copies or ()),
    )


def _runs(container: Container, weight: int, need: IsaNeeds, copies: Copies | None) -> set[bool]:
    """Tell whether the kernel of the instruction set runs an op (True) or the reference (False): both, where bits differ.

    Where a sparse copy is read it is neither.
    """
    if not need.taken:
        return {False}
    if weight == layout.NO_INDEX:
        return {True}
    assert copies is not None  # without a plan part nothing is taken
    read = {bits: copy_read(copies, weight, bits) for bits in bits_of(container, weight)}
    return {need.packed[bits] == 0 or copy is not None for bits, copy in read.items() if copy != SPARSE}
