# SPDX-License-Identifier: Apache-2.0
"""An independent oracle: the integer graph in NumPy, from the published semantics, exact up to softmax.

Arrays carry a sample axis in front of the graph's own shape, ``(n, *shape)``. Sums are float64 matrix products, exact
because every partial sum stays below 2⁵³. Softmax is computed in real numbers, so its bytes may differ by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from joulet.ir import (
    Binary,
    Concat,
    Conv,
    DType,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Precision,
    QuantGraph,
    Reduce,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from joulet.numerics import (
    ADD_LEFT_SHIFT,
    activation_range,
    add_multipliers,
    mean_multiplier,
    mul_multiplier,
    rounds_once,
    weighted_multiplier,
)


def scaled(value: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """Return ``value × multiplier × 2^(shift − 31)`` with the two roundings of the reference, vectorised."""
    shift = np.asarray(shift, np.int64)
    product = (value.astype(np.int64) << np.maximum(shift, 0)) * np.asarray(multiplier, np.int64)
    total = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))
    right = np.maximum(-shift, 0)
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


def scaled_once(value: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the same with one rounding, halves up."""
    right = 31 - np.asarray(shift, np.int64)
    return (value.astype(np.int64) * multiplier + (np.int64(1) << (right - 1))) >> right


def sliced(weights: np.ndarray, bits: int) -> np.ndarray:
    """Return int8 weights as the precision of ``bits`` reads them."""
    q = weights.astype(np.int64)
    return q if bits == 8 else 16 * ((q + 128) >> 4) - 120


def patches(
    x: np.ndarray, kernel: tuple[int, int], attrs: Conv | Pool, out: tuple[int, int], fill: float
) -> np.ndarray:
    """Return ``(n, out_h, out_w, kh, kw, c)`` windows of ``x (n, h, w, c)``."""
    n, height, width, channels = x.shape
    dilation = attrs.dilation if isinstance(attrs, Conv) else (1, 1)
    rows = np.arange(out[0])[:, None] * attrs.stride[0] + np.arange(kernel[0])[None] * dilation[0]
    columns = np.arange(out[1])[:, None] * attrs.stride[1] + np.arange(kernel[1])[None] * dilation[1]
    padded = np.full(
        (n, max(rows.max() + 1, attrs.pad[0] + height), max(columns.max() + 1, attrs.pad[1] + width), channels), fill
    )
    padded[:, attrs.pad[0] : attrs.pad[0] + height, attrs.pad[1] : attrs.pad[1] + width] = x
    return padded[:, rows[:, None, :, None], columns[None, :, None, :]]


