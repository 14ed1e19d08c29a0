# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that only move values or change how they are read, and those at the borders of int8."""

from __future__ import annotations

import math
from collections.abc import Callable

from joulet.importers.border import NotCoveredError
from joulet.importers.onnx_context import Context, Value
from joulet.importers.onnx_ops import requantised
from joulet.importers.onnx_read import RawNode
from joulet.importers.onnx_shapes import axes_of, normal_axis, resolve, slice_spans, squeezed, unsqueezed
from joulet.ir import Concat, Convert, DType, OpKind, Pad, Slice

_FLOATS = (1, 10, 11)


# Only the reading changes


def _reread(context: Context, node: RawNode) -> None:
    value = context.value(node)
    match node.op:
        case "Reshape":
            shape = resolve(context, node, value.shape, context.integers(node, 1, "the shape"))
        case "Flatten":
            rank = len(value.shape)
            axis = context.number(node, "axis", 1)
            axis = rank if axis == rank else normal_axis(context, node, axis, rank)
            shape = (math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))
        case "Squeeze":
            shape = squeezed(context, node, value.shape)
        case _:
            shape = unsqueezed(context, node, value.shape)
    context.bind(node.outputs[0], Value(tensor=value.tensor, perm=value.perm, shape=shape))


def _transpose(context: Context, node: RawNode) -> None:
    value, place = context.direct(context.value(node))
    rank = len(value.shape)
    perm = context.numbers(node, "perm") or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise context.fail(f"'{node.label}' permutes {rank} dimensions by {list(perm)}")
    unnamed = tuple(a for a in value.perm if a not in place)
    turned = (*(place[p] for p in perm), *unnamed)
    shape = tuple(value.shape[p] for p in perm)
    context.bind(node.outputs[0], Value(tensor=value.tensor, perm=turned, shape=shape))


def _same(context: Context, node: RawNode) -> None:
    if len([o for o in node.outputs if o]) > 1 and any(context.users.get(o) for o in node.outputs[1:]):
        raise NotCoveredError("whose mask is read")
    if node.op == "Cast" and context.number(node, "to", 0) not in _FLOATS:
        raise NotCoveredError("of activations to integers")
    if node.op == "Dropout" and context.has(node, 2) and context.constant(node, 2, "training_mode").data.any():
        raise NotCoveredError("in training mode (export the model for inference)")
    context.bind(node.outputs[0], context.value(node))


# Moves


