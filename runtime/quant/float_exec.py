# SPDX-License-Identifier: Apache-2.0
"""A float graph in NumPy: the reference that our own quantiser calibrates against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import UnsupportedModelError
from joulet.ir import (
    Activation,
    ArgMax,
    Binary,
    Concat,
    Conv,
    Dense,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Reduce,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    UnaryKind,
)

F32 = npt.NDArray[np.float32]
_CLAMP = {
    Activation.RELU: (0.0, np.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}


def run_float(graph: Graph, feeds: Mapping[int, npt.NDArray[Any]]) -> dict[int, npt.NDArray[Any]]:
    """Return every activation of a float graph.

    Parameters
    ----------
    graph
        Float graph.
    feeds
        Inputs ``(n, *shape[1:])`` by tensor index.

    Returns
    -------
    dict
        ``(n, *shape)`` by tensor index: a sample axis stands in front of the graph's own shape.
    """
    n = len(next(iter(feeds.values())))
    values: dict[int, npt.NDArray[Any]] = {t: a.reshape(n, *graph.tensors[t].shape) for t, a in feeds.items()}
    for op in graph.ops:
        arguments = []
        for t in op.inputs:
            data = graph.tensors[t].data
            arguments.append(values[t] if data is None else np.asarray(data)[None])
        out = graph.tensors[op.outputs[0]]
        result = evaluate(graph, op, arguments)
        values[op.outputs[0]] = (
            np.broadcast_to(result, (n, *result.shape[1:])).reshape(n, *out.shape).astype(out.dtype.value)
        )
    return values


def evaluate(graph: Graph, op: Op, x: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the output of one op on real inputs ``(n, *shape)``."""
    attrs = op.attrs
    shape = graph.tensors[op.outputs[0]].shape
    if isinstance(attrs, Conv):
        return _clamped(_conv(op, attrs, x, shape), attrs.activation)
    if isinstance(attrs, Dense):
        width = x[1].shape[-1]
        total = x[0].reshape(len(x[0]), -1, width) @ x[1][0].T
        return _clamped(total + (x[2].reshape(-1) if len(x) > 2 else 0.0), attrs.activation)
    if isinstance(attrs, Pool):
        return _clamped(_pool(op, attrs, x[0], shape), attrs.activation)
    if isinstance(attrs, Reduce):
        return np.asarray(x[0].mean(axis=tuple(a + 1 for a in attrs.axes)))
    if isinstance(attrs, Binary):
        return _clamped(_binary(op, x[0], x[1]), attrs.activation)
    if isinstance(attrs, Softmax):
        z = np.exp(attrs.beta * (x[0] - x[0].max(axis=-1, keepdims=True)))
        return np.asarray(z / z.sum(axis=-1, keepdims=True))
    if isinstance(attrs, Unary):
        return unary(attrs, x[0])
    if isinstance(attrs, Resize):
        return _resize(op, attrs, x[0], shape)
    return _move(op, x)


