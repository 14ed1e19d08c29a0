# SPDX-License-Identifier: Apache-2.0
"""A network with some of its exits: the others' heads go, and whatever lies behind the last one that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from joulet.exits.attach import Attached
from joulet.ir import Graph, Precision
from joulet.passes.rewrite import needed_ops


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """What is left: the graph with heads and labels, and the new index of each op that is still there, by its old one."""

    attached: Attached
    op_index: Mapping[int, int]

    def precision(self, precision: Precision) -> Precision:
        """Return a precision of the whole network for what is left."""
        at = self.op_index
        return replace(
            precision,
            bits={at[op]: bits for op, bits in precision.bits.items() if op in at},
            bias={at[op]: bias for op, bias in precision.bias.items() if op in at},
        )


def kept_exits(attached: Attached, exits: Sequence[int]) -> Kept:
    """Return a network with some of its exits; tensors keep their indices.

    Parameters
    ----------
    attached
        Graph with exits, their heads and labels.
    exits
        Indices, rising, one at least. The last one becomes the end of the network.
    """
    graph = attached.graph
    place = {old: new for new, old in enumerate(exits)}
    dropped = {graph.exits[old].output for old in range(len(graph.exits)) if old not in place}
    last = graph.exits[exits[-1]].output
    smaller = replace(
        graph,
        exits=tuple(graph.exits[old] for old in exits),
        outputs=tuple(tensor for tensor in graph.outputs if tensor not in dropped) or (last,),
    )
    order = needed_ops(smaller)
    ops = tuple(replace(op, exit=_moved(op.exit, place)) for op in (graph.ops[old] for old in order))
    return Kept(
        attached=replace(attached, graph=smaller.with_ops(ops), heads=tuple(attached.heads[old] for old in exits)),
        op_index={old: new for new, old in enumerate(order)},
    )


def choices_of_exits(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Return the exits that are worth keeping together: for each depth that one alone, and with all before it."""
    alone = [(depth,) for depth in range(len(graph.exits))]
    return tuple(dict.fromkeys([*alone, *(tuple(range(depth + 1)) for depth in range(len(graph.exits)))]))


def _moved(exit: int | None, place: Mapping[int, int]) -> int | None:
    """Return the new index of the head that an op is in; what another head shares with one that went is backbone now."""
    return None if exit is None else place.get(exit)
