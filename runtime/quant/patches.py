# SPDX-License-Identifier: Apache-2.0
"""Input patches of a layer as the rows of a matrix, so that every output of it is one product of a row with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.ir import Conv, Graph, Op, OpKind
from joulet.quant.probe import Array

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Outputs that read the same inputs: rows of the weight matrix, and the columns of a patch that they read."""

    rows: slice
    columns: npt.NDArray[np.int64]


def weight_matrix(op: Op, weights: Array) -> npt.NDArray[np.int64]:
    """Return the weights of a layer as ``(o, k)``; k is the length of one output's sum."""
    data = np.asarray(weights).astype(np.int64)
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        return np.ascontiguousarray(data[0].reshape(-1, data.shape[3]).T)
    return data.reshape(len(data), -1)


def weight_tensor(op: Op, matrix: npt.NDArray[np.int64], shape: Sequence[int]) -> npt.NDArray[np.int8]:
    """Return ``(o, k)`` in the layout of the op's weight tensor."""
    rows = matrix.T if op.kind is OpKind.DEPTHWISE_CONV2D else matrix
    return np.ascontiguousarray(rows.reshape(tuple(shape)).astype(np.int8))


def blocks(graph: Graph, op: Op) -> tuple[Block, ...]:
    """Return which outputs read which columns of a patch ``(kh·kw·in_c,)``."""
    weights = graph.tensors[op.inputs[1]].shape
    if not isinstance(op.attrs, Conv):
        return (Block(rows=slice(None), columns=np.arange(weights[1])),)
    channels = graph.tensors[op.inputs[0]].shape[3]
    taps = weights[1] * weights[2]
    grid = np.arange(taps * channels).reshape(taps, channels)
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        each = weights[3] // channels
        return tuple(Block(rows=slice(c * each, (c + 1) * each), columns=grid[:, c]) for c in range(channels))
    groups = op.attrs.groups
    per, each = channels // groups, weights[0] // groups
    return tuple(
        Block(rows=slice(g * each, (g + 1) * each), columns=grid[:, g * per : (g + 1) * per].reshape(-1))
        for g in range(groups)
    )


def positions(graph: Graph, op: Op, n: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return output positions ``(n, taken)`` drawn from each of n samples, about ``most`` in all; one for fully connected."""
    if not isinstance(op.attrs, Conv):
        return np.zeros((n, 1), np.int64)
    out_h, out_w = graph.tensors[op.outputs[0]].shape[1:3]
    taken = max(1, min(out_h * out_w, most // n))
    return np.stack([rng.permutation(out_h * out_w)[:taken] for _ in range(n)])


def patch_rows(graph: Graph, op: Op, values: Array, place: npt.NDArray[np.int64]) -> F32:
    """Return patches of x − zero point at output positions of every sample.

    Parameters
    ----------
    graph, op
        A weighted op.
    values
        Inputs of the op ``(n, *shape[1:])``, int8.
    place
        Output positions ``(n, taken)``.

    Returns
    -------
    array
        ``(rows, kh·kw·in_c)`` for convolutions, ``(rows, i)`` for fully connected; padding counts as 0.
    """
    quant = graph.tensors[op.inputs[0]].quant
    weights = graph.tensors[op.inputs[1]].shape
    x = values.astype(np.float32) - (quant.zero_point if quant else 0)
    if not isinstance(op.attrs, Conv):
        return x.reshape(-1, weights[1])
    out_h, out_w = graph.tensors[op.outputs[0]].shape[1:3]
    stride, pad, step = op.attrs.stride, op.attrs.pad, op.attrs.dilation
    n, height, width, channels = x.shape
    kh, kw = weights[1], weights[2]
    below = max(0, (out_h - 1) * stride[0] + (kh - 1) * step[0] + 1 - height - pad[0])
    right = max(0, (out_w - 1) * stride[1] + (kw - 1) * step[1] + 1 - width - pad[1])
    padded = np.pad(x, ((0, 0), (pad[0], below), (pad[1], right), (0, 0)))
    taken = place.shape[1]
    top, left = place // out_w * stride[0], place % out_w * stride[1]
    sample = np.arange(n)[:, None]
    rows = np.empty((n, taken, kh, kw, channels), np.float32)
    for i in range(kh):
        for j in range(kw):
            rows[:, :, i, j] = padded[sample, top + i * step[0], left + j * step[1]]
    return rows.reshape(n * taken, -1)
