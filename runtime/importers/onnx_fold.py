# SPDX-License-Identifier: Apache-2.0
"""ONNX nodes on constants, evaluated while importing: shape arithmetic, turned weights, dequantised constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from joulet.importers.border import MAX_SCALE, NotCoveredError
from joulet.importers.onnx_context import Constant, Context
from joulet.importers.onnx_read import RawNode
from joulet.importers.onnx_shapes import resolve, slice_spans, squeezed, unsqueezed
from joulet.ir import Array

# Shape arithmetic is small and weights are folded one to one; a file that asks for more grows without end.
_MAX_GROWN_ELEMENTS = 1 << 20
_CASTS = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def fold(context: Context, node: RawNode) -> bool:
    """Evaluate ``node`` if it depends on constants (or only on a shape); return whether it did."""
    if node.op == "Shape":
        first, last = context.number(node, "start", 0), node.attributes.get("end")
        shape = _shape_of(context, node)[first : last if isinstance(last, int) else None]
        context.fold(node.outputs[0], Constant(data=np.asarray(shape, np.int64)))
        return True
    evaluate = _EVALUATORS.get(node.op)
    if evaluate is None or any(name and name not in context.constants for name in node.inputs):
        return False
    if len(node.outputs) != 1:
        raise context.fail(f"'{node.label}' ({node.op}) has {len(node.outputs)} outputs")
    try:
        result = evaluate(context, node)
    except (ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise context.fail(f"'{node.label}' ({node.op}) cannot be evaluated: {reason}") from error
    context.fold(node.outputs[0], result)
    return True


def _shape_of(context: Context, node: RawNode) -> tuple[int, ...]:
    name = node.inputs[0] if node.inputs else ""
    if name in context.constants:
        return context.constants[name].data.shape
    return context.value(node).shape


def _in(context: Context, node: RawNode, position: int = 0) -> Array:
    return context.constant(node, position, f"input {position}").real()


def _held(context: Context, node: RawNode) -> Constant:
    return context.constant(node, 0, "input 0")


def _bounded(context: Context, node: RawNode, count: int) -> None:
    if count > _MAX_GROWN_ELEMENTS:
        raise context.fail(f"'{node.label}' ({node.op}) makes a constant of {count} elements")


def _constant(context: Context, node: RawNode) -> Constant:
    if "value" in node.attributes:
        value = node.attributes["value"]
        if not isinstance(value, np.ndarray):
            raise context.fail(f"'{node.label}' (Constant) holds no tensor")
        return Constant(data=value)
    for name, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if name in node.attributes:
            return Constant(data=np.asarray(node.attributes[name], dtype))
    raise NotCoveredError("without a tensor or numbers")


def _constant_of_shape(context: Context, node: RawNode) -> Constant:
    shape = context.integers(node, 0, "the shape")
    value = node.attributes.get("value")
    fill: Array = value.reshape(-1)[:1] if isinstance(value, np.ndarray) and value.size == 1 else np.zeros(1, "f4")
    if any(s < 0 for s in shape):
        raise context.fail(f"'{node.label}' makes shape {list(shape)}")
    _bounded(context, node, math.prod(shape))
    return Constant(data=np.broadcast_to(fill, (math.prod(shape),)).reshape(shape).copy())


def _cast(context: Context, node: RawNode) -> Constant:
    target = _CASTS.get(context.number(node, "to", 0))
    if target is None:
        raise NotCoveredError("to this type")
    with np.errstate(all="ignore"):
        return Constant(data=_in(context, node).astype(target))


def _gather(context: Context, node: RawNode) -> Constant:
    data, index = _in(context, node), context.constant(node, 1, "the index").data
    if index.dtype.kind != "i":
        raise context.fail(f"'{node.label}' (Gather) has indices of type {index.dtype}")
    _bounded(context, node, data.size * max(index.size, 1))
    return Constant(data=np.take(data, index.astype(np.int64), axis=context.number(node, "axis", 0)))


def _concat(context: Context, node: RawNode) -> Constant:
    parts = [_in(context, node, i) for i in range(len(node.inputs))]
    _bounded(context, node, sum(p.size for p in parts))
    return Constant(data=np.concatenate(parts, axis=context.number(node, "axis", 0)))


def _slice(context: Context, node: RawNode) -> Constant:
    value = _in(context, node)
    for axis, (begin, step, size) in enumerate(slice_spans(context, node, value.shape)):
        value = np.take(value, begin + step * np.arange(size), axis=axis)
    return Constant(data=value)


def _arithmetic(context: Context, node: RawNode) -> Constant:
    a: Any = _in(context, node, 0)
    b: Any = _in(context, node, 1)
    if a.dtype != b.dtype or a.dtype.kind not in "if":
        raise context.fail(f"'{node.label}' ({node.op}) mixes {a.dtype} and {b.dtype}")
    _bounded(context, node, math.prod(np.broadcast_shapes(a.shape, b.shape)))
    with np.errstate(all="ignore"):
        match node.op:
            case "Add":
                result = a + b
            case "Sub":
                result = a - b
            case "Mul":
                result = a * b
            case _ if a.dtype.kind == "f":
                result = a / b
            case _:
                if (b == 0).any():
                    raise context.fail(f"'{node.label}' (Div) divides by zero")
                result = np.trunc(a / b).astype(a.dtype)
    return Constant(data=np.asarray(result, a.dtype))


def _reshape(context: Context, node: RawNode) -> Constant:
    held = _held(context, node)
    shape = resolve(context, node, held.data.shape, context.integers(node, 1, "the shape"))
    return _reread(held, shape)


def _squeeze(context: Context, node: RawNode) -> Constant:
    held = _held(context, node)
    change = squeezed if node.op == "Squeeze" else unsqueezed
    return _reread(held, change(context, node, held.data.shape))


def _reread(held: Constant, shape: tuple[int, ...]) -> Constant:
    """Return a constant in another shape; integers stay integers where one scale holds for all of them."""
    if held.scale is not None and held.scale.size > 1:
        return Constant(data=held.real().reshape(shape))
    return replace(held, data=held.data.reshape(shape), axis=0)


def _transpose(context: Context, node: RawNode) -> Constant:
    held = _held(context, node)
    rank = held.data.ndim
    perm = context.numbers(node, "perm") or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise context.fail(f"'{node.label}' permutes {rank} dimensions by {list(perm)}")
    axis = perm.index(held.axis) if held.axis in perm else 0
    return replace(held, data=np.ascontiguousarray(np.transpose(held.data, perm)), axis=axis)


def _dequantize(context: Context, node: RawNode) -> Constant:
    data = _held(context, node).data
    if data.dtype not in (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int32)):
        raise NotCoveredError(f"{data.dtype} constants")
    scale: Any = context.constant(node, 1, "the scale").data
    zero = context.constant(node, 2, "the zero point").data if context.has(node, 2) else np.zeros(scale.shape, "i1")
    axis = context.number(node, "axis", 1)
    if context.number(node, "block_size", 0):
        raise NotCoveredError("of blocks (quantise per channel)")
    if scale.dtype.kind != "f" or scale.ndim > 1 or zero.size not in (1, scale.size) or scale.size == 0:
        raise context.fail(f"'{node.label}' has {scale.size} scales and {zero.size} zero points")
    if not (np.isfinite(scale).all() and (scale >= 0).all() and (scale <= MAX_SCALE).all()):
        raise context.fail(f"'{node.label}' has scales outside 0 to {MAX_SCALE:g}")
    if scale.size > 1:
        axis = axis + data.ndim if axis < 0 else axis
        if not 0 <= axis < data.ndim or data.shape[axis] != scale.size:
            raise context.fail(f"'{node.label}' has {scale.size} scales along axis {axis} of {list(data.shape)}")
    zeros = np.broadcast_to(zero.reshape(-1), (scale.size,)).astype(np.int64)
    return Constant(data=data, scale=scale.reshape(-1).astype(np.float32), zero_point=zeros, axis=axis)


def _quantize(context: Context, node: RawNode) -> Constant:
    """Quantise a constant, as files of quantisation-aware training hold their weights: halves to even."""
    real = _in(context, node)
    scale = context.constant(node, 1, "the scale").data.astype(np.float64)
    zero: Any = context.constant(node, 2, "the zero point").data if context.has(node, 2) else np.zeros((), np.uint8)
    if zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)) or not (scale > 0).all() or scale.ndim > 1:
        raise NotCoveredError("constants to anything but int8 or uint8")
    axis = context.number(node, "axis", 1)
    view = [1] * real.ndim
    if scale.size > 1:
        axis = axis + real.ndim if axis < 0 else axis
        if not 0 <= axis < real.ndim or real.shape[axis] != scale.size or zero.size not in (1, scale.size):
            raise context.fail(f"'{node.label}' has {scale.size} scales along axis {axis} of {list(real.shape)}")
        view[axis] = scale.size
    low, high = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
    zeros = np.broadcast_to(zero.astype(np.int64).reshape(-1), (scale.size,)).reshape(view)
    q = np.clip(np.rint(real.astype(np.float64) / scale.reshape(view)) + zeros, low, high)
    return Constant(data=q.astype(zero.dtype))


def _same(context: Context, node: RawNode) -> Constant:
    return _held(context, node)


_EVALUATORS: dict[str, Callable[[Context, RawNode], Constant]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Transpose": _transpose,
    "Identity": _same,
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
}