def _concat(context: Context, node: RawNode) -> None:
    if not node.inputs:
        raise context.fail(f"'{node.label}' joins nothing")
    values = context.agree([context.value(node, i) for i in range(len(node.inputs))])
    first = values[0]
    axis = normal_axis(context, node, context.number(node, "axis", 1), len(first.shape))
    rest = {(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values}
    if len(rest) != 1 or len({len(v.shape) for v in values}) != 1:
        raise context.fail(f"'{node.label}' joins shapes {', '.join(str(list(v.shape)) for v in values[:6])}")
    place = context.axes(first)
    assert place is not None
    parts = [v.tensor for v in values]
    quant = None
    if context.same_type(*parts):
        quant = context.requested(node.outputs[0]) or context.quant(parts[0])
        assert quant is not None
        parts = [requantised(context, f"{node.label}:input_{i}", t, quant) for i, t in enumerate(parts)]
    total = sum(v.shape[axis] for v in values)
    stored = list(context.tensors[parts[0]].shape)
    stored[place[axis]] = total
    y = context.activation(node.outputs[0], stored, quant)
    context.emit(OpKind.CONCAT, node.label, parts, y, Concat(axis=place[axis]))
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    context.bind(node.outputs[0], Value(tensor=y, perm=first.perm, shape=shape))


def _cut(
    context: Context, node: RawNode, name: str, value: Value, place: tuple[int, ...], spans: tuple[tuple[int, int, int], ...]
) -> None:  # fmt: skip
    """Emit a strided slice; ``spans`` has (begin, step, size) for each of the file's dimensions."""
    stored = context.tensors[value.tensor].shape
    begin, stride, sizes = [0] * len(stored), [1] * len(stored), list(stored)
    for axis, (b, s, n) in zip(place, spans, strict=True):
        begin[axis], stride[axis], sizes[axis] = b, s, n
    shape = tuple(n for _, _, n in spans)
    if tuple(sizes) == stored and all(s > 0 for s in stride):
        context.bind(name, Value(tensor=value.tensor, perm=value.perm, shape=shape))
        return
    y = context.activation(name, sizes, context.quant(value.tensor))
    attrs = Slice(begin=tuple(begin), stride=tuple(stride), sizes=tuple(sizes))
    context.emit(OpKind.STRIDED_SLICE, name, (value.tensor,), y, attrs)
    context.bind(name, Value(tensor=y, perm=value.perm, shape=shape))


def _slice(context: Context, node: RawNode) -> None:
    value, place = context.direct(context.value(node))
    _cut(context, node, node.outputs[0], value, place, slice_spans(context, node, value.shape))


def _split(context: Context, node: RawNode) -> None:
    value, place = context.direct(context.value(node))
    axis = normal_axis(context, node, context.number(node, "axis", 0), len(value.shape))
    count, extent = len(node.outputs), value.shape[axis]
    sizes = context.numbers(node, "split")
    if sizes is None and context.has(node, 1):
        sizes = context.integers(node, 1, "the sizes")
    if sizes is None:
        each = -(-extent // count)
        sizes = tuple(min(each, extent - i * each) for i in range(count))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != extent:
        raise context.fail(f"'{node.label}' splits {extent} into {list(sizes)} for {count} outputs")
    start = 0
    for name, size in zip(node.outputs, sizes, strict=True):
        spans = tuple((start, 1, size) if a == axis else (0, 1, s) for a, s in enumerate(value.shape))
        if name:
            _cut(context, node, name, value, place, spans)
        start += size


def _pad(context: Context, node: RawNode) -> None:
    if context.text(node, "mode", "constant") != "constant":
        raise NotCoveredError("by anything but a constant")
    value, place = context.direct(context.value(node))
    rank = len(value.shape)
    old = context.numbers(node, "pads")
    pads = old if old is not None else context.integers(node, 1, "the padding")
    axes = axes_of(context, node, 3, rank) if old is None else None
    axes = tuple(range(rank)) if axes is None else axes
    if len(pads) != 2 * len(axes) or max(map(abs, pads), default=0) > 1 << 16:
        raise context.fail(f"'{node.label}' pads {len(axes)} dimensions by {list(pads)}")
    if min(pads, default=0) < 0:
        raise NotCoveredError("by a negative amount")
    fill = context.real(node, "value", 0.0)
    if old is None and context.has(node, 2):
        given = context.constant(node, 2, "the value").real()
        fill = float(given.reshape(-1)[0]) if given.size else 0.0
    if not math.isfinite(fill):
        raise NotCoveredError(f"by {fill}")
    stored = context.tensors[value.tensor].shape
    before, after, shape = [0] * len(stored), [0] * len(stored), list(value.shape)
    for i, axis in enumerate(axes):
        before[place[axis]], after[place[axis]] = pads[i], pads[len(axes) + i]
        shape[axis] += pads[i] + pads[len(axes) + i]
    padded = [b + s + a for b, s, a in zip(before, stored, after, strict=True)]
    y = context.activation(node.outputs[0], padded, context.quant(value.tensor))
    attrs = Pad(before=tuple(before), after=tuple(after), value=fill)
    context.emit(OpKind.PAD, node.label, (value.tensor,), y, attrs)
    context.bind(node.outputs[0], Value(tensor=y, perm=value.perm, shape=tuple(shape)))


# Borders of int8


def _quantize(context: Context, node: RawNode) -> None:
    value = context.value(node)
    quant = context.node_quant(node)
    have = context.tensors[value.tensor]
    if have.dtype is DType.S8:
        y = requantised(context, node.outputs[0], value.tensor, quant)
    elif have.dtype is DType.F32:
        y = context.activation(node.outputs[0], have.shape, quant)
        context.emit(OpKind.QUANTIZE, node.label, (value.tensor,), y, Convert())
    else:
        raise NotCoveredError("of integers")
    context.bind(node.outputs[0], Value(tensor=y, perm=value.perm, shape=value.shape))


def _dequantize(context: Context, node: RawNode) -> None:
    value = context.value(node)
    quant = context.node_quant(node)
    have = context.quant(value.tensor)
    if have is None:
        raise context.fail(f"'{node.label}' dequantises what is not int8")
    if have != quant:
        raise NotCoveredError("on another scale than the values were quantised on")
    context.bind(node.outputs[0], value)


MOVERS: dict[str, Callable[[Context, RawNode], None]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reread),
    "Transpose": _transpose,
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
