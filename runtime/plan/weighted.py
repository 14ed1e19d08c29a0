# SPDX-License-Identifier: Apache-2.0
"""Ops with weights: conv2d, depthwise_conv2d, fully_connected."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet import numerics
from joulet.errors import MalformedModelError
from joulet.ir import Conv, Dense, Graph, Op, OpKind, QuantGraph
from joulet.plan.slots import SlotMap, quant_of
from joulet.plan.steps import ConvParams, Step, WeightBlock


def lower_conv(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """CONV or DWCONV."""
    attrs = op.attrs
    assert isinstance(attrs, Conv)
    x, w, y = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
    depthwise = op.kind is OpKind.DEPTHWISE_CONV2D
    act_min, act_max = numerics.activation_range(attrs.activation, quant_of(y))
    f32_min, f32_max = numerics.activation_range_f32(attrs.activation)
    k_h, k_w = int(w.shape[1]), int(w.shape[2])
    params = ConvParams(
        n=x.shape[0],
        in_h=x.shape[1],
        in_w=x.shape[2],
        in_c=x.shape[3],
        out_h=y.shape[1],
        out_w=y.shape[2],
        out_c=y.shape[3],
        k_h=k_h,
        k_w=k_w,
        stride_h=attrs.stride[0],
        stride_w=attrs.stride[1],
        dilation_h=attrs.dilation[0],
        dilation_w=attrs.dilation[1],
        pad_top=attrs.pad[0],
        pad_left=attrs.pad[1],
        groups=1 if depthwise else attrs.groups,
        in_zero_point=quant_of(x).zero_point,
        out_zero_point=quant_of(y).zero_point,
        act_min=act_min,
        act_max=act_max,
        f32_min=f32_min,
        f32_max=f32_max,
    )
    products = k_h * k_w * (1 if depthwise else int(w.shape[3]))
    return (_step("DWCONV" if depthwise else "CONV", op, slots, params, macs=y.elements * products),)


def lower_dense(graph: Graph, op: Op, slots: SlotMap) -> tuple[Step, ...]:
    """FC: a 1 x 1 convolution over rows."""
    attrs = op.attrs
    assert isinstance(attrs, Dense)
    x, w, y = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
    act_min, act_max = numerics.activation_range(attrs.activation, quant_of(y))
    f32_min, f32_max = numerics.activation_range_f32(attrs.activation)
    out_c, in_c = int(w.shape[0]), int(w.shape[1])
    params = ConvParams(
        n=x.elements // in_c,
        in_h=1,
        in_w=1,
        in_c=in_c,
        out_h=1,
        out_w=1,
        out_c=out_c,
        k_h=1,
        k_w=1,
        stride_h=1,
        stride_w=1,
        dilation_h=1,
        dilation_w=1,
        pad_top=0,
        pad_left=0,
        groups=1,
        in_zero_point=quant_of(x).zero_point,
        out_zero_point=quant_of(y).zero_point,
        act_min=act_min,
        act_max=act_max,
        f32_min=f32_min,
        f32_max=f32_max,
    )
    return (_step("FC", op, slots, params, macs=y.elements * in_c),)


def _step(code: str, op: Op, slots: SlotMap, params: ConvParams, *, macs: int) -> Step:
    source, target = slots.slot_of[op.inputs[0]], slots.slot_of[op.outputs[0]]
    return Step(code=code, name=op.name, inputs=(source,), output=target, params=params, macs=macs)


def weight_block(source: QuantGraph, index: int) -> WeightBlock:
    """Return weights, multipliers and biases of one weighted op.

    Raises
    ------
    MalformedModelError
        For weights without data or scales, or as many scales as neither 1 nor the channels.
    """
    graph = source.graph
    op = graph.ops[index]
    w = graph.tensors[op.inputs[1]]
    if w.data is None or w.quant is None:
        raise MalformedModelError(f"op {op.name!r}: its weights are not constant int8; quantise the model first")
    depthwise = op.kind is OpKind.DEPTHWISE_CONV2D
    channels = int(w.shape[-1] if depthwise else w.shape[0])
    rows = 1 if depthwise else channels
    multipliers, shifts = _multipliers(graph, op, channels)
    float_values, float_bias = source.float_weights.get(index, (None, None))
    return WeightBlock(
        op=index,
        storage=source.storage[index],
        channels=channels,
        values=np.ascontiguousarray(w.data, dtype=np.int8).reshape(rows, -1),
        zero_point=w.quant.zero_point,
        multipliers=multipliers,
        shifts=shifts,
        rounds_once=numerics.rounds_once(op.kind, w.border == "uint8"),
        bits=tuple(precision.bits[index] for precision in source.precisions),
        biases=tuple(
            np.asarray(precision.bias.get(index, own), np.int32).reshape(channels)
            for own in (_bias(graph, op, channels),)
            for precision in source.precisions
        ),
        float_values=None if float_values is None else np.ascontiguousarray(float_values, np.float32).reshape(rows, -1),
        float_bias=None if float_bias is None else np.ascontiguousarray(float_bias, np.float32).reshape(channels),
    )


def _bias(graph: Graph, op: Op, channels: int) -> npt.NDArray[np.int32]:
    if len(op.inputs) < 3:
        return np.zeros(channels, np.int32)
    data = graph.tensors[op.inputs[2]].data
    if data is None:
        raise MalformedModelError(f"op {op.name!r}: its bias is not constant; fold the model or re-export it")
    return np.asarray(data, np.int32).reshape(channels)


def _multipliers(graph: Graph, op: Op, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    weights = graph.tensors[op.inputs[1]]
    weight_quant = weights.quant
    assert weight_quant is not None
    scales = weight_quant.scale
    if len(scales) not in (1, channels):
        raise MalformedModelError(f"op {op.name!r} has {len(scales)} weight scales for {channels} channels")
    in_scale = quant_of(graph.tensors[op.inputs[0]]).scale[0]
    out_scale = quant_of(graph.tensors[op.outputs[0]]).scale[0]
    was_uint8 = weights.border == "uint8"
    pairs = [numerics.weighted_multiplier(op.kind, was_uint8, in_scale, scale, out_scale) for scale in scales]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
