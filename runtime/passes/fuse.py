# SPDX-License-Identifier: Apache-2.0
"""Fusion: an activation into the op before it, a zero padding into the convolution after it.

Both are exact. An int8 activation is fused only if its table is nothing but the clamp that the op before it would
apply; a padding only if it adds the zero point around the image, which is what a convolution reads beyond its edge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from joulet.ir import (
    Activation,
    Binary,
    Conv,
    Dense,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Reshape,
    Unary,
    UnaryKind,
)
from joulet.numerics import activation_range
from joulet.passes.rewrite import compact, held, readers

_ACTIVATIONS = {
    UnaryKind.RELU: Activation.RELU,
    UnaryKind.RELU6: Activation.RELU6,
    UnaryKind.RELU_N1_TO_1: Activation.RELU_N1_TO_1,
}


def fuse_activations(graph: Graph) -> Graph:
    """Return the graph with activations and zero paddings fused into their neighbours."""
    return compact(_fuse_pads(_fuse_unary(graph)))


def _fuse_unary(graph: Graph) -> Graph:
    uses = Counter(t for op in graph.ops for t in op.inputs)
    outside = held(graph)
    ops: list[Op] = []
    made: dict[int, int] = {}
    for op in graph.ops:
        before = made.get(op.inputs[0]) if isinstance(op.attrs, Unary) else None
        fused = None
        if before is not None and uses[op.inputs[0]] == 1 and op.inputs[0] not in outside:
            fused = _with_activation(graph, ops[before], op)
        if fused is not None and before is not None:
            # The result appears where the earlier op stood: its readers all come later still.
            ops[before] = fused
            made[op.outputs[0]] = before
            continue
        ops.append(_without_identity(graph, op))
        made.update(dict.fromkeys(op.outputs, len(ops) - 1))
    return graph.with_ops(tuple(ops))


def _with_activation(graph: Graph, before: Op, unary: Op) -> Op | None:
    """Return ``before`` clamping like ``unary``, or None if that would not be exact."""
    attrs, after = before.attrs, unary.attrs
    if not isinstance(attrs, (Conv, Dense, Pool, Binary)) or not isinstance(after, Unary) or before.exit != unary.exit:
        return None
    activation = _ACTIVATIONS.get(after.kind)
    if activation is None or attrs.activation is not Activation.NONE:
        return None
    have, want = graph.tensors[unary.inputs[0]], graph.tensors[unary.outputs[0]]
    if have.quant != want.quant or have.dtype is not want.dtype:
        return None
    if after.table is not None:
        if want.quant is None:
            return None
        low, high = activation_range(activation, want.quant)
        if after.table != _clamp_table(low, high):
            return None
    return replace(before, attrs=replace(attrs, activation=activation), outputs=unary.outputs)


def _clamp_table(low: int, high: int) -> bytes:
    return bytes(np.clip(np.arange(-128, 128), low, high).astype(np.int8).tobytes())


def _without_identity(graph: Graph, op: Op) -> Op:
    """Return a table that changes nothing as a reshape, which moves nothing."""
    if not isinstance(op.attrs, Unary) or op.attrs.table != _clamp_table(-128, 127):
        return op
    if graph.tensors[op.inputs[0]].quant != graph.tensors[op.outputs[0]].quant:
        return op
    return replace(op, kind=OpKind.RESHAPE, attrs=Reshape())


def _fuse_pads(graph: Graph) -> Graph:
    read_by = readers(graph)
    outside = held(graph)
    ops = list(graph.ops)
    for op in graph.ops:
        pad = op.attrs
        if not isinstance(pad, Pad) or op.outputs[0] in outside or not _is_zero_border(graph, op, pad):
            continue
        users = read_by.get(op.outputs[0], [])
        merged = [_with_pad(graph, ops[u], op, pad) for u in users]
        if not users or any(m is None for m in merged):
            continue
        for user, new in zip(users, merged, strict=True):
            assert new is not None
            ops[user] = new
    return graph.with_ops(tuple(ops))


def _is_zero_border(graph: Graph, op: Op, pad: Pad) -> bool:
    have, want = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    spatial = len(pad.before) == 4 and not (pad.before[0] or pad.after[0] or pad.before[3] or pad.after[3])
    return pad.value == 0.0 and spatial and have.quant == want.quant and have.data is None


def _with_pad(graph: Graph, conv: Op, pad_op: Op, pad: Pad) -> Op | None:
    """Return ``conv`` reading the unpadded image, or None where its window could lie wholly outside."""
    attrs = conv.attrs
    if not isinstance(attrs, Conv) or conv.inputs.count(pad_op.outputs[0]) != 1 or conv.exit != pad_op.exit:
        return None
    _, kernel_h, kernel_w, _ = graph.tensors[conv.inputs[1]].shape
    top, left = attrs.pad[0] + pad.before[1], attrs.pad[1] + pad.before[2]
    reach_h, reach_w = (kernel_h - 1) * attrs.dilation[0], (kernel_w - 1) * attrs.dilation[1]
    image, out = graph.tensors[pad_op.inputs[0]].shape, graph.tensors[conv.outputs[0]].shape
    bottom = (out[1] - 1) * attrs.stride[0] + reach_h + 1 - top - image[1]
    right = (out[2] - 1) * attrs.stride[1] + reach_w + 1 - left - image[2]
    if top > reach_h or bottom > reach_h or left > reach_w or right > reach_w:
        return None
    return replace(conv, inputs=(pad_op.inputs[0], *conv.inputs[1:]), attrs=replace(attrs, pad=(top, left)))
