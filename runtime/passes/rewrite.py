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


def needed_ops(graph: Graph) -> tuple[int, ...]:
    """Return the indices of the ops whose results somebody reads, in order."""
    alive, needed = held(graph), []
    for index in reversed(range(len(graph.ops))):
        op = graph.ops[index]
        if not alive.isdisjoint(op.outputs):
            alive |= {*op.inputs, *op.outputs}
            needed.append(index)
    return tuple(reversed(needed))


def compact(graph: Graph) -> Graph:
    """Drop ops whose result nobody reads and tensors nobody names; renumber the rest in their old order."""
    ops = [graph.ops[index] for index in needed_ops(graph)]
    order = sorted(held(graph).union(*({*op.inputs, *op.outputs} for op in ops)))
    new = {old: number for number, old in enumerate(order)}
    return replace(
        graph,
        tensors=tuple(graph.tensors[i] for i in order),
        ops=tuple(
            replace(op, inputs=tuple(new[i] for i in op.inputs), outputs=tuple(new[i] for i in op.outputs))
            for op in ops
        ),
        inputs=tuple(new[i] for i in graph.inputs),
        outputs=tuple(new[i] for i in graph.outputs),
        exits=tuple(replace(e, logits=new[e.logits], output=new[e.output]) for e in graph.exits),
    )
