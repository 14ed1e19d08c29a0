# SPDX-License-Identifier: Apache-2.0
"""Shape arithmetic of ONNX operators: windows, reshapes, slices, axes."""

from __future__ import annotations

import math

from joulet.importers.border import MAX_ELEMENTS, MAX_RANK, NotCoveredError
from joulet.importers.onnx_context import Context
from joulet.importers.onnx_read import RawNode

Spans = tuple[tuple[int, int, int], ...]


def normal_axis(context: Context, node: RawNode, axis: int, rank: int) -> int:
    """Return ``axis`` counted from the front, checked against ``rank``."""
    if not -rank <= axis < rank:
        raise context.fail(f"'{node.label}' ({node.op}) names axis {axis} of a tensor with {rank} dimensions")
    return axis + rank if axis < 0 else axis


def axes_of(context: Context, node: RawNode, position: int, rank: int) -> tuple[int, ...] | None:
    """Return the axes a node names, by attribute or input ``position``, None where it names none."""
    axes = context.numbers(node, "axes")
    if axes is None and context.has(node, position):
        axes = context.integers(node, position, "the axes")
    if axes is None:
        return None
    found = tuple(normal_axis(context, node, a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise context.fail(f"'{node.label}' ({node.op}) names an axis twice")
    return found


def resolve(context: Context, node: RawNode, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape a Reshape asks for: 0 copies an extent, one -1 is what is left; element counts must agree."""
    keep_zero = bool(context.number(node, "allowzero", 0))
    filled = tuple(shape[i] if w == 0 and not keep_zero and i < len(shape) else w for i, w in enumerate(wanted))
    total, known = math.prod(shape), math.prod(w for w in filled if w != -1)
    if len(filled) > MAX_RANK or filled.count(-1) > 1 or any(w < -1 for w in filled) or known > MAX_ELEMENTS:
        raise context.fail(f"'{node.label}' reshapes to {list(wanted)[:8]}")
    if -1 in filled and known > 0:
        filled = tuple(total // known if w == -1 else w for w in filled)
    if math.prod(filled) != total or any(w < 0 for w in filled):
        raise context.fail(f"'{node.label}' reshapes {list(shape)} to {list(wanted)}")
    return filled


def squeezed(context: Context, node: RawNode, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape of Squeeze."""
    axes = axes_of(context, node, 1, len(shape))
    if axes is None:
        return tuple(s for s in shape if s != 1)
    if any(shape[a] != 1 for a in axes):
        raise context.fail(f"'{node.label}' squeezes a dimension of {list(shape)} that is not 1")
    return tuple(s for i, s in enumerate(shape) if i not in axes)


def unsqueezed(context: Context, node: RawNode, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the output shape of Unsqueeze."""
    named = context.numbers(node, "axes")
    if named is None:
        named = context.integers(node, 1, "the axes")
    rank = len(shape) + len(named)
    if rank > MAX_RANK:
        raise context.fail(f"'{node.label}' has {rank} dimensions, at most {MAX_RANK}")
    axes = {normal_axis(context, node, a, rank) for a in named}
    if len(axes) != len(named):
        raise context.fail(f"'{node.label}' names an axis twice")
    rest = iter(shape)
    return tuple(1 if i in axes else next(rest) for i in range(rank))


def slice_spans(context: Context, node: RawNode, shape: tuple[int, ...]) -> Spans:
    """Return (begin, step, size) of a Slice for every dimension, by Python's own slice rules."""
    if context.numbers(node, "starts") is not None:
        starts, ends = context.numbers(node, "starts") or (), context.numbers(node, "ends") or ()
        axes, steps = context.numbers(node, "axes"), None
    else:
        starts, ends = context.integers(node, 1, "the starts"), context.integers(node, 2, "the ends")
        axes = context.integers(node, 3, "the axes") if context.has(node, 3) else None
        steps = context.integers(node, 4, "the steps") if context.has(node, 4) else None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise context.fail(f"'{node.label}' (Slice) has starts, ends, axes and steps that do not fit")
    spans = [(0, 1, extent) for extent in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        a = normal_axis(context, node, axis, len(shape))
        # An end of -2^63 stands for "through the first element" when stepping back.
        stop = None if step < 0 and end < -shape[a] else end
        indices = range(shape[a])[slice(start, stop, step)]
        if len(indices) == 0:
            raise context.fail(f"'{node.label}' takes nothing of a dimension of {shape[a]}")
        spans[a] = (indices[0], step if len(indices) > 1 else 1, len(indices))
    return tuple(spans)


def windows(
    context: Context, node: RawNode, size: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return (output extents, strides, dilations, pads before, pads after) of a convolution or pooling."""
    rank = len(size)
    strides = context.numbers(node, "strides") or (1,) * rank
    dilations = context.numbers(node, "dilations") or (1,) * rank
    pads = context.numbers(node, "pads") or (0,) * (2 * rank)
    lengths = {len(strides), len(dilations), len(kernel), len(pads) // 2}
    if lengths != {rank} or len(pads) % 2 or min(*strides, *dilations, *kernel) < 1 or max(*pads, *strides) > 1 << 16:
        raise context.fail(f"'{node.label}' ({node.op}) has a kernel, strides, dilations or pads that do not fit")
    if min(pads) < 0:
        raise NotCoveredError("negative padding")
    auto = context.text(node, "auto_pad", "NOTSET") or "NOTSET"
    ceil = bool(context.number(node, "ceil_mode", 0))
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise context.fail(f"'{node.label}' ({node.op}) has auto_pad {auto}")
    found = [
        _window(context, node, size[i], (kernel[i] - 1) * dilations[i] + 1, strides[i], pads[i], pads[rank + i], auto, ceil)
        for i in range(rank)
    ]  # fmt: skip
    out, before, after = zip(*found, strict=True)
    return out, strides, dilations, before, after


def _window(
    context: Context, node: RawNode, size: int, reach: int, stride: int, before: int, after: int, auto: str, ceil: bool
) -> tuple[int, int, int]:
    """Return (output extent, padding before, padding after) along one dimension."""
    if auto.startswith("SAME"):
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + reach - size)
        small = total // 2
        return (out, small, total - small) if auto == "SAME_UPPER" else (out, total - small, small)
    if auto == "VALID":
        before = after = 0
    room = size + before + after - reach
    if room < 0:
        raise context.fail(f"'{node.label}' ({node.op}) has a window of {reach} over an input of {size}")
    out = (-(-room // stride) if ceil else room // stride) + 1
    # A window that would start in the padding behind the input is dropped.
    while ceil and out > 1 and (out - 1) * stride >= size + before:
        out -= 1
    return out, before, after
