# SPDX-License-Identifier: Apache-2.0
"""Ops that compute but hold no weights: pools, mean, binary, unary, softmax, resize, conversions, argmax."""

from __future__ import annotations

import math

import numpy as np

from joulet import numerics
from joulet.errors import PlanError, UnsupportedModelError
from joulet.ir import ArgMax, Binary, DType, Graph, Op, OpKind, Pool, Reduce, Resize, Softmax, Tensor, Unary
from joulet.plan.slots import SlotMap, quant_of
from joulet.plan.steps import (
    ArgMaxParams,
    BinaryParams,
    ConvertParams,
    LutParams,
    MeanParams,
    Params,
    PoolParams,
    ResizeParams,
    SoftmaxParams,
    Step,
    dense_strides,
    pad_six,
)


def _step(code: str, op: Op, slots: SlotMap, params: Params, tail: bytes = b"") -> tuple[Step, ...]:
    inputs = tuple(slots.slot_of[tensor] for tensor in op.inputs)
    output = slots.slot_of[op.outputs[0]]
    return (Step(code=code, name=op.name, inputs=inputs, output=output, params=params, tail=tail),)


def _check_s8(op: Op, *tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype is not DType.S8:
            raise UnsupportedModelError(
                f"op {op.name!r} ({op.kind.value}) works on {tensor.dtype.value}, not int8; quantise the model first"
            )


def lower_pool(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """AVGPOOL or MAXPOOL."""
    attrs = op.attrs
    assert isinstance(attrs, Pool)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _check_s8(op, x, y)
    act_min, act_max = numerics.activation_range(attrs.activation, quant_of(y))
    f32_min, f32_max = numerics.activation_range_f32(attrs.activation)
    params = PoolParams(
        n=x.shape[0],
        in_h=x.shape[1],
        in_w=x.shape[2],
        c=x.shape[3],
        out_h=y.shape[1],
        out_w=y.shape[2],
        k_h=attrs.kernel[0],
        k_w=attrs.kernel[1],
        stride_h=attrs.stride[0],
        stride_w=attrs.stride[1],
        pad_top=attrs.pad[0],
        pad_left=attrs.pad[1],
        act_min=act_min,
        act_max=act_max,
        f32_min=f32_min,
        f32_max=f32_max,
    )
    return _step("AVGPOOL" if op.kind is OpKind.AVG_POOL2D else "MAXPOOL", op, slots, params)


def lower_mean(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """MEAN."""
    attrs = op.attrs
    assert isinstance(attrs, Reduce)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _check_s8(op, x, y)
    count = math.prod(x.shape[axis] for axis in attrs.axes)
    multiplier, shift = numerics.mean_multiplier(quant_of(x).scale[0], quant_of(y).scale[0], count)
    params = MeanParams(
        dims=pad_six(x.shape, 1),
        reduced=pad_six(tuple(int(axis in attrs.axes) for axis in range(len(x.shape))), 0),
        count=count,
        in_zero_point=quant_of(x).zero_point,
        out_zero_point=quant_of(y).zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    return _step("MEAN", op, slots, params)


def lower_binary(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """ADD, SUB or MUL."""
    attrs = op.attrs
    assert isinstance(attrs, Binary)
    a, b = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    y = graph.tensors[op.outputs[0]]
    _check_s8(op, a, b, y)
    act_min, act_max = numerics.activation_range(attrs.activation, quant_of(y))
    f32_min, f32_max = numerics.activation_range_f32(attrs.activation)
    scales = (quant_of(a).scale[0], quant_of(b).scale[0], quant_of(y).scale[0])
    if op.kind is OpKind.MUL:
        left_shift, first, second = 0, (0, 0), (0, 0)
        result = numerics.mul_multiplier(*scales)
    else:
        left_shift = numerics.ADD_LEFT_SHIFT
        first, second, result = numerics.add_multipliers(*scales)
    dims, stride_a, stride_b = _broadcast(a.shape, b.shape, y.shape)
    params = BinaryParams(
        dims=pad_six(dims, 1),
        stride_a=pad_six(stride_a, 0),
        stride_b=pad_six(stride_b, 0),
        a_zero_point=quant_of(a).zero_point,
        b_zero_point=quant_of(b).zero_point,
        out_zero_point=quant_of(y).zero_point,
        left_shift=left_shift,
        a_multiplier=first[0],
        a_shift=first[1],
        b_multiplier=second[0],
        b_shift=second[1],
        out_multiplier=result[0],
        out_shift=result[1],
        act_min=act_min,
        act_max=act_max,
        f32_min=f32_min,
        f32_max=f32_max,
    )
    return _step(op.kind.name, op, slots, params)


def _broadcast(
    a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return extents and strides of both inputs, neighbouring dimensions merged where both walk on densely."""
    merged: list[tuple[int, int, int]] = []
    for extent, sa, sb in zip(out, _strides_over(a, out), _strides_over(b, out), strict=True):
        if extent == 1:
            continue
        if merged and merged[-1][1] == sa * extent and merged[-1][2] == sb * extent:
            merged[-1] = (merged[-1][0] * extent, sa, sb)
        else:
            merged.append((extent, sa, sb))
    return tuple(m[0] for m in merged), tuple(m[1] for m in merged), tuple(m[2] for m in merged)


def _strides_over(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...]:
    full = (1,) * (len(out) - len(shape)) + shape
    return tuple(0 if extent == 1 else stride for extent, stride in zip(full, dense_strides(full), strict=True))


def lower_unary(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """LUT."""
    attrs = op.attrs
    assert isinstance(attrs, Unary)
    _check_s8(op, graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]])
    if attrs.table is None or len(attrs.table) != 256:
        raise UnsupportedModelError(f"op {op.name!r} ({attrs.kind.value}) has no table; quantise the model first")
    return _step("LUT", op, slots, LutParams(table=attrs.table, function=attrs.kind.value, alpha=attrs.alpha))


def lower_softmax(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """SOFTMAX over the last dimension."""
    attrs = op.attrs
    assert isinstance(attrs, Softmax)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _check_s8(op, x, y)
    columns = x.shape[-1]
    table = numerics.softmax_exp_table(quant_of(x).scale[0], attrs.beta)
    params = SoftmaxParams(
        rows=x.elements // columns,
        columns=columns,
        beta=attrs.beta,
        exp_table=tuple(int(value) for value in table),
    )
    return _step("SOFTMAX", op, slots, params)


def lower_resize(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """RESIZE_NEAREST with its source rows and columns, or RESIZE_BILINEAR."""
    attrs = op.attrs
    assert isinstance(attrs, Resize)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    _check_s8(op, x, y)
    params = ResizeParams(
        n=x.shape[0],
        in_h=x.shape[1],
        in_w=x.shape[2],
        c=x.shape[3],
        out_h=y.shape[1],
        out_w=y.shape[2],
        align_corners=int(attrs.align_corners),
        half_pixel_centers=int(attrs.half_pixel_centers),
    )
    if op.kind is OpKind.RESIZE_BILINEAR:
        return _step("RESIZE_BILINEAR", op, slots, params)
    rows = nearest_sources(x.shape[1], y.shape[1], attrs)
    columns = nearest_sources(x.shape[2], y.shape[2], attrs)
    if max(rows + columns, default=0) > 0xFFFF:
        raise PlanError(f"{op.name}: resizes an input of {x.shape[1]}×{x.shape[2]}; a container holds up to 65536")
    return _step("RESIZE_NEAREST", op, slots, params, tail=np.array(rows + columns, "<u2").tobytes())


def nearest_sources(extent: int, out_extent: int, attrs: Resize) -> list[int]:
    """Return the source index of every output index of a nearest-neighbour resize, computed in f32."""
    if attrs.align_corners and out_extent > 1:
        scale = np.float32(extent - 1) / np.float32(out_extent - 1)
    else:
        scale = np.float32(extent) / np.float32(out_extent)
    centre = np.float32(0.5 if attrs.half_pixel_centers else 0.0)
    sources = []
    for index in range(out_extent):
        position = float((np.float32(index) + centre) * scale)
        nearest = numerics.round_half_away(position) if attrs.align_corners else math.floor(position)
        sources.append(max(0, min(nearest, extent - 1)))
    return sources


def lower_convert(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """QUANTIZE or DEQUANTIZE."""
    quantize = op.kind is OpKind.QUANTIZE
    side = graph.tensors[op.outputs[0] if quantize else op.inputs[0]]
    other = graph.tensors[op.inputs[0] if quantize else op.outputs[0]]
    if side.dtype is not DType.S8 or other.dtype is not DType.F32:
        found = f"{side.dtype.value} and {other.dtype.value}"
        raise UnsupportedModelError(f"op {op.name!r} converts {found}, not int8 and f32; quantise the model first")
    quant = quant_of(side)
    params = ConvertParams(scale=quant.scale[0], zero_point=quant.zero_point)
    return _step("QUANTIZE" if quantize else "DEQUANTIZE", op, slots, params)


def lower_argmax(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """ARGMAX."""
    attrs = op.attrs
    assert isinstance(attrs, ArgMax)
    x = graph.tensors[op.inputs[0]]
    _check_s8(op, x)
    params = ArgMaxParams(
        outer=math.prod(x.shape[: attrs.axis]), size=x.shape[attrs.axis], inner=math.prod(x.shape[attrs.axis + 1 :])
    )
    return _step("ARGMAX", op, slots, params)
