# SPDX-License-Identifier: Apache-2.0
"""What a container costs on a board: cycles of each op at each precision, and of each step along each path.

The model is linear in counts of work (:mod:`joulet.plan.work`) for each kernel and each way of reading weights
(:class:`joulet.boards.CycleModel`). Which kernel an op gets is asked of the C side, as the engine does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.container.layout import BACKBONE, NO_INDEX
from joulet.container.read import Container
from joulet.plan.accesses import memory_waits
from joulet.plan.band_costs import band_cycles
from joulet.plan.copies import copies_on
from joulet.plan.kernel_costs import op_cycles
from joulet.records import BoardCosts, CostTable, StepCost


def board_costs(container: Container, board: Board) -> BoardCosts:
    """Return the cost table of a container on a board, ``cycles`` being ``(n_precisions, n_ops)``.

    A container with a plan part for the board's kernels costs what that part has packed, bands and waits included; one
    without, what ``joulet build`` would pack for the board's slot.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    UsageError
        If the board's cycle table lacks a kernel.
    """
    copies = copies_on(container, board)
    cycles = op_cycles(container, board.cycles, board.isa, copies) + band_cycles(container, board)
    cycles += memory_waits(container, board, copies)
    return BoardCosts(
        name=board.name,
        clock_hz=board.load.clock_hz,
        energy_pj_per_cycle=board.load.energy_pj_per_cycle,
        cycles=np.rint(cycles).astype(np.uint32),
    )


def cost_table(container: Container, costs: BoardCosts) -> CostTable:
    """Return what every step along every path of a container costs."""
    n_exits = len(container.exits)
    steps, prefixes, accuracy = [], [], []
    for path in container.paths:
        prefix = tuple(int(p) for p in path["precisions"][:n_exits])
        cycles, bits = _along(container, prefix, costs.cycles)
        steps.append(tuple(_from(container, k, n_exits, cycles, bits) for k in range(-1, n_exits)))
        prefixes.append(prefix)
        accuracy.append(tuple(int(a) / 32768 for a in path["accuracy_q15"][:n_exits]))
    return CostTable(
        board=costs.name,
        path_names=_names(container.meta["paths"]),
        exit_names=_names(container.meta["exits"]),
        steps=tuple(steps),
        prefixes=tuple(prefixes),
        accuracy=tuple(accuracy),
    )


def ladder_table(names: Sequence[str], tables: Sequence[CostTable]) -> CostTable:
    """Return the costs of several networks as paths of one: each is its table's first path, run to its last exit.

    Parameters
    ----------
    names
        Of the paths.
    tables
        One a network, all of one board. Accuracies are those of their last exits.
    """
    whole = [table.steps[0][0][-1] for table in tables]
    return CostTable(
        board=tables[0].board,
        path_names=tuple(names),
        exit_names=("last",),
        steps=tuple(((step,),) for step in whole),
        prefixes=tuple((index,) for index in range(len(tables))),
        accuracy=tuple((table.accuracy[0][-1],) for table in tables),
    )


def _names(entries: Any) -> tuple[str, ...]:
    return tuple(str(entry["name"]) if isinstance(entry, Mapping) else str(entry) for entry in entries)


def _along(
    container: Container, prefix: tuple[int, ...], cycles: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return cycles and weight bits of each op when ``prefix`` governs its segment."""
    n_weights = len(container.weights)
    taken = np.zeros(len(container.ops), np.int64)
    bits = np.zeros(len(container.ops), np.int64)
    for index, op in enumerate(container.ops):
        precision = prefix[int(op["segment"])]
        taken[index] = cycles[precision, index]
        if int(op["weight"]) != NO_INDEX:
            bits[index] = container.layers[precision * n_weights + int(op["weight"])]["bits"]
    return taken, bits


def _from(
    container: Container, start: int, n_exits: int, cycles: npt.NDArray[np.int64], bits: npt.NDArray[np.int64]
) -> tuple[StepCost | None, ...]:
    ops = container.ops
    head, segment, macs = ops["exit"].astype(np.int64), ops["segment"].astype(np.int64), ops["macs"].astype(np.int64)
    row: list[StepCost | None] = []
    for stop in range(n_exits):
        if stop <= start:
            row.append(None)
            continue
        run = ((head == BACKBONE) & (segment > start) & (segment <= stop)) | (head == stop)
        row.append(
            StepCost(cycles=int(cycles[run].sum()), macs=int(macs[run].sum()), bit_macs=int((bits * macs)[run].sum()))
        )
    return tuple(row)
