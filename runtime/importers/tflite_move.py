# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite operators that only move values: pad, concat, split, slice, reshape, transpose, pack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulet.importers.border import MAX_RANK, NotCoveredError
from joulet.importers.tflite_context import Context
from joulet.importers.tflite_read import RawOp
from joulet.importers.tflite_shapes import normal_axis, reshaped, slice_extents
from joulet.ir import Concat, DType, OpKind, Pad, Quant, Reshape, Slice, Tensor, Transpose, Unary, UnaryKind


def _reshape(context: Context, op: RawOp) -> None:
    x = context.input(op)
    y = context.output(op, reshaped(context, op, context.tensors[x].shape))
    context.same_type(op, x, y)
    context.emit(OpKind.RESHAPE, context.name(op), (x,), (y,), Reshape())


def _transpose(context: Context, op: RawOp) -> None:
    x = context.input(op)
    shape = context.tensors[x].shape
    perm = context.integers(op, 1, "the permutation")
    if sorted(p % len(shape) if -len(shape) <= p < len(shape) else -1 for p in perm) != list(range(len(shape))):
        raise context.fail(f"'{context.name(op)}' permutes {len(shape)} dimensions by {list(perm)}")
    perm = tuple(p % len(shape) for p in perm)
    y = context.output(op, tuple(shape[p] for p in perm))
    context.same_type(op, x, y)
    context.emit(OpKind.TRANSPOSE, context.name(op), (x,), (y,), Transpose(perm=perm))


def _pad(context: Context, op: RawOp) -> None:
    x = context.input(op)
    shape = context.tensors[x].shape
    amounts = context.integers(op, 1, "the padding")
    if len(amounts) != 2 * len(shape) or min(amounts, default=0) < 0:
        raise context.fail(f"'{context.name(op)}' pads {len(shape)} dimensions by {list(amounts)}")
    before, after = amounts[0::2], amounts[1::2]
    y = context.output(op, tuple(b + s + a for b, s, a in zip(before, shape, after, strict=True)))
    context.same_type(op, x, y)
    value = 0.0
    if op.code == "PADV2" and len(op.inputs) > 2 and op.inputs[2] >= 0:
        given = context.const(op.inputs[2])
        if given is None or context.raw.tensors[op.inputs[2]].type != context.raw.tensors[op.inputs[0]].type:
            raise NotCoveredError("pad value that is not a constant of the input's type")
        if given.size != 1:
            raise context.fail(f"'{context.name(op)}' has {given.size} pad values")
        value = _pad_value(context, float(given.reshape(-1)[0]), given.dtype == np.uint8, y)
    context.emit(OpKind.PAD, context.name(op), (x,), (y,), Pad(before=before, after=after, value=value))


def _pad_value(context: Context, stored: float, uint8: bool, y: int) -> float:
    """Return the real value of a stored pad value; kernels write it unchanged, so the output's scale applies."""
    quant = context.tensors[y].quant
    if quant is None:
        return stored
    return quant.scale[0] * (stored - (128 if uint8 else 0) - quant.zero_point)


def _concat(context: Context, op: RawOp) -> None:
    options = op.options or {}
    if options.get("FusedActivationFunction", 0) != 0:
        raise NotCoveredError("fused activation")
    parts = [context.input(op, i) for i in range(len(op.inputs))]
    if not parts:
        raise context.fail(f"'{context.name(op)}' joins nothing")
    shapes = [context.tensors[p].shape for p in parts]
    axis = normal_axis(context, op, int(options.get("Axis", 0)), len(shapes[0]))
    rest = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
    if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
        raise context.fail(f"'{context.name(op)}' joins shapes {', '.join(str(list(s)) for s in shapes[:6])}")
    out = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    y = context.output(op, out)
    if context.same_type(op, *parts, y) is DType.S8:
        parts = [_rescaled(context, op, part, y, i) for i, part in enumerate(parts)]
    context.emit(OpKind.CONCAT, context.name(op), parts, (y,), Concat(axis=axis))


def _rescaled(context: Context, op: RawOp, part: int, y: int, position: int) -> int:
    """Return ``part`` in the output's quantisation; only the uint8 kernels rescale."""
    have = context.tensors[part]
    have_quant, want_quant = context.quant(part), context.quant(y)
    if have_quant == want_quant:
        return part
    if not context.is_uint8(op):
        raise context.fail(
            f"'{context.name(op)}' joins int8 tensors of different quantisation ('{have.name}': "
            f"scale {have_quant.scale[0]:g}, zero point {have_quant.zero_point}; output: "
            f"{want_quant.scale[0]:g}, {want_quant.zero_point})"
        )
    name = f"{context.name(op)}/input_{position}"
    table = concat_table(have_quant, want_quant)
    moved = context.add(Tensor(name=name, shape=have.shape, dtype=DType.S8, quant=want_quant))
    context.emit(OpKind.UNARY, name, (part,), (moved,), Unary(kind=UnaryKind.REQUANTIZE, table=table))
    return moved


