# SPDX-License-Identifier: Apache-2.0
"""Plan parts of a container that exists already: added without touching the canonical part or its hash."""

from __future__ import annotations

import numpy as np

from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.measured import measured_section
from joulet.container.nvm_plan import NvmPlan, nvm_section
from joulet.container.pool import record
from joulet.container.read import Container
from joulet.errors import PlanError
from joulet.measured import MeasuredCosts
from joulet.records import BoardCosts

_OF_BOARD = ("BOARD", "NVM", "MEASURED")  # sections that begin with the name of a board


def board_section(board: BoardCosts, n_precisions: int, n_ops: int) -> bytes:
    """Return the content of a BOARD section.

    Raises
    ------
    PlanError
        For a cost table of another size, or a name that does not fit.
    """
    cycles = np.asarray(board.cycles, np.int64)
    if cycles.shape != (n_precisions, n_ops) or cycles.min() < 0 or cycles.max() >= 2**32:
        raise PlanError(
            f"board {board.name!r}: cycles are {cycles.shape}, not {(n_precisions, n_ops)} (precisions, ops) of 32 bits"
        )
    name = board.name.encode("ascii", "replace")
    if len(name) > 31:
        raise PlanError(f"board {board.name!r}: the name is longer than 31 characters")
    header = record(
        "Board",
        name=tuple(name.ljust(32, b"\0")),
        clock_hz=board.clock_hz,
        energy_pj_per_cycle=board.energy_pj_per_cycle,
        n_precisions=n_precisions,
        n_ops=n_ops,
    )
    return header + cycles.astype("<u4").tobytes()


def with_board(container: bytes, board: BoardCosts) -> bytes:
    """Return the container with a board's cost table as a plan part; one of the same board is replaced.

    A container without its low planes is returned as it is: what it lacks cannot be laid out again.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For a cost table of the wrong size.
    """
    decoded = Container.from_bytes(container)
    return _with_section(container, "BOARD", board_section(board, len(decoded.precisions), len(decoded.ops)))


def with_nvm_plan(container: bytes, plan: NvmPlan) -> bytes:
    """Return the container with a board's plan for power cuts as a plan part; one of the same board is replaced.

    A container without its low planes is returned as it is: what it lacks cannot be laid out again.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For a plan of another model.
    """
    return _with_section(container, "NVM", nvm_section(plan, len(Container.from_bytes(container).tensors)))


def with_measured(container: bytes, costs: MeasuredCosts) -> bytes:
    """Return the container with a board's measured costs as a plan part; those of the same board are replaced.

    A container without its low planes is returned as it is: what it lacks cannot be laid out again.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For costs of another model.
    """
    if costs.model_hash != Container.from_bytes(container).model_hash.hex():
        raise PlanError(f"costs were measured on model {costs.model_hash[:16]}, the container is of another one")
    return _with_section(container, "MEASURED", measured_section(costs))


def without_measured(container: bytes) -> bytes:
    """Return the container without measured costs, which no board reads.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    table = read_table(container)
    if not all(section.present for section in table.sections) or not any(s.name == "MEASURED" for s in table.sections):
        return container
    kept = [
        PartSection(section.name, container[section.offset : section.offset + section.size_bytes], section.part)
        for section in table.sections
        if section.name != "MEASURED"
    ]
    return assemble(kept)


def _with_section(container: bytes, code: str, content: bytes) -> bytes:
    """Add a section that begins with a board's name, in that board's part where there is one."""
    table = read_table(container)
    if not all(section.present for section in table.sections):
        return container
    name = content[: layout.dtype("Board")["name"].itemsize]
    kept, part = [], None
    for section in table.sections:
        data = container[section.offset : section.offset + section.size_bytes]
        of_board = section.name in _OF_BOARD and data.startswith(name)
        if of_board and section.name != code:
            part = section.part
        if not (of_board and section.name == code):
            kept.append(PartSection(section.name, data, section.part))
    if part is None or any(each.name == code and each.part == part for each in kept):
        part = 1 + max(each.part for each in kept)
    return assemble([*kept, PartSection(code, content, part)])
