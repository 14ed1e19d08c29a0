# SPDX-License-Identifier: Apache-2.0
"""The band groups of a container's plan part, for people: what they hold, copy and call."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.container import layout
from joulet.container.checked import Checked
from joulet.container.isa_plan import band_groups
from joulet.container.read import Container
from joulet.plan.bands import walk_group

_CODES = {code: name for name, code in layout.CODES["OpCode"].items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """One group.

    Attributes
    ----------
    first_op, last_op
        Indices into OPS.
    ops
        Names as in ``layout.CODES["OpCode"]``.
    rows
        For each op, rows of its output that the arena holds; for the last one, rows in a band.
    room_bytes, whole_bytes
        Of the output of each op but the last: what these rows take, and what it would take whole [bytes].
    moved_bytes
        Copied inside the arena during one inference [bytes].
    calls
        Of kernels during one inference.
    """

    first_op: int
    last_op: int
    ops: tuple[str, ...]
    rows: tuple[int, ...]
    room_bytes: tuple[int, ...]
    whole_bytes: tuple[int, ...]
    moved_bytes: int
    calls: int


def walked_groups(container: bytes, isa: str) -> list[GroupView]:
    """Return the groups of the plan part for an instruction set.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For a container that the engine refuses.
    """
    groups = band_groups(container, isa)
    if not groups:
        return []
    decoded, checked = Container.from_bytes(container), Checked(container)
    views = []
    for first, rows in groups:
        walked = walk_group(checked.view, first, rows)
        members = decoded.ops[first : first + len(rows)]
        views.append(
            GroupView(
                first_op=first,
                last_op=walked.last,
                ops=tuple(_CODES[int(op["code"])] for op in members),
                rows=walked.rows,
                room_bytes=walked.room_bytes,
                whole_bytes=tuple(int(decoded.tensors[int(op["output"])]["elements"]) for op in members[:-1]),
                moved_bytes=walked.moved_bytes,
                calls=walked.calls,
            )
        )
    return views