def concat_table(have: Quant, want: Quant) -> bytes:
    """Return the table by which the uint8 concatenation kernel rescales one input.

    The kernel works on uint8 and in float32: round half away from zero of ``q * scale + bias``, then the output's
    zero point, then the range of uint8.
    """
    q = np.arange(256, dtype=np.float32)
    scale = np.float32(have.scale[0]) * (np.float32(1.0) / np.float32(want.scale[0]))
    bias = np.float32(-np.float32(have.zero_point + 128) * scale)
    real = (q * scale + bias).astype(np.float32)
    rounded = np.where(real >= 0, np.floor(real.astype(np.float64) + 0.5), np.ceil(real.astype(np.float64) - 0.5))
    values = np.clip(rounded + (want.zero_point + 128), 0, 255) - 128
    return bytes(values.astype(np.int8).tobytes())


def _split(context: Context, op: RawOp) -> None:
    versatile = op.code == "SPLIT_V"
    x = context.input(op, 0 if versatile else 1)
    shape = context.tensors[x].shape
    axes = context.integers(op, 2 if versatile else 0, "the axis")
    if len(axes) != 1:
        raise context.fail(f"'{context.name(op)}' has {len(axes)} axes")
    axis = normal_axis(context, op, axes[0], len(shape))
    count = len(op.outputs)
    if versatile:
        sizes = context.integers(op, 1, "the sizes")
        if sizes.count(-1) == 1:
            rest = shape[axis] - sum(s for s in sizes if s != -1)
            sizes = tuple(rest if s == -1 else s for s in sizes)
    else:
        sizes = (shape[axis] // count,) * count
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != shape[axis]:
        raise context.fail(f"'{context.name(op)}' splits {shape[axis]} into {list(sizes)} for {count} outputs")
    start = 0
    for i, size in enumerate(sizes):
        out = (*shape[:axis], size, *shape[axis + 1 :])
        y = context.output(op, out, i)
        context.same_type(op, x, y)
        begin = tuple(start if d == axis else 0 for d in range(len(shape)))
        _slice_op(context, context.tensors[y].name, x, y, begin, (1,) * len(shape), out)
        start += size


def _slice_op(
    context: Context, name: str, x: int, y: int, begin: tuple[int, ...], stride: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    if sizes == context.tensors[x].shape and all(s > 0 for s in stride):
        context.emit(OpKind.RESHAPE, name, (x,), (y,), Reshape())
        return
    context.emit(OpKind.STRIDED_SLICE, name, (x,), (y,), Slice(begin=begin, stride=stride, sizes=sizes))


def _strided_slice(context: Context, op: RawOp) -> None:
    x = context.input(op)
    begin, stride, sizes, kept = slice_extents(context, op, context.tensors[x].shape)
    y = context.output(op, tuple(sizes[i] for i in kept))
    context.same_type(op, x, y)
    _slice_op(context, context.name(op), x, y, begin, stride, sizes)


def _slice(context: Context, op: RawOp) -> None:
    x = context.input(op)
    shape = context.tensors[x].shape
    begin = context.integers(op, 1, "begin")
    size = context.integers(op, 2, "the size")
    if not len(begin) == len(size) == len(shape):
        raise context.fail(f"'{context.name(op)}' slices {len(shape)} dimensions by {len(begin)} and {len(size)}")
    sizes = tuple(full - b if n == -1 else n for full, b, n in zip(shape, begin, size, strict=True))
    if any(b < 0 or n < 1 or b + n > full for full, b, n in zip(shape, begin, sizes, strict=True)):
        raise context.fail(f"'{context.name(op)}' takes {list(sizes)} from {list(begin)} of {list(shape)}")
    y = context.output(op, sizes)
    context.same_type(op, x, y)
    _slice_op(context, context.name(op), x, y, begin, (1,) * len(shape), sizes)


def _pack(context: Context, op: RawOp) -> None:
    """Stack along a new dimension: reshapes and a concat."""
    parts = [context.input(op, i) for i in range(len(op.inputs))]
    if not parts or len({context.tensors[p].shape for p in parts}) != 1:
        raise context.fail(f"'{context.name(op)}' packs tensors of different shapes, or none")
    shape = context.tensors[parts[0]].shape
    axis = normal_axis(context, op, int((op.options or {}).get("Axis", 0)), len(shape) + 1)
    if len(shape) + 1 > MAX_RANK:
        raise context.fail(f"'{context.name(op)}' has {len(shape) + 1} dimensions, at most {MAX_RANK}")
    y = context.output(op, (*shape[:axis], len(parts), *shape[axis:]))
    context.same_type(op, *parts, y)
    rows = []
    for i, part in enumerate(parts):
        have = context.tensors[part]
        if have.quant != context.tensors[y].quant:
            raise context.fail(f"'{context.name(op)}' packs '{have.name}', whose quantisation is not the output's")
        name = f"{context.name(op)}/input_{i}"
        row = context.add(
            Tensor(name=name, shape=(*shape[:axis], 1, *shape[axis:]), dtype=have.dtype, quant=have.quant)
        )
        context.emit(OpKind.RESHAPE, name, (part,), (row,), Reshape())
        rows.append(row)
    context.emit(OpKind.CONCAT, context.name(op), rows, (y,), Concat(axis=axis))


MOVERS: dict[str, Callable[[Context, RawOp], None]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "PADV2": _pad,
    "CONCATENATION": _concat,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "PACK": _pack,
}
