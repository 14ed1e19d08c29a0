# SPDX-License-Identifier: Apache-2.0
"""Small tools that the passes share: who reads what, and dropping what nobody needs."""

from __future__ import annotations

from dataclasses import replace

from joulet.ir import Graph


def readers(graph: Graph) -> dict[int, list[int]]:
    """Return, for each tensor that ops read, the indices of those ops in order (an op that reads twice, twice)."""
    found: dict[int, list[int]] = {}
    for number, op in enumerate(graph.ops):
        for tensor in op.inputs:
            found.setdefault(tensor, []).append(number)
    return found


def held(graph: Graph) -> set[int]:
    """Return the tensors that somebody outside the ops looks at: borders, logits and answers of exits."""
    fixed = {*graph.inputs, *graph.outputs}
    for leave in graph.exits:
        fixed |= {leave.logits, leave.output}
    return fixed


def compact(graph: Graph) -> Graph:
    """Drop ops whose result nobody reads and tensors nobody names; renumber the rest in their old order."""
    alive = held(graph)
    ops = []
    for op in reversed(graph.ops):
        if alive.isdisjoint(op.outputs):
            continue
        alive |= {*op.inputs, *op.outputs}
        ops.append(op)
    order = sorted(alive)
    new = {old: number for number, old in enumerate(order)}
    return replace(
        graph,
        tensors=tuple(graph.tensors[i] for i in order),
        ops=tuple(
            replace(op, inputs=tuple(new[i] for i in op.inputs), outputs=tuple(new[i] for i in op.outputs))
            for op in reversed(ops)
        ),
        inputs=tuple(new[i] for i in graph.inputs),
        outputs=tuple(new[i] for i in graph.outputs),
        exits=tuple(replace(e, logits=new[e.logits], output=new[e.output]) for e in graph.exits),
    )
