# SPDX-License-Identifier: Apache-2.0
"""Ops that only move elements, as strided copies: pad, concat, transpose, strided slice, reshape."""

from __future__ import annotations

from joulet.ir import Concat, DType, Graph, Op, Pad, Slice, Transpose
from joulet.numerics import clamp_s8, round_half_away
from joulet.plan.slots import SlotMap, quant_of
from joulet.plan.steps import CopyParams, FillParams, Step, dense_strides, pad_six


def copy_params(
    dims: tuple[int, ...],
    in_shape: tuple[int, ...] = (),
    *,
    in_stride: tuple[int, ...] | None = None,
    out_stride: tuple[int, ...] | None = None,
    in_offset: int = 0,
    out_offset: int = 0,
) -> CopyParams:
    """Return the parameters of a copy of ``dims``, with neighbouring dimensions merged where both sides are dense.

    Strides default to those of dense tensors: ``in_shape`` for the input, ``dims`` for the output.
    """
    source = dense_strides(in_shape) if in_stride is None else in_stride
    target = dense_strides(dims) if out_stride is None else out_stride
    merged: list[tuple[int, int, int]] = []
    for extent, a, b in zip(dims, source, target, strict=True):
        if extent == 1:
            continue
        if merged and merged[-1][1] == a * extent and merged[-1][2] == b * extent:
            merged[-1] = (merged[-1][0] * extent, a, b)
        else:
            merged.append((extent, a, b))
    return CopyParams(
        dims=pad_six(tuple(each[0] for each in merged), 1),
        in_stride=pad_six(tuple(each[1] for each in merged), 0),
        out_stride=pad_six(tuple(each[2] for each in merged), 0),
        in_offset=in_offset,
        out_offset=out_offset,
    )


def _copy(op: Op, source: int, target: int, params: CopyParams) -> Step:
    return Step(code="COPY", name=op.name, inputs=(source,), output=target, params=params)


def lower_pad(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """FILL the output, then COPY the input into its middle."""
    attrs = op.attrs
    assert isinstance(attrs, Pad)
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    out_stride = dense_strides(y.shape)
    offset = sum(before * stride for before, stride in zip(attrs.before, out_stride, strict=True))
    params = copy_params(x.shape, x.shape, out_stride=out_stride, out_offset=offset)
    source, target = slots.slot_of[op.inputs[0]], slots.slot_of[op.outputs[0]]
    steps = []
    if any(attrs.before) or any(attrs.after):
        value = int(attrs.value)
        if y.dtype is DType.S8:
            quant = quant_of(y)
            value = clamp_s8(round_half_away(attrs.value / quant.scale[0]) + quant.zero_point)
        fill = FillParams(value=value, f32_value=attrs.value)
        steps.append(Step(code="FILL", name=op.name, inputs=(), output=target, params=fill))
    return (*steps, _copy(op, source, target, params))


def lower_concat(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """COPY each input to its place."""
    attrs = op.attrs
    assert isinstance(attrs, Concat)
    out_stride = dense_strides(graph.tensors[op.outputs[0]].shape)
    target = slots.slot_of[op.outputs[0]]
    steps = []
    position = 0
    for tensor in op.inputs:
        shape = graph.tensors[tensor].shape
        offset = position * out_stride[attrs.axis]
        params = copy_params(shape, shape, out_stride=out_stride, out_offset=offset)
        steps.append(_copy(op, slots.slot_of[tensor], target, params))
        position += shape[attrs.axis]
    return tuple(steps)


def lower_transpose(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """COPY with the input's strides permuted."""
    attrs = op.attrs
    assert isinstance(attrs, Transpose)
    source = dense_strides(graph.tensors[op.inputs[0]].shape)
    dims = graph.tensors[op.outputs[0]].shape
    params = copy_params(dims, in_stride=tuple(source[axis] for axis in attrs.perm))
    return (_copy(op, slots.slot_of[op.inputs[0]], slots.slot_of[op.outputs[0]], params),)


def lower_slice(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """COPY with the input's strides multiplied by the slice's."""
    attrs = op.attrs
    assert isinstance(attrs, Slice)
    source = dense_strides(graph.tensors[op.inputs[0]].shape)
    offset = sum(begin * stride for begin, stride in zip(attrs.begin, source, strict=True))
    in_stride = tuple(step * stride for step, stride in zip(attrs.stride, source, strict=True))
    params = copy_params(attrs.sizes, in_stride=in_stride, in_offset=offset)
    return (_copy(op, slots.slot_of[op.inputs[0]], slots.slot_of[op.outputs[0]], params),)


def lower_reshape(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """COPY as it lies; only a reshape between two borders of the model gets here."""
    elements = (graph.tensors[op.inputs[0]].elements,)
    params = copy_params(elements, elements)
    return (_copy(op, slots.slot_of[op.inputs[0]], slots.slot_of[op.outputs[0]], params),)
