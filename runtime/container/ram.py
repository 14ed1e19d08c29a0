# SPDX-License-Identifier: Apache-2.0
"""Working memory that a container takes on a board: tensors, scratch, and the engine's own state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joulet._core import ffi
from joulet.container.arena_problem import arena_problem
from joulet.container.layout import CODES
from joulet.container.needs import Copies, isa_needs, scratch_of, wanted_copies
from joulet.container.read import Container
from joulet.plan.overlap_arena import plan_overlapping

_STATE = ("jlt_container_t", "jlt_engine_t")
_POINTER_BYTES = 4
_NOT_COUNTED = frozenset({"slow", "slow_bytes", "calls"})  # fields of boards with two memories, and of hosts
_INPUT_ALIGN_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Ram:
    """Bytes of RAM for integer paths.

    Attributes
    ----------
    activation_bytes
        Tensors alone, placed as if no op had scratch.
    arena_bytes
        Tensors and scratch, as the plan part has them.
    scratch_bytes
        Most that an op's kernel asks for; a part of it may lie in the tensors' bytes.
    state_bytes
        The view of the container and the engine, on a 32-bit core.
    """

    activation_bytes: int
    arena_bytes: int
    scratch_bytes: int
    state_bytes: int

    @property
    def total_bytes(self) -> int:
        """Arena and state."""
        return self.arena_bytes + self.state_bytes


def ram_of(container: Container, isa: str, copies: Copies | None = None) -> Ram:
    """Return what the kernels of an instruction set need.

    Parameters
    ----------
    container : Container
        Its plan part, if there is one, is not asked: the arena is planned anew.
    isa : str
        Name as in ``layout.CODES["Isa"]``.
    copies : frozenset, optional
        Packed weights that there are; all that some kernel reads without.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    needs = isa_needs(container, CODES["Isa"][isa])
    scratch = scratch_of(container, needs, frozenset(wanted_copies(container, needs)) if copies is None else copies)
    return Ram(
        activation_bytes=plan_overlapping(*arena_problem(container, [0] * len(scratch))).tensor_bytes,
        arena_bytes=plan_overlapping(*arena_problem(container, scratch)).arena_bytes,
        scratch_bytes=max(scratch),
        state_bytes=sum(_bytes_on_32_bits(name) for name in _STATE),
    )


def input_room_bytes(container: Container) -> int:
    """Return what a firmware sets aside for a sample's inputs beside the arena [bytes]."""
    inputs = container.tensors[container.model["inputs"][: int(container.model["n_inputs"])]]
    total = sum(int(each["elements"]) * (1 if int(each["dtype"]) == CODES["DType"]["S8"] else 4) for each in inputs)
    return -(-total // _INPUT_ALIGN_BYTES) * _INPUT_ALIGN_BYTES


def _bytes_on_32_bits(name: str) -> int:
    """Return the size of a struct where pointers have four bytes: fields at their natural alignment."""
    at, widest = 0, 1
    for field_name, field in ffi.typeof(name).fields:
        if field_name in _NOT_COUNTED:
            continue
        size = _size(field.type)
        at = -(-at // size) * size + size
        widest = max(widest, size)
    return -(-at // widest) * widest


def _size(kind: Any) -> int:
    return _POINTER_BYTES if kind.kind == "pointer" else int(ffi.sizeof(kind))
