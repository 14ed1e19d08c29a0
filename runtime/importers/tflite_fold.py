# SPDX-License-Identifier: Apache-2.0
"""Operators on constants, evaluated while importing: shape arithmetic and packed weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from joulet.importers.border import NotCoveredError
from joulet.importers.tflite_context import Context
from joulet.importers.tflite_read import RawOp
from joulet.importers.tflite_shapes import normal_axis, reshaped, slice_extents
from joulet.ir import Array

# Shape arithmetic is small and weights are folded one to one; a file that asks for more grows without end.
_MAX_JOINED_ELEMENTS = 1 << 20

_CAST_TYPES = {"INT32": np.int32, "INT64": np.int64, "FLOAT32": np.float32}


def fold(context: Context, op: RawOp) -> bool:
    """Evaluate ``op`` if it depends on constants (or only on a shape); return whether it did."""
    if op.code == "SHAPE":
        _store(context, op, _shape(context, op))
        return True
    evaluate = _EVALUATORS.get(op.code)
    if evaluate is None or not op.inputs:
        return False
    if any(context.known(i) is not None for i in op.inputs if i >= 0):
        return False
    operands = [context.const(i) for i in op.inputs]
    if any(value is None for value in operands):
        return False
    try:
        result = evaluate(context, op, [value for value in operands if value is not None])
    except (ValueError, IndexError, OverflowError) as error:
        raise context.fail(f"'{context.name(op)}' ({op.code}) cannot be evaluated: {error}") from error
    _store(context, op, result)
    return True


def _store(context: Context, op: RawOp, value: Array) -> None:
    index = op.outputs[0]
    if len(op.outputs) != 1 or index in context.consts or context.known(index) is not None:
        raise context.fail(f"operator {op.index} ({op.code}) writes a tensor that is already written")
    if context.raw.tensors[index].data is not None:
        raise context.fail(f"operator {op.index} ({op.code}) writes a constant")
    context.consts[index] = value


def _shape(context: Context, op: RawOp) -> Array:
    value = context.const(op.inputs[0]) if op.inputs else None
    if value is not None:
        return np.asarray(value.shape, np.int32)
    known = context.known(op.inputs[0]) if op.inputs else None
    if known is None:
        raise NotCoveredError("of a tensor that is not covered")
    return np.asarray(context.tensors[known].shape, np.int32)


def _dequantize(context: Context, op: RawOp, operands: list[Array]) -> Array:
    value = operands[0]
    if value.dtype in (np.dtype(np.float16), np.dtype(np.float32)):
        return value.astype(np.float32)
    raw = context.raw.tensors[op.inputs[0]]
    return dequantized(context, value, raw.index)


def dequantized(context: Context, value: Array, index: int) -> Array:
    """Return the real values of an int8 or uint8 constant as float32, one rounding a value."""
    raw = context.raw.tensors[index]
    if value.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise NotCoveredError(f"{raw.type} constant '{raw.name}'")
    count = len(raw.scale)
    if count == 0 or len(raw.zero_point) != count:
        raise context.fail(f"'{raw.name}' has {count} scales and {len(raw.zero_point)} zero points")
    scale = np.asarray(raw.scale, np.float64)
    zero = np.asarray(raw.zero_point, np.float64)
    if count > 1:
        if not 0 <= raw.axis < value.ndim or value.shape[raw.axis] != count:
            raise context.fail(f"'{raw.name}' has {count} scales along axis {raw.axis} of {list(value.shape)}")
        view = tuple(count if i == raw.axis else 1 for i in range(value.ndim))
        scale, zero = scale.reshape(view), zero.reshape(view)
    return np.asarray(scale * (value.astype(np.float64) - zero), np.float32)


def _strided_slice(context: Context, op: RawOp, operands: list[Array]) -> Array:
    begin, step, sizes, kept = slice_extents(context, op, operands[0].shape)
    value = operands[0]
    for axis, (b, s, n) in enumerate(zip(begin, step, sizes, strict=True)):
        value = np.take(value, b + s * np.arange(n), axis=axis)
    return value.reshape(tuple(sizes[i] for i in kept))


def _pack(context: Context, op: RawOp, operands: list[Array]) -> Array:
    _joined(context, op, operands)
    axis = int((op.options or {}).get("Axis", 0))
    return np.stack(operands, axis=axis)


def _concatenation(context: Context, op: RawOp, operands: list[Array]) -> Array:
    _joined(context, op, operands)
    return np.concatenate(operands, axis=int((op.options or {}).get("Axis", 0)))


def _joined(context: Context, op: RawOp, operands: list[Array]) -> None:
    if sum(o.size for o in operands) > _MAX_JOINED_ELEMENTS:
        raise context.fail(f"'{context.name(op)}' joins constants of more than {_MAX_JOINED_ELEMENTS} elements")
    if operands[0].dtype in (np.dtype(np.int8), np.dtype(np.uint8)):
        files = [context.raw.tensors[i] for i in (*op.inputs, op.outputs[0])]
        if len({(f.scale, f.zero_point) for f in files}) != 1:
            raise NotCoveredError("constants of different quantisation")


def _reshape(context: Context, op: RawOp, operands: list[Array]) -> Array:
    return operands[0].reshape(reshaped(context, op, operands[0].shape))


def _transpose(context: Context, op: RawOp, operands: list[Array]) -> Array:
    perm = context.integers(op, 1, "the permutation")
    if sorted(perm) != list(range(operands[0].ndim)):
        raise context.fail(f"'{context.name(op)}' permutes {operands[0].ndim} dimensions by {list(perm)}")
    return np.ascontiguousarray(np.transpose(operands[0], perm))


def _squeeze(context: Context, op: RawOp, operands: list[Array]) -> Array:
    return operands[0].reshape(reshaped(context, op, operands[0].shape))


def _cast(context: Context, op: RawOp, operands: list[Array]) -> Array:
    target = _CAST_TYPES.get(context.raw.tensors[op.outputs[0]].type)
    if target is None or operands[0].dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise NotCoveredError("")
    return operands[0].astype(target)


def _product(context: Context, op: RawOp, operands: list[Array]) -> Array:
    """reduce_prod of a shape vector, as converters emit for flatten."""
    if operands[0].dtype not in (np.dtype(np.int32), np.dtype(np.int64)) or operands[0].ndim != 1:
        raise NotCoveredError("")
    axes = context.integers(op, 1, "the axes")
    if [normal_axis(context, op, a, 1) for a in axes] != [0]:
        raise NotCoveredError("")
    return np.asarray(math.prod(int(v) for v in operands[0]), operands[0].dtype)


_EVALUATORS: dict[str, Callable[[Context, RawOp, list[Array]], Array]] = {
    "DEQUANTIZE": _dequantize,
    "STRIDED_SLICE": _strided_slice,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _squeeze,
    "TRANSPOSE": _transpose,
    "CAST": _cast,
    "REDUCE_PROD": _product,
}
