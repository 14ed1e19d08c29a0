# SPDX-License-Identifier: Apache-2.0
"""Which channels of each tensor must exist, given what their readers multiply them by.

The answer is the least set that is closed under the ops: a convolution may make any subset of its channels, while
an op that works channel by channel must keep the same ones on both sides.
"""

from __future__ import annotations

import numpy as np

from joulet.ir import Concat, DType, Graph, Op, OpKind, Pad, Reduce, Slice, Transpose
from joulet.passes.constant_channels import (
    VARYING,
    Mask,
    Values,
    bias_of,
    centred_weights,
    channels,
    input_columns,
    quant_of,
    reads_border,
)
from joulet.passes.rewrite import held

_BY_CHANNEL = frozenset(
    {
        OpKind.AVG_POOL2D,
        OpKind.MAX_POOL2D,
        OpKind.UNARY,
        OpKind.RESIZE_NEAREST,
        OpKind.RESIZE_BILINEAR,
        OpKind.MEAN,
        OpKind.PAD,
        OpKind.TRANSPOSE,
        OpKind.STRIDED_SLICE,
    }
)
_I32_MAX = (1 << 31) - 1


def needed_channels(graph: Graph, values: dict[int, Values]) -> dict[int, Mask]:
    """Return one mask ``(channels,)`` a tensor; weights and biases are left out."""
    kept: dict[int, Mask] = {}
    for op in graph.ops:
        for i in (*_activations(op), *op.outputs):
            kept.setdefault(i, np.zeros(channels(graph.tensors[i]), np.bool_))
    for i in held(graph):
        kept[i] = np.ones(channels(graph.tensors[i]), np.bool_)
    while True:
        _close(graph, values, kept)
        short = next((op for op in graph.ops if kept[op.outputs[0]].sum() < _least(graph, op)), None)
        if short is None:
            return kept
        mask = kept[short.outputs[0]]
        mask[int(np.argmin(mask))] = True


def _least(graph: Graph, op: Op) -> int:
    """Return how many channels an op must make: one, or two to stay per-channel, which has multipliers of its own."""
    if op.kind is not OpKind.FULLY_CONNECTED:
        return 1
    quant = graph.tensors[op.inputs[1]].quant
    return 2 if quant is not None and len(quant.scale) > 1 else 1


def _activations(op: Op) -> tuple[int, ...]:
    weighted = op.kind in (OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.FULLY_CONNECTED)
    return op.inputs[:1] if weighted else op.inputs


def _close(graph: Graph, values: dict[int, Values], kept: dict[int, Mask]) -> None:
    """Grow the masks until every op agrees with them."""
    rows = {n: _needs(graph, op, values) for n, op in enumerate(graph.ops)}
    size = -1
    while size != (size := sum(int(mask.sum()) for mask in kept.values())):
        for number in reversed(range(len(graph.ops))):
            _close_op(graph, graph.ops[number], rows[number], kept)


def _needs(graph: Graph, op: Op, values: dict[int, Values]) -> Mask | None:
    """Return for conv2d and fully_connected which input channels each output row needs, ``(o, channels)``."""
    if op.kind not in (OpKind.CONV2D, OpKind.FULLY_CONNECTED) or op.inputs[0] not in values:
        return None
    repeat = input_columns(graph, op)
    if repeat == 0:
        return None
    w = centred_weights(graph.tensors[op.inputs[1]])
    w = w.reshape(w.shape[0], -1, w.shape[-1])
    inner = values[op.inputs[0]]
    absorbed = absorbable(graph, op, inner)
    used = (w != 0).any(axis=1).reshape(w.shape[0], repeat, -1).any(axis=1)
    return np.asarray(used & ~absorbed, np.bool_)