def execute(qg: QuantGraph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run precision 0 of a quantised graph; arrays are ``(n, *shape[1:])`` in and out."""
    values = run(qg.graph, qg.precisions[0], inputs)
    return [values[t][:, 0] if qg.graph.tensors[t].shape[:1] == (1,) else values[t] for t in qg.graph.outputs]


def run(graph: Graph, precision: Precision, inputs: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Return every activation of an integer graph, ``(n, *shape)`` by tensor index."""
    n = len(inputs[0])
    values = {t: np.asarray(a).reshape(n, *graph.tensors[t].shape) for t, a in zip(graph.inputs, inputs, strict=True)}
    for index, op in enumerate(graph.ops):
        arguments = [
            values[t] if graph.tensors[t].data is None else np.asarray(graph.tensors[t].data)[None] for t in op.inputs
        ]
        out = graph.tensors[op.outputs[0]]
        result = _op(graph, op, index, precision, arguments)
        kind = np.int8 if out.dtype is DType.S8 else np.dtype(out.dtype.value)
        values[op.outputs[0]] = result.reshape(n, *out.shape).astype(kind)
    return values


def _op(graph: Graph, op: Op, index: int, precision: Precision, x: list[np.ndarray]) -> np.ndarray:
    attrs = op.attrs
    if op.kind in (OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.FULLY_CONNECTED):
        return _weighted(graph, op, precision.bits[index], precision.bias.get(index), x)
    if isinstance(attrs, Pool):
        return _pool(graph, op, attrs, x[0])
    if isinstance(attrs, Reduce):
        return _mean(graph, op, attrs, x[0])
    if isinstance(attrs, Binary):
        return _binary(graph, op, x[0], x[1])
    if isinstance(attrs, Softmax):
        scale = graph.tensors[op.inputs[0]].quant.scale[0]
        real = np.exp((x[0] - x[0].max(-1, keepdims=True).astype(np.float64)) * scale * attrs.beta)
        return np.clip(np.rint(256 * real / real.sum(-1, keepdims=True)) - 128, -128, 127)
    return _moves(graph, op, x)


def _moves(graph: Graph, op: Op, x: list[np.ndarray]) -> np.ndarray:
    attrs = op.attrs
    if isinstance(attrs, Unary):
        return np.frombuffer(attrs.table, np.int8)[x[0].astype(np.int64) + 128]
    if isinstance(attrs, Concat):
        n = max(len(a) for a in x)
        return np.concatenate([np.broadcast_to(a, (n, *a.shape[1:])) for a in x], axis=attrs.axis + 1)
    if isinstance(attrs, Transpose):
        return np.transpose(x[0], (0, *(p + 1 for p in attrs.perm)))
    if isinstance(attrs, Pad):
        quant = graph.tensors[op.outputs[0]].quant
        fill = quant.zero_point + round(attrs.value / quant.scale[0])
        return np.pad(x[0], [(0, 0), *zip(attrs.before, attrs.after, strict=True)], constant_values=fill)
    if isinstance(attrs, Slice):
        picks = [b + s * np.arange(k) for b, s, k in zip(attrs.begin, attrs.stride, attrs.sizes, strict=True)]
        return x[0][np.ix_(np.arange(len(x[0])), *picks)]
    if op.kind is OpKind.RESHAPE:
        return x[0]
    if op.kind is OpKind.DEQUANTIZE:
        quant = graph.tensors[op.inputs[0]].quant
        return (x[0].astype(np.float32) - quant.zero_point) * np.float32(quant.scale[0])
    if op.kind is OpKind.QUANTIZE:
        quant = graph.tensors[op.outputs[0]].quant
        real = x[0].astype(np.float64) / quant.scale[0]
        return np.clip(np.trunc(real + np.where(real > 0, 0.5, -0.5)) + quant.zero_point, -128, 127)
    raise NotImplementedError(op.kind)


def _weighted(graph: Graph, op: Op, bits: int, bias: np.ndarray | None, x: list[np.ndarray]) -> np.ndarray:
    source, weight, out = (graph.tensors[t] for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    real = x[0].astype(np.float64) - source.quant.zero_point
    w = (sliced(weight.data, bits) - weight.quant.zero_point).astype(np.float64)
    if bias is None:
        bias = x[2].reshape(-1) if len(x) > 2 else 0
    if op.kind is OpKind.FULLY_CONNECTED:
        total = real.reshape(len(real), -1, w.shape[1]) @ w.T
    else:
        total = convolve(op, real[:, 0], w, out.shape[1:3])
    scales = weight.quant.scale
    was_uint8 = weight.border == "uint8"
    pairs = np.array(
        [weighted_multiplier(op.kind, was_uint8, source.quant.scale[0], s, out.quant.scale[0]) for s in scales],
        np.int64,
    )
    low, high = activation_range(op.attrs.activation, out.quant)
    accumulator = total.astype(np.int64) + bias
    rule = scaled_once if rounds_once(op.kind, was_uint8) else scaled
    return np.clip(rule(accumulator, pairs[:, 0], pairs[:, 1]) + out.quant.zero_point, low, high)


def convolve(op: Op, x: np.ndarray, w: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Return the accumulators ``(n, *out, o)`` of a convolution of real values, without bias."""
    windows = patches(x, w.shape[1:3], op.attrs, out, 0.0)
    n, height, width = windows.shape[:3]
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        multiplier = w.shape[3] // windows.shape[-1]
        return (np.repeat(windows, multiplier, axis=-1) * w[0]).sum((3, 4))
    groups = op.attrs.groups
    parts = []
    for g, rows in enumerate(np.split(w, groups)):
        taken = windows[..., g * rows.shape[3] : (g + 1) * rows.shape[3]].reshape(n * height * width, -1)
        parts.append((taken @ rows.reshape(len(rows), -1).T).reshape(n, height, width, -1))
    return np.concatenate(parts, axis=-1)


def _pool(graph: Graph, op: Op, attrs: Pool, x: np.ndarray) -> np.ndarray:
    out = graph.tensors[op.outputs[0]]
    if op.kind is OpKind.MAX_POOL2D:
        result = patches(x[:, 0], attrs.kernel, attrs, out.shape[1:3], -np.inf).max((3, 4))
    else:
        total = patches(x[:, 0], attrs.kernel, attrs, out.shape[1:3], 0.0).sum((3, 4))
        count = patches(np.ones((1, *x.shape[2:])), attrs.kernel, attrs, out.shape[1:3], 0.0).sum((3, 4))
        result = np.trunc(total / count + np.where(total > 0, 0.5, -0.5))
    return np.clip(result, *activation_range(attrs.activation, out.quant))


def _mean(graph: Graph, op: Op, attrs: Reduce, x: np.ndarray) -> np.ndarray:
    source, out = graph.tensors[op.inputs[0]].quant, graph.tensors[op.outputs[0]].quant
    axes = tuple(a + 1 for a in attrs.axes)
    count = int(np.prod([x.shape[a] for a in axes]))
    total = x.astype(np.int64).sum(axes)
    multiplier, shift = mean_multiplier(source.scale[0], out.scale[0], count)
    return np.clip(scaled(total - source.zero_point * count, multiplier, shift) + out.zero_point, -128, 127)


def _binary(graph: Graph, op: Op, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    qa, qb, out = (graph.tensors[t].quant for t in (*op.inputs, op.outputs[0]))
    a = a.astype(np.int64) - qa.zero_point
    b = b.astype(np.int64) - qb.zero_point
    if op.kind is OpKind.MUL:
        raw = scaled(a * b, *mul_multiplier(qa.scale[0], qb.scale[0], out.scale[0]))
    else:
        ma, mb, mo = add_multipliers(qa.scale[0], qb.scale[0], out.scale[0])
        a, b = scaled(a << ADD_LEFT_SHIFT, *ma), scaled(b << ADD_LEFT_SHIFT, *mb)
        raw = scaled(a + b if op.kind is OpKind.ADD else a - b, *mo)
    return np.clip(raw + out.zero_point, *activation_range(op.attrs.activation, out))
