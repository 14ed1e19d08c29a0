# SPDX-License-Identifier: Apache-2.0
"""Which channels of an integer graph hold one value whatever the input is, and which value.

A channel is an index of a tensor's last dimension. The values are computed with the arithmetic of the kernels, so
they are the bytes a device would produce.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from joulet import numerics
from joulet.ir import (
    Binary,
    Concat,
    Conv,
    Dense,
    DType,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Quant,
    Reduce,
    Slice,
    Tensor,
    Unary,
)

VARYING = 1 << 20
_I32 = (-(1 << 31), (1 << 31) - 1)

Values = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def channels(tensor: Tensor) -> int:
    """Return the extent of the last dimension; 1 for a scalar."""
    return tensor.shape[-1] if tensor.shape else 1


def constant_channels(graph: Graph) -> dict[int, Values]:
    """Return ``(channels,)`` int8 values for every int8 tensor, :data:`VARYING` where a channel is not constant."""
    values: dict[int, Values] = {}
    for i, tensor in enumerate(graph.tensors):
        if tensor.dtype is DType.S8:
            values[i] = _of_data(tensor)
    for op in graph.ops:
        rule = _RULES.get(op.kind)
        out = op.outputs[0]
        if rule is None or out not in values or any(i not in values for i in op.inputs[:1]):
            continue
        found = rule(graph, op, values)
        if found is not None:
            values[out] = found
    return values


def _of_data(tensor: Tensor) -> Values:
    n = channels(tensor)
    if tensor.data is None:
        return np.full(n, VARYING, np.int64)
    rows = tensor.data.reshape(-1, n).astype(np.int64)
    return np.where((rows == rows[0]).all(axis=0), rows[0], VARYING)


def quant_of(tensor: Tensor) -> Quant:
    """Return the quantisation of an int8 tensor, which a verified graph has."""
    assert tensor.quant is not None
    return tensor.quant


def centred_weights(weights: Tensor) -> Values:
    """Return weights as the kernels multiply them, q − zero point."""
    assert weights.data is not None
    return weights.data.astype(np.int64) - quant_of(weights).zero_point


def reads_border(graph: Graph, op: Op) -> bool:
    """Whether a convolution's windows reach beyond the image."""
    if not isinstance(op.attrs, Conv):
        return False
    x, y, w = (graph.tensors[i].shape for i in (op.inputs[0], op.outputs[0], op.inputs[1]))
    if op.attrs.pad != (0, 0):
        return True
    return any((y[a] - 1) * op.attrs.stride[a - 1] + (w[a] - 1) * op.attrs.dilation[a - 1] + 1 > x[a] for a in (1, 2))


def input_columns(graph: Graph, op: Op) -> int:
    """Return how often the channels of a weighted op's input repeat along its weights' input axis; 0: they do not."""
    x, w = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]].shape
    if op.kind is OpKind.FULLY_CONNECTED:
        return w[1] // channels(x) if w[1] % channels(x) == 0 else 0
    return 1 if isinstance(op.attrs, Conv) and op.attrs.groups == 1 else 0


def bias_of(graph: Graph, op: Op, n: int) -> Values:
    """Return the bias of a weighted op, zeros where it has none."""
    if len(op.inputs) < 3:
        return np.zeros(n, np.int64)
    data = graph.tensors[op.inputs[2]].data
    assert data is not None
    return data.astype(np.int64)


def requantised(graph: Graph, op: Op, total: Values) -> Values:
    """Return the int8 outputs of a weighted op for one int32 sum a channel; VARYING where the sum overflows."""
    x, w, y = (quant_of(graph.tensors[i]) for i in (op.inputs[0], op.inputs[1], op.outputs[0]))
    assert isinstance(op.attrs, (Conv, Dense))
    low, high = numerics.activation_range(op.attrs.activation, y)
    was_uint8 = graph.tensors[op.inputs[1]].border == "uint8"
    once = numerics.rounds_once(op.kind, was_uint8)
    scaled = numerics.multiply_rounding_once if once else numerics.multiply_by_multiplier
    scales = w.scale * len(total) if len(w.scale) == 1 else w.scale
    out = np.full(len(total), VARYING, np.int64)
    for o, value in enumerate(total.tolist()):
        if _I32[0] <= value <= _I32[1]:
            multiplier = numerics.weighted_multiplier(op.kind, was_uint8, x.scale[0], scales[o], y.scale[0])
            out[o] = min(max(scaled(value, *multiplier) + y.zero_point, low), high)
    return out


_Rule = Callable[[Graph, Op, dict[int, Values]], "Values | None"]