def _move(op: Op, x: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    attrs = op.attrs
    if isinstance(attrs, Pad):
        return np.pad(x[0], [(0, 0), *zip(attrs.before, attrs.after, strict=True)], constant_values=attrs.value)
    if isinstance(attrs, Concat):
        n = max(len(a) for a in x)
        return np.concatenate([np.broadcast_to(a, (n, *a.shape[1:])) for a in x], axis=attrs.axis + 1)
    if isinstance(attrs, Transpose):
        return np.transpose(x[0], (0, *(p + 1 for p in attrs.perm)))
    if isinstance(attrs, Slice):
        picks = [b + s * np.arange(k) for b, s, k in zip(attrs.begin, attrs.stride, attrs.sizes, strict=True)]
        return np.asarray(x[0][np.ix_(np.arange(len(x[0])), *picks)])
    if isinstance(attrs, ArgMax):
        return np.asarray(x[0].argmax(axis=attrs.axis + 1))
    if op.kind is OpKind.RESHAPE:
        return x[0]
    raise UnsupportedModelError(f"op {op.name!r} ({op.kind.value}) has no float form; quantise the model before import")


def unary(attrs: Unary, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return one function of one real variable."""
    match attrs.kind:
        case UnaryKind.RELU:
            return np.asarray(np.maximum(x, 0.0))
        case UnaryKind.RELU6:
            return np.asarray(np.clip(x, 0.0, 6.0))
        case UnaryKind.RELU_N1_TO_1:
            return np.asarray(np.clip(x, -1.0, 1.0))
        case UnaryKind.LEAKY_RELU:
            return np.asarray(np.where(x >= 0, x, x * attrs.alpha))
        case UnaryKind.HARD_SWISH:
            return np.asarray(x * np.clip(x + 3.0, 0.0, 6.0) / 6.0)
        case UnaryKind.LOGISTIC:
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -80.0, 80.0))))
        case UnaryKind.TANH:
            return np.asarray(np.tanh(x))
        case UnaryKind.REQUANTIZE:
            return x


def _clamped(x: npt.NDArray[Any], activation: Activation) -> npt.NDArray[Any]:
    return x if activation is Activation.NONE else np.clip(x, *_CLAMP[activation])


def windows(
    x: npt.NDArray[Any], kernel: tuple[int, int], attrs: Conv | Pool, out: tuple[int, int], fill: float
) -> npt.NDArray[Any]:
    """Return ``(n, out_h, out_w, kh, kw, c)`` windows of ``x (n, h, w, c)``; outside is ``fill``."""
    n, height, width, channels = x.shape
    dilation = attrs.dilation if isinstance(attrs, Conv) else (1, 1)
    rows = np.arange(out[0])[:, None] * attrs.stride[0] + np.arange(kernel[0]) * dilation[0]
    columns = np.arange(out[1])[:, None] * attrs.stride[1] + np.arange(kernel[1]) * dilation[1]
    top, left = attrs.pad
    extent = (max(int(rows.max()) + 1, top + height), max(int(columns.max()) + 1, left + width))
    padded = np.full((n, *extent, channels), fill, x.dtype)
    padded[:, top : top + height, left : left + width] = x
    return padded[:, rows[:, None, :, None], columns[None, :, None, :]]


def _conv(op: Op, attrs: Conv, x: list[npt.NDArray[Any]], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    image, weights = x[0].reshape(-1, *x[0].shape[2:]), x[1][0]
    taken = windows(image, weights.shape[1:3], attrs, (shape[1], shape[2]), 0.0)
    n, height, width = taken.shape[:3]
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        spread = np.repeat(taken, weights.shape[3] // taken.shape[5], axis=5)
        total = np.einsum("nhwijc,ijc->nhwc", spread, weights[0])
    else:
        parts = []
        for g, rows in enumerate(np.split(weights, attrs.groups)):
            channels = taken[..., g * rows.shape[3] : (g + 1) * rows.shape[3]]
            parts.append(channels.reshape(n * height * width, -1) @ rows.reshape(len(rows), -1).T)
        total = np.concatenate(parts, axis=1).reshape(n, height, width, -1)
    return np.asarray(total + (x[2].reshape(-1) if len(x) > 2 else 0.0))


def _pool(op: Op, attrs: Pool, x: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    image, out = x.reshape(-1, *x.shape[2:]), (shape[1], shape[2])
    if op.kind is OpKind.MAX_POOL2D:
        return np.asarray(windows(image, attrs.kernel, attrs, out, -np.inf).max(axis=(3, 4)))
    total = windows(image, attrs.kernel, attrs, out, 0.0).sum(axis=(3, 4))
    count = windows(np.ones_like(image[:1]), attrs.kernel, attrs, out, 0.0).sum(axis=(3, 4))
    return np.asarray(total / count)


def _binary(op: Op, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rank = max(a.ndim, b.ndim)
    a, b = (v.reshape(len(v), *(1,) * (rank - v.ndim), *v.shape[1:]) for v in (a, b))
    if op.kind is OpKind.MUL:
        return np.asarray(a * b)
    return np.asarray(a + b if op.kind is OpKind.ADD else a - b)


def _sources(size: int, out: int, attrs: Resize) -> npt.NDArray[np.float64]:
    step = (size - 1) / (out - 1) if attrs.align_corners and out > 1 else size / out
    at = np.arange(out, dtype=np.float64)
    return (at + 0.5) * step - 0.5 if attrs.half_pixel_centers else at * step


def _resize(op: Op, attrs: Resize, x: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    image = x.reshape(-1, *x.shape[2:])
    rows, columns = (_sources(image.shape[i + 1], shape[i + 1], attrs) for i in range(2))
    if op.kind is OpKind.RESIZE_NEAREST:
        offset = 0.5 if attrs.half_pixel_centers or attrs.align_corners else 0.0
        r, c = (
            np.clip(np.floor(s + offset).astype(int), 0, image.shape[i + 1] - 1) for i, s in enumerate((rows, columns))
        )
        return image[:, r][:, :, c]
    for axis, source in ((1, rows), (2, columns)):
        low = np.clip(np.floor(source).astype(int), 0, image.shape[axis] - 1)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        weight = np.clip(source - low, 0.0, 1.0).reshape([-1 if i == axis else 1 for i in range(4)])
        image = np.take(image, low, axis) * (1 - weight) + np.take(image, high, axis) * weight
    return np.asarray(image)
