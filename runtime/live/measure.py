# SPDX-License-Identifier: Apache-2.0
"""What each op of a container costs on a virtual board, found by running it there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from joulet.boards import load_board
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.board import BoardEngine
from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.link import connect
from joulet.records import BoardCosts

_BACKBONE = 255
_NEVER_CYCLES = 2**32 - 1  # of ops at a precision that a board does not run: no policy can afford them


def measured_costs(container: bytes, board: str, sample: tuple[Array, ...]) -> BoardCosts:
    """Return the cost table of a container, measured in cycles of a virtual board's model.

    Parameters
    ----------
    container : bytes
        A .jlt.
    board : str
        A virtual board.
    sample : tuple of arrays
        One input of the model; cycles hardly depend on it.

    Raises
    ------
    UsageError
        If no path runs the whole model at one integer precision.
    """
    decoded = Container.from_bytes(container)
    figures = load_board(board).load
    cycles = np.full((len(decoded.precisions), len(decoded.ops)), _NEVER_CYCLES, np.uint32)
    virtual = VirtualBoard(board)
    virtual.load(virtual.facts.slots["model"].address, container)
    virtual.power_on()
    order = [op for exit in range(len(decoded.exits)) for op in _ops_to(decoded, exit)]
    with connect(VirtualPort(virtual)) as link:
        engine = BoardEngine(container, link)
        for path, precision in _constant_paths(decoded):
            virtual.op_cycles.clear()
            engine.start(sample, path)
            for exit in range(engine.n_exits):
                engine.run_to_exit(exit)
            cycles[precision, order] = virtual.op_cycles
    if (cycles == _NEVER_CYCLES).all():
        raise UsageError(
            "the container has no integer precision that a board could run; compile with --precisions w8,w4"
        )
    return BoardCosts(
        name=board, clock_hz=figures.clock_hz, energy_pj_per_cycle=figures.energy_pj_per_cycle, cycles=cycles
    )


def _constant_paths(container: Container) -> Iterator[tuple[int, int]]:
    """Yield (path, precision) of integer paths with one precision throughout."""
    seen = set()
    for index, path in enumerate(container.paths):
        precisions = {int(each) for each in path["precisions"][: len(container.exits)]}
        first = min(precisions)
        if len(precisions) == 1 and first not in seen and not container.precisions[first]["is_f32"]:
            seen.add(first)
            yield index, first


def _ops_to(container: Container, exit: int) -> Iterator[int]:
    """Yield the ops that run from exit ``exit`` − 1 to ``exit`` when every head on the way is evaluated."""
    first = 0 if exit == 0 else int(container.exits[exit - 1]["last_op"]) + 1
    for index in range(first, int(container.exits[exit]["last_op"]) + 1):
        if int(container.ops[index]["exit"]) in (_BACKBONE, exit):
            yield index
