# SPDX-License-Identifier: Apache-2.0
"""What the kernels of an instruction set ask for, op by op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulet._core import ffi, lib
from joulet.container.checked import Checked
from joulet.container.read import Container
from joulet.errors import PlanError


@dataclass(frozen=True, slots=True, kw_only=True)
class IsaNeeds:
    """What one op's kernel asks for.

    Attributes
    ----------
    taken
        Whether the instruction set has a kernel for it; else the reference runs.
    scratch_bytes
        Of that kernel [bytes].
    packed
        Bytes of packed weights by bits, 0 where it reads the canonical ones.
    """

    scratch_bytes: int
    packed: Mapping[int, int]
    taken: bool = False


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
                packed={8: int(answer.packed_8_bytes), 4: int(answer.packed_4_bytes)},
                taken=bool(answer.taken),
            )
        )
    return needs
