# SPDX-License-Identifier: Apache-2.0
"""What a convolution costs on a board with some of its blocks of weights absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulet.boards import Board
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import isa_needs, wanted_copies
from joulet.container.read import Container
from joulet.plan.kernel_costs import op_cycles
from joulet.plan.packings import expected_share
from joulet.plan.work import work_class, work_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseCost:
    """Cycles of an op with all of its blocks, by the dense kernel; by the sparse one without any, and for all blocks on top.

    ``isa``, ``elements``: whose kernels they are, and of a row of weights, as some blocks are filled up.
    """

    dense: float
    rest: float
    blocks: float
    isa: str
    elements: int

    def cycles(self, absent: float) -> float:
        """Return the cycles with a share of the blocks absent, by the better of both kernels."""
        return min(self.dense, self.rest + expected_share(self.isa, self.elements, absent) * self.blocks)


def sparse_costs(container: Container, board: Board) -> Mapping[int, SparseCost]:
    """Return what the convolutions cost whose absent blocks the board's kernels can skip, by op index.

    Empty for boards whose cycle table has no such kernels.

    Raises
    ------
    PlanError
        For a container that the engine refuses.
    """
    needs = isa_needs(container, CODES["Isa"][board.isa])
    dense = op_cycles(container, board.cycles, board.isa, frozenset(wanted_copies(container, needs)))[0]
    found = {}
    for op, need in enumerate(needs):
        work = work_class(container, op, board.isa)
        if not need.takes_sparse or not board.cycles.has(board.isa, work, "sparse"):
            continue
        weight = int(container.ops[op]["weight"])
        assert weight != NO_INDEX  # else nothing is taken
        counts = work_of(container, op, board.isa)
        rest = board.cycles.cycles(board.isa, work, "sparse", {**counts, "mac": 0})
        whole = board.cycles.cycles(board.isa, work, "sparse", counts)
        found[op] = SparseCost(
            dense=float(dense[op]),
            rest=rest,
            blocks=whole - rest,
            isa=board.isa,
            elements=int(container.weights[weight]["row_elements"]),
        )
    return found
