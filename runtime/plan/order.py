# SPDX-License-Identifier: Apache-2.0
"""Execution order: every head right after the point where it leaves the backbone, and a segment for each op.

Segment k is everything after exit k - 1 and up to exit k. Heads are emitted in order of depth, so that segments
never go backwards: a head whose inputs are ready early waits for the shallower heads.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulet.errors import PlanError
from joulet.ir import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One op at its place: ``op`` indexes ``Graph.ops``."""

    op: int
    segment: int


def place_ops(graph: Graph) -> tuple[Placed, ...]:
    """Return the ops in execution order.

    Raises
    ------
    PlanError
        When a head reads another head, the backbone reads a head, or exits are not in order of depth.
    """
    owner = {output: op.exit for op in graph.ops for output in op.outputs}
    _check_heads(graph, owner)
    last = len(graph.exits) - 1
    backbone = [index for index, op in enumerate(graph.ops) if op.exit is None or op.exit == last]
    heads = {k: [i for i, op in enumerate(graph.ops) if op.exit == k] for k in range(last)}
    ready: set[int] = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    ready.update(graph.inputs)
    placed: list[Placed] = []
    segment = 0

    def emit_heads() -> None:
        nonlocal segment
        while segment < last and _available(graph, heads[segment], segment, ready):
            placed.extend(Placed(op=index, segment=segment) for index in heads[segment])
            segment += 1

    for index in backbone:
        placed.append(Placed(op=index, segment=segment))
        ready.update(graph.ops[index].outputs)
        emit_heads()
    if segment < last:
        raise PlanError(f"exit {graph.exits[segment].name!r} reads what no op computes; check its logits and output")
    return tuple(placed)


def _available(graph: Graph, head: list[int], exit_index: int, ready: set[int]) -> bool:
    made = {output for index in head for output in graph.ops[index].outputs}
    needed = {tensor for index in head for tensor in graph.ops[index].inputs}
    needed |= {graph.exits[exit_index].logits, graph.exits[exit_index].output}
    return needed - made <= ready


def _check_heads(graph: Graph, owner: dict[int, int | None]) -> None:
    for op in graph.ops:
        if op.exit is not None and not 0 <= op.exit < len(graph.exits):
            raise PlanError(f"op {op.name!r} belongs to exit {op.exit}, but there are {len(graph.exits)} exits")
        for tensor in op.inputs:
            made_by = owner.get(tensor)
            if made_by is not None and made_by != op.exit:
                raise PlanError(
                    f"op {op.name!r} reads {graph.tensors[tensor].name!r}, which only exists when exit "
                    f"{made_by} is evaluated; move its producer to the backbone"
                )
