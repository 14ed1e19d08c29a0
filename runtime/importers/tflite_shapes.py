# SPDX-License-Identifier: Apache-2.0
"""Shape arithmetic of TensorFlow Lite operators: padding, reshapes, slices, axes."""

from __future__ import annotations

import math

from joulet.importers.border import MAX_ELEMENTS, MAX_RANK, NotCoveredError
from joulet.importers.tflite_context import Context
from joulet.importers.tflite_read import RawOp

_SAME, _VALID = 0, 1


def normal_axis(context: Context, op: RawOp, axis: int, rank: int) -> int:
    """Return ``axis`` counted from the front, checked against ``rank``."""
    if not -rank <= axis < rank:
        raise context.fail(f"'{context.name(op)}' ({op.code}) names axis {axis} of a tensor with {rank} dimensions")
    return axis + rank if axis < 0 else axis


def window(
    context: Context, op: RawOp, size: int, kernel: int, stride: int, dilation: int, padding: int
) -> tuple[int, int]:
    """Return (output extent, padding before) of a sliding window along one dimension."""
    if kernel < 1 or stride < 1 or dilation < 1 or padding not in (_SAME, _VALID):
        raise context.fail(
            f"'{context.name(op)}' ({op.code}) has kernel {kernel}, stride {stride}, dilation {dilation}, "
            f"padding code {padding}"
        )
    reach = (kernel - 1) * dilation + 1
    if padding == _SAME:
        out = -(-size // stride)
        return out, max(0, (out - 1) * stride + reach - size) // 2
    if reach > size:
        raise context.fail(f"'{context.name(op)}' ({op.code}) has a window of {reach} over an input of {size}")
    return (size - reach) // stride + 1, 0


def reshaped(context: Context, op: RawOp, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape of RESHAPE, SQUEEZE and EXPAND_DIMS."""
    options = op.options or {}
    if op.code == "SQUEEZE":
        dims = {normal_axis(context, op, d, len(shape)) for d in options.get("SqueezeDims", ())}
        if any(shape[d] != 1 for d in dims):
            raise context.fail(f"'{context.name(op)}' squeezes a dimension of {list(shape)} that is not 1")
        return tuple(s for i, s in enumerate(shape) if (i not in dims if dims else s != 1))
    if op.code == "EXPAND_DIMS":
        axes = context.integers(op, 1, "the axis")
        if len(axes) != 1:
            raise context.fail(f"'{context.name(op)}' has {len(axes)} axes")
        axis = normal_axis(context, op, axes[0], len(shape) + 1)
        return (*shape[:axis], 1, *shape[axis:])
    if len(op.inputs) > 1 and op.inputs[1] >= 0:
        wanted = context.integers(op, 1, "the new shape")
    elif options.get("NewShape"):
        wanted = options["NewShape"]
    else:
        wanted = context.raw.tensors[op.outputs[0]].shape
    return _resolve(context, op, shape, wanted)


def _resolve(context: Context, op: RawOp, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Fill in the one -1 of a wanted shape; element counts must agree."""
    total = math.prod(shape)
    known = math.prod(w for w in wanted if w != -1)
    if len(wanted) > MAX_RANK or wanted.count(-1) > 1 or any(w < -1 for w in wanted) or known > MAX_ELEMENTS:
        raise context.fail(f"'{context.name(op)}' reshapes to {list(wanted)}")
    if -1 in wanted and known > 0:
        wanted = tuple(total // known if w == -1 else w for w in wanted)
    if math.prod(wanted) != total:
        raise context.fail(f"'{context.name(op)}' reshapes {list(shape)} to {list(wanted)}")
    return wanted


def slice_extents(
    context: Context, op: RawOp, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return (begin, stride, sizes, kept dimensions) of STRIDED_SLICE over ``shape``."""
    options = op.options or {}
    if options.get("EllipsisMask", 0) or options.get("NewAxisMask", 0):
        raise NotCoveredError("ellipsis or new axis")
    begin = context.integers(op, 1, "begin")
    end = context.integers(op, 2, "end")
    step = context.integers(op, 3, "strides")
    if not len(begin) == len(end) == len(step) <= len(shape):
        raise context.fail(f"'{context.name(op)}' slices {len(shape)} dimensions by {len(begin)} indices")
    starts: list[int] = []
    steps: list[int] = []
    sizes: list[int] = []
    kept: list[int] = []
    for i, size in enumerate(shape):
        if i >= len(begin):
            starts, steps, sizes, kept = [*starts, 0], [*steps, 1], [*sizes, size], [*kept, i]
            continue
        first, n, stride, drop = _extent(
            context, op, size, (begin[i], end[i], step[i]),
            (bool(options.get("BeginMask", 0) >> i & 1), bool(options.get("EndMask", 0) >> i & 1),
             bool(options.get("ShrinkAxisMask", 0) >> i & 1)),
        )  # fmt: skip
        starts, steps, sizes = [*starts, first], [*steps, stride], [*sizes, n]
        kept = kept if drop else [*kept, i]
    return tuple(starts), tuple(steps), tuple(sizes), tuple(kept)


def _extent(
    context: Context, op: RawOp, size: int, span: tuple[int, int, int], masks: tuple[bool, bool, bool]
) -> tuple[int, int, int, bool]:
    """Return (first index, count, stride, drop) along one dimension, by Python's own slice rules."""
    begin, end, stride = span
    begin_mask, end_mask, shrink = masks
    if shrink:
        if not -size <= begin < size:
            raise context.fail(f"'{context.name(op)}' takes index {begin} of {size}")
        return begin % size, 1, 1, True
    if stride == 0:
        raise context.fail(f"'{context.name(op)}' has stride 0")
    indices = range(size)[slice(None if begin_mask else begin, None if end_mask else end, stride)]
    if len(indices) == 0:
        raise context.fail(f"'{context.name(op)}' takes nothing of a dimension of {size}")
    return indices[0], len(indices), stride, False
