# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulates of each op, counted as benchmarks do: padding included, element-wise ops free."""

from __future__ import annotations

from joulet.ir import Graph, Op, OpKind


def macs(graph: Graph) -> tuple[int, ...]:
    """Return the multiply-accumulates of every op for one inference, in op order."""
    return tuple(_op_macs(graph, op) for op in graph.ops)


def _op_macs(graph: Graph, op: Op) -> int:
    if op.kind not in (OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.FULLY_CONNECTED):
        return 0
    shape = graph.tensors[op.inputs[1]].shape
    made = graph.tensors[op.outputs[0]].elements
    if op.kind is OpKind.FULLY_CONNECTED:
        return made * shape[1]
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        return made * shape[1] * shape[2]
    return made * shape[1] * shape[2] * shape[3]
