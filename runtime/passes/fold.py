# SPDX-License-Identifier: Apache-2.0
"""Constant folding: ops that only move or look up constants are evaluated, then dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from joulet.ir import (
    Array,
    Concat,
    DType,
    Graph,
    Op,
    OpKind,
    Pad,
    Slice,
    Tensor,
    Transpose,
    Unary,
)
from joulet.passes.rewrite import compact, held


def fold_constants(graph: Graph) -> Graph:
    """Return the graph without ops on constants, without ops nobody reads, and with no-ops as reshapes.

    Only moves, table look-ups and dequantisation are evaluated: each gives the same bits here as on a device.
    """
    tensors = list(graph.tensors)
    outside = held(graph)
    ops = []
    for op in graph.ops:
        evaluate = _EVALUATORS.get(op.kind)
        operands = [tensors[i].data for i in op.inputs]
        constants = [value for value in operands if value is not None]
        if evaluate is None or len(constants) < len(operands) or not outside.isdisjoint(op.outputs):
            ops.append(op)
            continue
        out = tensors[op.outputs[0]]
        value = evaluate(op, constants, [tensors[i] for i in op.inputs], out)
        if value is None:
            ops.append(op)
            continue
        tensors[op.outputs[0]] = replace(out, data=np.ascontiguousarray(value).reshape(out.shape))
    return compact(replace(graph, tensors=tuple(tensors), ops=tuple(ops)))


_Evaluator = Callable[[Op, list[Array], list[Tensor], Tensor], "Array | None"]


def _reshape(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    return values[0].reshape(out.shape)


def _transpose(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    assert isinstance(op.attrs, Transpose)
    return np.transpose(values[0], op.attrs.perm)


def _slice(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    assert isinstance(op.attrs, Slice)
    value = values[0]
    spans = zip(op.attrs.begin, op.attrs.stride, op.attrs.sizes, strict=True)
    for axis, (begin, stride, size) in enumerate(spans):
        value = np.take(value, begin + stride * np.arange(size), axis=axis)
    return value


def _concat(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    assert isinstance(op.attrs, Concat)
    return np.concatenate(values, axis=op.attrs.axis)


def _pad(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    assert isinstance(op.attrs, Pad)
    fill: float = op.attrs.value
    if out.dtype is DType.S8:
        if out.quant is None:
            return None
        fill = round(op.attrs.value / out.quant.scale[0]) + out.quant.zero_point
        if not -128 <= fill <= 127:
            return None
    widths = tuple(zip(op.attrs.before, op.attrs.after, strict=True))
    return np.pad(values[0], widths, constant_values=fill)


def _unary(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    assert isinstance(op.attrs, Unary)
    if op.attrs.table is None:
        return None
    return np.frombuffer(op.attrs.table, np.int8)[values[0].astype(np.int64) + 128]


def _dequantize(op: Op, values: list[Array], ins: list[Tensor], out: Tensor) -> Array | None:
    quant = ins[0].quant
    if quant is None or len(quant.scale) != 1:
        return None
    return np.asarray(quant.scale[0] * (values[0].astype(np.float64) - quant.zero_point), np.float32)


_EVALUATORS: dict[OpKind, _Evaluator] = {
    OpKind.RESHAPE: _reshape,
    OpKind.TRANSPOSE: _transpose,
    OpKind.STRIDED_SLICE: _slice,
    OpKind.CONCAT: _concat,
    OpKind.PAD: _pad,
    OpKind.UNARY: _unary,
    OpKind.DEQUANTIZE: _dequantize,
}
