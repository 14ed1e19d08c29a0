# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulates of exits and the way there."""

from __future__ import annotations

from joulet.ir import Graph
from joulet.passes.macs import macs


def exit_macs(graph: Graph, *, heads_on_the_way: bool = True) -> tuple[int, ...]:
    """Return the MACs spent when stopping at each exit.

    With ``heads_on_the_way`` the heads of earlier exits were evaluated too, as they are when their confidence decides.
    """
    totals = []
    each = macs(graph)
    for k in range(len(graph.exits)):
        output = graph.exits[k].output
        last = next(index for index, op in enumerate(graph.ops) if output in op.outputs)
        spent = 0
        for op, cost in zip(graph.ops[: last + 1], each, strict=False):
            if op.exit is None or op.exit == k or (heads_on_the_way and op.exit < k):
                spent += cost
        totals.append(spent)
    return tuple(totals)
