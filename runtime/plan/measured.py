# SPDX-License-Identifier: Apache-2.0
"""Costs of a container on a board, by what was measured there where anything was, else by a table or the board's model.

Sessions and policies count in cycles and energy of a cycle. Where energies were measured, a cycle's energy is the mean measured
power over the clock, and the cycles of a path to an exit are its measured energy over that: energies come out as they were
measured, times by as much off as the power of that path differs from the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from joulet.boards import Board
from joulet.container.read import Container
from joulet.errors import UsageError
from joulet.measured import MeasuredCosts, refuse_two_kinds
from joulet.plan.cost import board_costs, cost_table
from joulet.records import CostTable, StepCost

_Row = tuple[StepCost | None, ...]


def measured_on(container: Container, board: Board) -> MeasuredCosts | None:
    """Return what was measured of a container on a board: what the container holds, else what the board's file does.

    Raises
    ------
    UsageError
        If one holds measured costs and the other simulated ones.
    """
    inside = next((costs for costs in container.measured if costs.board == board.name), None)
    beside = next((costs for costs in board.measured if costs.model_hash == container.model_hash.hex()), None)
    if inside is not None and beside is not None:
        refuse_two_kinds(beside.kind, inside.kind, f"the file of board '{board.name}'")
    return inside or beside


def priced(container: Container, board: Board) -> tuple[CostTable, Board]:
    """Return what a container costs on a board, and the board with the energy of a cycle that goes with it.

    Raises
    ------
    UsageError
        As :func:`measured_on`.
    """
    # a table that travels with the model wins over one made now
    costs = next((each for each in container.boards if each.name == board.name), None) or board_costs(container, board)
    table, measured = cost_table(container, costs), measured_on(container, board)
    return (table, board) if measured is None else apply(container, table, board, measured)


def apply(container: Container, table: CostTable, board: Board, measured: MeasuredCosts) -> tuple[CostTable, Board]:
    """Return a cost table with measured energies in place of its own, and the board to go with it.

    Raises
    ------
    UsageError
        If rows name paths or exits that the container does not have.
    """
    for row in measured.exits:
        if row.path not in table.path_names or row.exit not in table.exit_names:
            raise UsageError(
                f"costs measured on board '{measured.board}' name {row.path} to {row.exit}, which the container does not have; "
                "profile it again (joulet profile --replace)"
            )
    pj = max(1, round(1e12 * measured.power_w / board.load.clock_hz))
    known = {(row.path, row.exit): row.energy_j.mean for row in measured.exits}
    steps = []
    for index, path in enumerate(table.path_names):
        # energies of what was not measured stay as they were
        modelled = [_cycles(step) * board.load.energy_pj_per_cycle / pj for step in table.steps[index][0]]
        exits = [
            known[path, exit] * 1e12 / pj if (path, exit) in known else modelled[k]
            for k, exit in enumerate(table.exit_names)
        ]
        heads = _measured_heads(container, measured, table.prefixes[index], pj)
        steps.append(_rows(table.steps[index], exits, heads))
    left = [path for path in table.path_names if any((path, exit) not in known for exit in table.exit_names)]
    source = measured.provenance + (f"; of {', '.join(left)} not all exits: the rest is modelled" if left else "")
    new = replace(
        board,
        load=replace(board.load, energy_pj_per_cycle=pj),
        provenance={
            **board.provenance,
            "pj_per_cycle": source,
            "cycles": f"energies of paths over that of a cycle; {source}",
        },
    )
    return replace(table, steps=tuple(steps)), new


def _cycles(step: StepCost | None) -> int:
    assert step is not None
    return step.cycles


def _measured_heads(
    container: Container, measured: MeasuredCosts, prefix: tuple[int, ...], pj: int
) -> Mapping[int, float]:
    """Return cycles of each exit's own ops, where all of them were measured at the path's precision."""
    found = {(step.precision, step.op): step.energy_j.mean for step in measured.steps}
    heads = {}
    for exit, precision in enumerate(prefix):
        ops = np.flatnonzero(container.ops["exit"] == exit)
        keys = [(container.precision_names[precision], int(op)) for op in ops]
        if keys and all(key in found for key in keys):
            heads[exit] = sum(found[key] for key in keys) * 1e12 / pj
    return heads


def _rows(steps: tuple[_Row, ...], exits: list[float], heads: Mapping[int, float]) -> tuple[_Row, ...]:
    """Return steps from every exit: what lies between two is the difference of their energies, less the first one's head."""
    rows = []
    for start, row in enumerate(steps):
        passed = 0.0
        if start > 0 and any(step is not None for step in row):
            before = start - 1
            last = _cycles(steps[0][-1]) - _cycles(row[-1])  # the backbone up to the exit, as modelled
            share = 1.0 - last / _cycles(steps[0][before])
            passed = exits[before] - heads.get(before, share * exits[before])
        rows.append(
            tuple(
                None if step is None else replace(step, cycles=max(1, round(exits[k] - passed)))
                for k, step in enumerate(row)
            )
        )
    return tuple(rows)