def _matrix(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    """conv2d and fully_connected."""
    repeat = input_columns(graph, op)
    if repeat == 0:
        return None
    w = centred_weights(graph.tensors[op.inputs[1]])
    w = w.reshape(w.shape[0], -1, w.shape[-1])
    inner = np.tile(values[op.inputs[0]], repeat)
    varying = inner == VARYING
    offset = np.where(varying, 0, inner - quant_of(graph.tensors[op.inputs[0]]).zero_point)
    blocked = varying | (offset != 0) if reads_border(graph, op) else varying
    rows = ~(w[:, :, blocked] != 0).any(axis=(1, 2))
    total = bias_of(graph, op, w.shape[0]) + w.sum(axis=1) @ offset
    return _only(rows, requantised(graph, op, np.where(rows, total, 0)))


def _depthwise(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    w = centred_weights(graph.tensors[op.inputs[1]])
    w = w.reshape(-1, w.shape[-1])
    inner = np.repeat(values[op.inputs[0]], w.shape[1] // len(values[op.inputs[0]]))
    varying = inner == VARYING
    offset = np.where(varying, 0, inner - quant_of(graph.tensors[op.inputs[0]]).zero_point)
    blocked = varying | (offset != 0) if reads_border(graph, op) else varying
    rows = ~(blocked & (w != 0).any(axis=0))
    total = bias_of(graph, op, w.shape[1]) + w.sum(axis=0) * offset
    return _only(rows, requantised(graph, op, np.where(rows, total, 0)))


def _only(rows: Mask, found: Values) -> Values:
    return np.where(rows, found, VARYING)


def _pool(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Pool)
    x = values[op.inputs[0]]
    low, high = numerics.activation_range(op.attrs.activation, quant_of(graph.tensors[op.outputs[0]]))
    return _only(x != VARYING, np.clip(x, low, high))


def _mean(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Reduce)
    shape, y = graph.tensors[op.inputs[0]].shape, quant_of(graph.tensors[op.outputs[0]])
    x = quant_of(graph.tensors[op.inputs[0]])
    if len(shape) - 1 in op.attrs.axes or not op.attrs.axes:
        return None
    count = math.prod(shape[a] for a in op.attrs.axes)
    multiplier, shift = numerics.mean_multiplier(x.scale[0], y.scale[0], count)
    return _each(
        lambda v: numerics.multiply_by_multiplier((v - x.zero_point) * count, multiplier, shift) + y.zero_point,
        values[op.inputs[0]],
    )


def _each(function: Callable[[int], int], x: Values) -> Values:
    return np.asarray([VARYING if v == VARYING else numerics.clamp_s8(function(v)) for v in x.tolist()], np.int64)


def _binary(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Binary)
    a, b, y = (quant_of(graph.tensors[i]) for i in (*op.inputs, op.outputs[0]))
    n = channels(graph.tensors[op.outputs[0]])
    left, right = (np.broadcast_to(values[i], (n,)) for i in op.inputs)
    low, high = numerics.activation_range(op.attrs.activation, y)
    out = np.full(n, VARYING, np.int64)
    for c in range(n):
        if left[c] != VARYING and right[c] != VARYING:
            raw = _binary_value(op.kind, int(left[c]) - a.zero_point, int(right[c]) - b.zero_point, (a, b, y))
            out[c] = min(max(raw + y.zero_point, low), high)
    return out


def _binary_value(kind: OpKind, a: int, b: int, quants: tuple[Quant, Quant, Quant]) -> int:
    scales = (quants[0].scale[0], quants[1].scale[0], quants[2].scale[0])
    if kind is OpKind.MUL:
        return numerics.multiply_by_multiplier(a * b, *numerics.mul_multiplier(*scales))
    first, second, last = numerics.add_multipliers(*scales)
    a = numerics.multiply_by_multiplier(a << numerics.ADD_LEFT_SHIFT, *first)
    b = numerics.multiply_by_multiplier(b << numerics.ADD_LEFT_SHIFT, *second)
    return numerics.multiply_by_multiplier(a + b if kind is OpKind.ADD else a - b, *last)


def _unary(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Unary)
    if op.attrs.table is None:
        return None
    table = np.frombuffer(op.attrs.table, np.int8).astype(np.int64)
    x = values[op.inputs[0]]
    return _only(x != VARYING, table[np.where(x == VARYING, 0, x) + 128])


def _reshape(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    x, n = values[op.inputs[0]], channels(graph.tensors[op.outputs[0]])
    return np.tile(x, n // len(x)) if n % len(x) == 0 else None


def _same(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    return values[op.inputs[0]]


def pad_byte(graph: Graph, op: Op) -> int:
    """Return the int8 value that a pad writes."""
    assert isinstance(op.attrs, Pad)
    quant = quant_of(graph.tensors[op.outputs[0]])
    return round(op.attrs.value / quant.scale[0]) + quant.zero_point


def _pad(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Pad)
    if op.attrs.before[-1] or op.attrs.after[-1]:
        return None
    x = values[op.inputs[0]]
    return _only(x == pad_byte(graph, op), x)


def _concat(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Concat)
    parts = [values[i] for i in op.inputs]
    if op.attrs.axis == len(graph.tensors[op.outputs[0]].shape) - 1:
        return np.concatenate(parts)
    rows = np.stack(parts)
    return _only((rows == rows[0]).all(axis=0), rows[0])


def _slice(graph: Graph, op: Op, values: dict[int, Values]) -> Values | None:
    assert isinstance(op.attrs, Slice)
    begin, stride, size = op.attrs.begin[-1], op.attrs.stride[-1], op.attrs.sizes[-1]
    if channels(graph.tensors[op.outputs[0]]) != size:
        return None
    return values[op.inputs[0]][begin + stride * np.arange(size)]


_RULES: dict[OpKind, _Rule] = {
    OpKind.CONV2D: _matrix,
    OpKind.FULLY_CONNECTED: _matrix,
    OpKind.DEPTHWISE_CONV2D: _depthwise,
    OpKind.AVG_POOL2D: _pool,
    OpKind.MAX_POOL2D: _pool,
    OpKind.MEAN: _mean,
    OpKind.ADD: _binary,
    OpKind.SUB: _binary,
    OpKind.MUL: _binary,
    OpKind.UNARY: _unary,
    OpKind.RESHAPE: _reshape,
    OpKind.RESIZE_NEAREST: _same,
    OpKind.PAD: _pad,
    OpKind.CONCAT: _concat,
    OpKind.STRIDED_SLICE: _slice,
}