def absorbable(graph: Graph, op: Op, inner: Values) -> Mask:
    """Return which constant input channels can move into the bias of a conv2d or fully_connected exactly."""
    constant = inner != VARYING
    zero = inner == quant_of(graph.tensors[op.inputs[0]]).zero_point
    if reads_border(graph, op):
        # Inside the image the channel adds its value, in the padding zero: no bias says both.
        return np.asarray(zero, np.bool_)
    total = bias_of(graph, op, graph.tensors[op.inputs[1]].shape[0]) + absorbed_bias(graph, op, inner, constant)
    if np.abs(total).max(initial=0) > _I32_MAX:
        return np.asarray(zero, np.bool_)
    return np.asarray(constant, np.bool_)


def absorbed_bias(graph: Graph, op: Op, inner: Values, absorbed: Mask) -> Values:
    """Return what the constant channels in ``absorbed`` add to each sum, ``(o,)``."""
    w = centred_weights(graph.tensors[op.inputs[1]])
    repeat = input_columns(graph, op)
    sums = w.reshape(w.shape[0], -1, w.shape[-1]).sum(axis=1)
    offset = np.where(absorbed & (inner != VARYING), inner - quant_of(graph.tensors[op.inputs[0]]).zero_point, 0)
    return np.asarray(sums @ np.tile(offset, repeat), np.int64)


def _close_op(graph: Graph, op: Op, rows: Mask | None, kept: dict[int, Mask]) -> None:
    out = kept[op.outputs[0]]
    x = kept[op.inputs[0]]
    if rows is not None:
        x |= rows[out].any(axis=0)
    elif op.kind is OpKind.DEPTHWISE_CONV2D and graph.tensors[op.inputs[0]].dtype is DType.S8:
        _close_depthwise(x, out)
    elif op.kind is OpKind.RESHAPE and len(out) % len(x) == 0:
        both = x | out.reshape(-1, len(x)).any(axis=0)
        x |= both
        out |= np.tile(both, len(out) // len(x))
    elif op.kind in _BY_CHANNEL and _keeps_channels(graph, op):
        x |= out
        out |= x
    elif op.kind in (OpKind.ADD, OpKind.SUB, OpKind.MUL):
        _close_together([kept[i] for i in op.inputs], out)
    elif isinstance(op.attrs, Concat):
        _close_concat(op.attrs.axis == len(graph.tensors[op.outputs[0]].shape) - 1, [kept[i] for i in op.inputs], out)
    else:
        for i in (*_activations(op), *op.outputs):
            kept[i][:] = True


def _close_depthwise(x: Mask, out: Mask) -> None:
    groups = out.reshape(len(x), -1)
    x |= groups.any(axis=1)
    if len(x) > 1:
        groups |= x[:, None]


def _close_together(parts: list[Mask], out: Mask) -> None:
    for part in parts:
        if len(part) == len(out):
            out |= part
        else:
            part[:] = True
    for part in parts:
        if len(part) == len(out):
            part |= out


def _close_concat(along_channels: bool, parts: list[Mask], out: Mask) -> None:
    if not along_channels:
        _close_together(parts, out)
        return
    start = 0
    for part in parts:
        window = out[start : start + len(part)]
        part |= window
        window |= part
        start += len(part)


def _keeps_channels(graph: Graph, op: Op) -> bool:
    """Whether channel c of the output is made of channel c of the input alone."""
    rank = len(graph.tensors[op.inputs[0]].shape)
    attrs = op.attrs
    if isinstance(attrs, Reduce):
        return rank - 1 not in attrs.axes
    if isinstance(attrs, Pad):
        return attrs.before[-1] == attrs.after[-1] == 0
    if isinstance(attrs, Transpose):
        return attrs.perm[-1] == rank - 1
    if isinstance(attrs, Slice):
        full = channels(graph.tensors[op.inputs[0]])
        whole = (attrs.begin[-1], attrs.stride[-1], attrs.sizes[-1]) == (0, 1, full)
        return whole and channels(graph.tensors[op.outputs[0]]) == full
    return True
