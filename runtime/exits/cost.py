# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulates of ops, exits and the way there."""

from __future__ import annotations

from joulet.ir import WEIGHTED, Graph, Op, OpKind


def op_macs(graph: Graph, op: Op) -> int:
    """Return the multiply-accumulates of one op; 0 for ops without weights."""
    if op.kind not in WEIGHTED:
        return 0
    weights = graph.tensors[op.inputs[1]].shape
    out = graph.tensors[op.outputs[0]].elements
    if op.kind is OpKind.CONV2D:
        return out * weights[1] * weights[2] * weights[3]
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        return out * weights[1] * weights[2]
    return out * weights[1]


def exit_macs(graph: Graph, *, heads_on_the_way: bool = True) -> tuple[int, ...]:
    """Return the MACs spent when stopping at each exit.

    With ``heads_on_the_way`` the heads of earlier exits were evaluated too, as they are when their confidence decides.
    """
    totals = []
    for k in range(len(graph.exits)):
        output = graph.exits[k].output
        last = next(index for index, op in enumerate(graph.ops) if output in op.outputs)
        spent = 0
        for op in graph.ops[: last + 1]:
            if op.exit is None or op.exit == k or (heads_on_the_way and op.exit < k):
                spent += op_macs(graph, op)
        totals.append(spent)
    return tuple(totals)
