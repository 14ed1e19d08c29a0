# SPDX-License-Identifier: Apache-2.0
"""ONNX operators that compute without weights: pools, means, arithmetic, activations, softmax, resize, argmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from joulet import numerics
from joulet.importers.border import NotCoveredError
from joulet.importers.onnx_context import Constant, Context, Value
from joulet.importers.onnx_read import RawNode
from joulet.importers.onnx_shapes import axes_of, normal_axis, windows
from joulet.importers.onnx_weighted import batch_normal, conv, dense, needs_quant
from joulet.ir import (
    Activation,
    ArgMax,
    Array,
    Binary,
    DType,
    OpKind,
    Pad,
    Pool,
    Quant,
    Reduce,
    Resize,
    Softmax,
    Tensor,
    Unary,
    UnaryKind,
)

UNIT = Quant(scale=(1.0 / 256.0,), zero_point=-128)
_SIGNED_UNIT = Quant(scale=(1.0 / 128.0,), zero_point=0)
_UNARY = {
    "Relu": UnaryKind.RELU,
    "Sigmoid": UnaryKind.LOGISTIC,
    "Tanh": UnaryKind.TANH,
    "HardSwish": UnaryKind.HARD_SWISH,
    "LeakyRelu": UnaryKind.LEAKY_RELU,
    "PRelu": UnaryKind.LEAKY_RELU,
    "Clip": UnaryKind.RELU,
}
_MAX_EXTENT = 1 << 16
_CLAMPS = {
    Activation.RELU: UnaryKind.RELU,
    Activation.RELU6: UnaryKind.RELU6,
    Activation.RELU_N1_TO_1: UnaryKind.RELU_N1_TO_1,
}


def requantised(context: Context, name: str, tensor: int, quant: Quant) -> int:
    """Return an int8 tensor on another grid."""
    have = context.quant(tensor)
    assert have is not None
    if have == quant:
        return tensor
    y = context.activation(name, context.tensors[tensor].shape, quant)
    table = numerics.unary_table(UnaryKind.REQUANTIZE, 0.0, have, quant)
    context.emit(OpKind.UNARY, name, (tensor,), y, Unary(kind=UnaryKind.REQUANTIZE, table=table))
    return y


# Pools and means


def _pool(context: Context, node: RawNode) -> None:
    if len([o for o in node.outputs if o]) != 1:
        raise NotCoveredError("with indices of the maxima")
    value = context.value(node)
    rank = len(value.shape)
    x = context.image(value)
    n, height, width, channels = context.tensors[x].shape
    kernel = context.numbers(node, "kernel_shape")
    if kernel is None or len(kernel) != rank - 2:
        raise context.fail(f"'{node.label}' ({node.op}) has no kernel_shape of {rank - 2} numbers")
    space = (height, width) if rank == 4 else (width,)
    out, strides, dilations, before, after = windows(context, node, space, kernel)
    if max(dilations) > 1 or context.number(node, "storage_order", 0):
        raise NotCoveredError("dilated, or in column order")
    if rank == 3:
        out, strides, kernel = (1, *out), (1, *strides), (1, *kernel)
        before, after = (0, *before), (0, *after)
    average = node.op == "AveragePool"
    if average and context.number(node, "count_include_pad", 0) and max(*before, *after):
        if context.number(node, "ceil_mode", 0):
            raise NotCoveredError("with count_include_pad and ceil_mode")
        x = _zeros_around(context, node, x, before, after)
        before = (0, 0)
    quant = context.quant(x)
    y = context.activation(node.outputs[0], (n, *out, channels), quant)
    pads = (before[0], before[1])
    attrs = Pool(kernel=(kernel[0], kernel[1]), stride=(strides[0], strides[1]), pad=pads)
    context.emit(OpKind.AVG_POOL2D if average else OpKind.MAX_POOL2D, node.label, (x,), y, attrs)
    context.bind(node.outputs[0], context.of_image(y, rank))


def _zeros_around(context: Context, node: RawNode, x: int, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    n, h, w, c = context.tensors[x].shape
    shape = (n, h + before[0] + after[0], w + before[1] + after[1], c)
    y = context.activation(f"{node.label}:padded", shape, context.quant(x))
    attrs = Pad(before=(0, *before, 0), after=(0, *after, 0))
    context.emit(OpKind.PAD, f"{node.label}:padded", (x,), y, attrs)
    return y


def _global_pool(context: Context, node: RawNode) -> None:
    value = context.value(node)
    x = context.image(value)
    n, h, w, c = context.tensors[x].shape
    average = node.op == "GlobalAveragePool"
    have = context.quant(x)
    quant = (context.requested(node.outputs[0]) or have) if average else have
    y = context.activation(node.outputs[0], (n, 1, 1, c), quant if have else None)
    if average:
        context.emit(OpKind.MEAN, node.label, (x,), y, Reduce(axes=(1, 2), keep_dims=True))
    else:
        context.emit(OpKind.MAX_POOL2D, node.label, (x,), y, Pool(kernel=(h, w), stride=(1, 1)))
    context.bind(node.outputs[0], context.of_image(y, len(value.shape)))


def _mean(context: Context, node: RawNode) -> None:
    value, place = context.direct(context.value(node))
    rank = len(value.shape)
    named = axes_of(context, node, 1, rank)
    if not named and context.number(node, "noop_with_empty_axes", 0):
        context.bind(node.outputs[0], context.value(node))
        return
    axes = named or tuple(range(rank))
    keep = context.number(node, "keepdims", 1) != 0
    stored = context.tensors[value.tensor].shape
    unnamed = set(range(len(stored))) - set(place)
    reduced = {place[a] for a in axes} | (set() if keep else unnamed)
    shape = tuple(1 if i in reduced else s for i, s in enumerate(stored) if keep or i not in reduced)
    have = context.quant(value.tensor)
    quant = (context.requested(node.outputs[0]) or have) if have else None
    y = context.activation(node.outputs[0], shape, quant)
    attrs = Reduce(axes=tuple(sorted(reduced)), keep_dims=keep)
    context.emit(OpKind.MEAN, node.label, (value.tensor,), y, attrs)
    seen = tuple(1 if a in axes else s for a, s in enumerate(value.shape) if keep or a not in axes)
    context.bind(node.outputs[0], Value(tensor=y, perm=_dropped(value.perm, set() if keep else reduced), shape=seen))


def _dropped(perm: tuple[int, ...], gone: set[int]) -> tuple[int, ...]:
    """Return a permutation without some axes, the rest renumbered."""
    kept = sorted(set(perm) - gone)
    return tuple(kept.index(p) for p in perm if p not in gone)


# Arithmetic

_KINDS = {"Add": OpKind.ADD, "Sum": OpKind.ADD, "Sub": OpKind.SUB, "Mul": OpKind.MUL, "Div": OpKind.MUL}


def _binary(context: Context, node: RawNode) -> None:
    if len(node.inputs) != 2:
        raise NotCoveredError(f"of {len(node.inputs)} inputs")
    if node.op == "Mul" and _hard_swish(context, node):
        return
    constants = [context.constants.get(name) for name in node.inputs]
    if node.op == "Div":
        divisor = constants[1]
        if divisor is None:
            raise NotCoveredError("by something computed")
        with np.errstate(divide="ignore"):
            constants[1] = Constant(data=np.asarray(1.0 / divisor.real().astype(np.float64), np.float32))
    values = [None if held is not None else context.value(node, i) for i, held in enumerate(constants)]
    known = [v for v in values if v is not None]
    shapes = [v.shape for v in known] + [c.data.shape for c in constants if c is not None]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise context.fail(f"'{node.label}' ({node.op}) joins shapes {' and '.join(map(str, shapes))}") from error
    agreed = iter(_agreed(context, known, len(shape)))
    seen = [None if v is None else next(agreed) for v in values]
    like = next(v for v in seen if v is not None)
    place = context.axes(like)
    assert place is not None
    integer = context.same_type(*(v.tensor for v in seen if v is not None))
    inputs = []
    for v, held, suffix in zip(seen, constants, "ab", strict=True):
        if v is not None:
            inputs.append(v.tensor)
        elif held is not None:
            rank = len(context.tensors[like.tensor].shape)
            inputs.append(_operand(context, node, held, place, rank, f"{node.label}:{suffix}", integer=integer))
    follow = context.follow(node.outputs[0], clamps=True)
    stored = np.broadcast_shapes(*(context.tensors[t].shape for t in inputs))
    y = context.activation(follow.name, stored, needs_quant(follow.quant, integer=integer))
    context.emit(_KINDS[node.op], node.label, inputs, y, Binary(activation=follow.activation))
    context.bind(follow.name, Value(tensor=y, perm=like.perm, shape=shape))


def _agreed(context: Context, values: list[Value], rank: int) -> list[Value]:
    """Return the operands that are computed in one order, with as many dimensions as the result."""
    if any(len(v.shape) != rank for v in values):
        lifted = [Value(tensor=v.tensor, perm=v.perm, shape=(1,) * (rank - len(v.shape)) + v.shape) for v in values]
        return [context.of_plain(context.plain(v)) for v in lifted]
    return context.agree(values)


def _operand(
    context: Context, node: RawNode, held: Constant, place: tuple[int, ...], rank: int, name: str, *, integer: bool
) -> int:
    """Add a constant operand, its dimensions where the other operand has them."""
    data = held.data
    shape = (1,) * (len(place) - data.ndim) + data.shape
    order = [place.index(axis) for axis in range(rank) if axis in place]
    stored = [shape[place.index(axis)] if axis in place else 1 for axis in range(rank)]

    def turned(values: Array) -> Array:
        return np.ascontiguousarray(values.reshape(shape).transpose(order)).reshape(stored)

    if not integer:
        real = turned(held.real()).astype(np.float32)
        if not np.isfinite(real).all():
            raise context.fail(f"'{node.label}' ({node.op}) has a constant without end")
        return context.add(Tensor(name=name, shape=real.shape, dtype=DType.F32, data=real))
    if held.scale is not None and held.zero_point is not None and held.scale.size == 1 and data.dtype.itemsize == 1:
        lowest = 128 if data.dtype == np.uint8 else 0
        q = turned((data.astype(np.int16) - lowest).astype(np.int8))
        quant = Quant(scale=(float(held.scale[0]),), zero_point=int(held.zero_point[0]) - lowest)
        if not -128 <= quant.zero_point <= 127 or quant.scale[0] <= 0:
            raise context.fail(f"'{node.label}' ({node.op}) has a constant of broken quantisation")
    else:
        q, quant = _quantised(context, node, turned(held.real()).astype(np.float64))
    return context.add(Tensor(name=name, shape=q.shape, dtype=DType.S8, quant=quant, data=q))


def _quantised(context: Context, node: RawNode, real: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int8], Quant]:
    """Quantise a float constant of an int8 layer to the int8 grid that covers it."""
    low, high = min(float(real.min()), 0.0), max(float(real.max()), 0.0)
    if not math.isfinite(high - low):
        raise context.fail(f"'{node.label}' ({node.op}) has a constant without end")
    scale = float(np.float32(max((high - low) / 255.0, 1e-7)))
    zero = int(np.clip(round(-128 - low / scale), -128, 127))
    q = np.clip(np.rint(real / scale) + zero, -128, 127).astype(np.int8)
    return q, Quant(scale=(scale,), zero_point=zero)


def _batch_normal(context: Context, node: RawNode) -> None:
    """Convert a normalisation that no weighted op could take: a product and a sum."""
    gain, shift = batch_normal(context, node)
    value, place = context.direct(context.value(node))
    if context.quant(value.tensor) is not None:
        raise NotCoveredError("on int8 (fold it into the layer before it, then quantise)")
    if len(value.shape) < 2 or value.shape[1] != gain.size:
        raise context.fail(f"'{node.label}' ({node.op}) has {gain.size} channels for {list(value.shape)}")
    view = (1, -1, *(1,) * (len(value.shape) - 2))
    x = value.tensor
    rank = len(context.tensors[x].shape)
    for kind, numbers, suffix in ((OpKind.MUL, gain, "gain"), (OpKind.ADD, shift, "shift")):
        held = Constant(data=numbers.astype(np.float32).reshape(view))
        operand = _operand(context, node, held, place, rank, f"{node.label}:{suffix}", integer=False)
        last = kind is OpKind.ADD
        follow = context.follow(node.outputs[0], clamps=True) if last else None
        y = context.activation(follow.name if follow else f"{node.label}:scaled", context.tensors[x].shape, None)
        activation = follow.activation if follow else Activation.NONE
        context.emit(kind, f"{node.label}:{suffix}", (x, operand), y, Binary(activation=activation))
        x = y
        if follow:
            context.bind(follow.name, Value(tensor=y, perm=value.perm, shape=value.shape))


# Functions of one variable


def _unary(context: Context, node: RawNode) -> None:
    kind, alpha = _UNARY[node.op], 0.0
    if node.op == "LeakyRelu":
        alpha = context.real(node, "alpha", 0.01)
    if node.op == "PRelu":
        slope = context.constant(node, 1, "the slope").real()
        if slope.size != 1:
            raise NotCoveredError("with a slope a channel (use LeakyRelu)")
        alpha = float(slope.reshape(-1)[0])
    if node.op == "Clip":
        clamp = context.clamp(node)
        if clamp is None:
            low, high = context.clip_range(node)
            raise NotCoveredError(f"from {low:g} to {high:g} (0 to 6, -1 to 1 and 0 upwards are covered)")
        kind = _CLAMPS[clamp]
    _function(context, node, kind, alpha, context.value(node), node.outputs[0])


def _function(context: Context, node: RawNode, kind: UnaryKind, alpha: float, value: Value, name: str) -> None:
    have = context.quant(value.tensor)
    quant, table = None, None
    if have is not None:
        quant = context.requested(name) or _own_grid(kind, have)
        if kind is UnaryKind.RELU6 and quant != have:
            # The int8 rule clamps on the input's grid: rescale first.
            value = Value(
                tensor=requantised(context, f"{node.label}:grid", value.tensor, quant),
                perm=value.perm,
                shape=value.shape,
            )
            have = quant
        fixed = {UnaryKind.LOGISTIC: UNIT, UnaryKind.TANH: _SIGNED_UNIT}.get(kind)
        table = numerics.unary_table(kind, alpha, have, quant, uint8=fixed is not None and quant != fixed)
    y = context.activation(name, context.tensors[value.tensor].shape, quant)
    context.emit(OpKind.UNARY, node.label, (value.tensor,), y, Unary(kind=kind, alpha=alpha, table=table))
    context.bind(name, Value(tensor=y, perm=value.perm, shape=value.shape))


def _own_grid(kind: UnaryKind, have: Quant) -> Quant:
    """Return the grid of a function whose result the file does not quantise."""
    if kind is UnaryKind.LOGISTIC:
        return UNIT
    if kind is UnaryKind.TANH:
        return _SIGNED_UNIT
    if kind in (UnaryKind.RELU, UnaryKind.RELU6, UnaryKind.RELU_N1_TO_1):
        return have
    raise NotCoveredError("its result is not quantised (add QuantizeLinear after it)")


def _is_hard_gate(context: Context, node: RawNode) -> bool:
    return (
        node.op == "HardSigmoid"
        and abs(context.real(node, "alpha", 0.2) - 1 / 6) < 1e-6
        and context.real(node, "beta", 0.5) == 0.5
    )


def _hard_sigmoid(context: Context, node: RawNode) -> None:
    """relu6(x + 3) / 6; with the product that follows it, hard swish."""
    if not _is_hard_gate(context, node):
        raise NotCoveredError("with a slope other than 1/6 and an offset other than 1/2")
    after = context.only_user(node.outputs[0])
    if after is not None and after.op == "Mul" and node.inputs[0] in after.inputs:
        return  # _hard_swish takes both
    value, place = context.direct(context.value(node))
    have = context.quant(value.tensor)
    shape = context.tensors[value.tensor].shape
    integer = have is not None
    quant = needs_quant(context.requested(node.outputs[0]), integer=integer)
    middle = Quant(scale=(float(np.float32(6.0 / 255.0)),), zero_point=-128) if integer else None
    x = value.tensor
    steps = ((OpKind.ADD, 3.0, middle, Activation.RELU6), (OpKind.MUL, 1.0 / 6.0, quant, Activation.NONE))
    for kind, number, grid, activation in steps:
        held = Constant(data=np.asarray(number, np.float32))
        label = f"{node.label}:{kind.value}"
        operand = _operand(context, node, held, place, len(shape), f"{label}:b", integer=integer)
        y = context.activation(label, shape, grid)
        context.emit(kind, label, (x, operand), y, Binary(activation=activation))
        x = y
    context.bind(node.outputs[0], Value(tensor=x, perm=value.perm, shape=value.shape))


def _hard_swish(context: Context, node: RawNode) -> bool:
    """Convert x · hard_sigmoid(x); return whether it was that."""
    for position in (0, 1):
        maker = context.maker(node.inputs[position])
        if maker is None or not _is_hard_gate(context, maker) or maker.inputs[0] != node.inputs[1 - position]:
            continue
        if context.only_user(maker.outputs[0]) is not node:
            continue
        _function(context, node, UnaryKind.HARD_SWISH, 0.0, context.value(node, 1 - position), node.outputs[0])
        return True
    return False


def _softmax(context: Context, node: RawNode) -> None:
    value = context.value(node)
    rank = len(value.shape)
    modern = context.raw.opset >= 13
    axis = normal_axis(context, node, context.number(node, "axis", -1 if modern else 1), rank)
    shape = value.shape
    if not modern and math.prod(shape[axis + 1 :]) != 1:
        # Before opset 13 everything from the axis on is one row.
        value = context.of_plain(context.plain(value))
        value = Value(tensor=value.tensor, perm=value.perm, shape=(math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    order = context.order(value)
    if order is not None and order and order[-1] == axis and context.axes(value) is not None:
        x, perm = value.tensor, value.perm
        if context.tensors[x].shape[-1] != value.shape[axis]:
            x = context.plain(value)
            perm = tuple(range(len(value.shape)))
    elif math.prod(value.shape[axis + 1 :]) == 1:
        flat = Value(tensor=value.tensor, perm=value.perm, shape=value.shape[: axis + 1])
        x = context.plain(flat)
        perm = tuple(range(axis + 1))
    else:
        raise NotCoveredError(f"over axis {axis} of {list(value.shape)} (the last one is covered)")
    stored = context.tensors[x].shape
    have = context.quant(x)
    y = context.activation(node.outputs[0], stored, None if have is None else UNIT)
    context.emit(OpKind.SOFTMAX, node.label, (x,), y, Softmax())
    if have is not None:
        y = requantised(context, f"{node.label}:grid", y, context.requested(node.outputs[0]) or UNIT)
    context.bind(node.outputs[0], Value(tensor=y, perm=perm, shape=shape))


# Resize and argmax


def _resize(context: Context, node: RawNode) -> None:
    value = context.value(node)
    if len(value.shape) != 4:
        raise NotCoveredError(f"of {len(value.shape)} dimensions")
    size, scales = _resize_target(context, node, value.shape)
    if size[:2] != value.shape[:2] or min(size) < 1:
        raise NotCoveredError("that changes batch or channels")
    if max(size) > _MAX_EXTENT:
        raise context.fail(f"'{node.label}' ({node.op}) makes shape {list(size)}")
    mode = context.text(node, "mode", "nearest")
    old = node.op == "Upsample" or context.raw.opset < 11
    where = "asymmetric" if old else context.text(node, "coordinate_transformation_mode", "half_pixel")
    if context.number(node, "antialias", 0) or context.number(node, "exclude_outside", 0):
        raise NotCoveredError("with antialias or exclude_outside")
    if mode not in ("nearest", "linear", "bilinear"):
        raise NotCoveredError(f"by {mode} (nearest and linear are covered)")
    nearest = mode == "nearest"
    rounding = "floor" if old else context.text(node, "nearest_mode", "round_prefer_floor")
    attrs = None
    for candidate in (Resize(), Resize(half_pixel_centers=True), Resize(align_corners=True)):
        same = all(
            _same_sources(value.shape[a], size[a], scales[a], where, rounding if nearest else "", candidate)
            for a in (2, 3)
        )
        attrs = attrs or (candidate if same else None)
    if attrs is None:
        raise NotCoveredError(f"by {mode} with {where} {rounding if nearest else ''}".rstrip())
    x = context.image(value)
    n, _, _, c = context.tensors[x].shape
    y = context.activation(node.outputs[0], (n, size[2], size[3], c), context.quant(x))
    context.emit(OpKind.RESIZE_NEAREST if nearest else OpKind.RESIZE_BILINEAR, node.label, (x,), y, attrs)
    context.bind(node.outputs[0], context.of_image(y, 4))


def _resize_target(
    context: Context, node: RawNode, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[float, ...]]:  # fmt: skip
    """Return the output shape and the scale of every dimension."""
    if context.numbers(node, "axes") is not None:
        raise NotCoveredError("with axes")
    position = 1 if node.op == "Upsample" or context.raw.opset < 11 else 2
    if context.has(node, 3):
        size = context.integers(node, 3, "the sizes")
        if len(size) != 4 or context.text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            raise NotCoveredError("to sizes that keep a ratio")
        return size, tuple(o / s for o, s in zip(size, shape, strict=True))
    scales = node.attributes.get("scales")
    if context.has(node, position):
        scales = tuple(float(v) for v in context.constant(node, position, "the scales").real().reshape(-1)[:5])
    if not isinstance(scales, tuple) or len(scales) != 4 or not all(1e-3 < float(v) < 1e3 for v in scales):
        raise context.fail(f"'{node.label}' ({node.op}) has no four scales between 0.001 and 1000")
    floats = tuple(float(v) for v in scales)
    return tuple(math.floor(s * f) for s, f in zip(shape, floats, strict=True)), floats


def _same_sources(size: int, out: int, scale: float, where: str, rounding: str, attrs: Resize) -> bool:
    """Whether a file's rule and the IR's read the same places (nearest: the same elements) along one dimension."""
    at = np.arange(out, dtype=np.float64)
    theirs = _their_sources(at, size, out, scale, where)
    if theirs is None:
        return False
    step = (size - 1) / (out - 1) if attrs.align_corners and out > 1 else size / out
    ours = (at + 0.5) * step - 0.5 if attrs.half_pixel_centers else at * step
    if not rounding:
        return bool(np.allclose(np.clip(ours, 0, size - 1), np.clip(theirs, 0, size - 1), atol=1e-5))
    rules: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
    }
    if rounding not in rules:
        return False
    offset = 0.5 if attrs.half_pixel_centers or attrs.align_corners else 0.0
    # A hair inwards, so that a source that is an integer but for its last bit counts as that integer on both sides.
    picked = rules[rounding](np.round(theirs, 6))
    return bool((np.clip(np.floor(np.round(ours + offset, 6)), 0, size - 1) == np.clip(picked, 0, size - 1)).all())


def _their_sources(
    at: npt.NDArray[np.float64], size: int, out: int, scale: float, where: str
) -> npt.NDArray[np.float64] | None:
    match where:
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if out > 1 else np.zeros_like(at)
        case "asymmetric":
            return at / scale
        case "align_corners":
            return at * ((size - 1) / (out - 1)) if out > 1 else np.zeros_like(at)
        case _:
            return None


def _argmax(context: Context, node: RawNode) -> None:
    value, place = context.direct(context.value(node))
    if context.number(node, "select_last_index", 0):
        raise NotCoveredError("with select_last_index")
    axis = normal_axis(context, node, context.number(node, "axis", 0), len(value.shape))
    gone = place[axis]
    stored = context.tensors[value.tensor].shape
    shape = (*stored[:gone], *stored[gone + 1 :])
    y = context.add(Tensor(name=node.label, shape=shape, dtype=DType.S32))
    context.notes.append(f"argmax '{node.label}' is int64 in the file, int32 here")
    context.emit(OpKind.ARGMAX, node.label, (value.tensor,), y, ArgMax(axis=gone))
    keep = context.number(node, "keepdims", 1) != 0
    seen = tuple(1 if a == axis else s for a, s in enumerate(value.shape) if keep or a != axis)
    context.bind(node.outputs[0], Value(tensor=y, perm=_dropped(value.perm, {gone}), shape=seen))


OPS: dict[str, Callable[[Context, RawNode], None]] = {
    "Conv": conv,
    "Gemm": dense,
    "MatMul": dense,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _mean,
    **dict.fromkeys(_KINDS, _binary),
    "BatchNormalization": _batch_normal,
    **dict.fromkeys(_UNARY, _unary),
    "HardSigmoid": _hard_sigmoid,
    "Softmax": _softmax,
    "Resize": _resize,
    "Upsample": _resize,
    "ArgMax": _argmax,
}
