# SPDX-License-Identifier: Apache-2.0
"""ONNX operators with weights: Conv, Gemm, MatMul, and what is folded into them: BatchNormalization, a bias, a clamp."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulet.importers.border import NotCoveredError
from joulet.importers.onnx_context import Constant, Context, Value
from joulet.importers.onnx_read import RawNode
from joulet.importers.onnx_shapes import windows
from joulet.ir import Array, Conv, Dense, DType, OpKind, Quant, Tensor

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Affine:
    """What follows a weighted op and belongs to it: ``gain`` and ``shift`` a channel, and the name of the result."""

    name: str
    gain: F64 | None
    shift: F64 | None


def batch_normal(context: Context, node: RawNode) -> tuple[F64, F64]:
    """Return gain and shift ``(c,)`` of a BatchNormalization with constant statistics."""
    if context.number(node, "training_mode", 0) or len([o for o in node.outputs if o]) != 1:
        raise NotCoveredError("in training mode (export the model for inference)")
    names = ("the scale", "the bias", "the mean", "the variance")
    parts = [context.constant(node, i + 1, what).real().astype(np.float64) for i, what in enumerate(names)]
    if len({p.shape for p in parts}) != 1 or parts[0].ndim != 1:
        raise context.fail(f"'{node.label}' ({node.op}) has statistics of different shapes")
    scale, bias, mean, variance = parts
    spread = variance + context.real(node, "epsilon", 1e-5)
    if not (spread > 0).all() or not all(np.isfinite(p).all() for p in parts):
        raise context.fail(f"'{node.label}' ({node.op}) has a variance that is not positive, or values without end")
    gain = scale / np.sqrt(spread)
    return gain, bias - mean * gain


def _affine(context: Context, name: str, channels: int, axis: int, rank: int, *, integer: bool) -> _Affine:
    """Take the normalisations and per-channel additions that follow into a weighted op."""
    gain: F64 | None = None
    shift: F64 | None = None
    while True:
        after = context.only_user(name)
        if after is None or len(after.outputs) < 1 or name not in after.inputs:
            break
        if after.op == "BatchNormalization" and not integer and after.inputs[0] == name:
            g, s = batch_normal(context, after)
            if g.shape != (channels,):
                raise context.fail(f"'{after.label}' ({after.op}) has {g.size} channels, its input {channels}")
        elif after.op == "Add":
            added = _per_channel(context, after, name, channels, axis, rank)
            if added is None:
                break
            g, s = np.ones(channels), added
        else:
            break
        gain = g if gain is None else gain * g
        shift = s if shift is None else shift * g + s
        context.done.add(after.index)
        name = after.outputs[0]
    return _Affine(name=name, gain=gain, shift=shift)


def _per_channel(
    context: Context, node: RawNode, name: str, channels: int, axis: int, rank: int
) -> F64 | None:  # fmt: skip
    """Return the constant that an Add gives each channel, None where it does something else."""
    other = node.inputs[1 - node.inputs.index(name)] if len(node.inputs) == 2 else name
    held = context.constants.get(other)
    if held is None or held.data.ndim > rank or other == name:
        return None
    shape = (1,) * (rank - held.data.ndim) + held.data.shape
    if any(extent != 1 and i != axis for i, extent in enumerate(shape)) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(held.real().astype(np.float64).reshape(-1), (channels,))


def _integer_weights(context: Context, node: RawNode, held: Constant, channel_axis: int) -> tuple[Array, Quant]:
    """Return int8 weights in the file's order, and their quantisation without an axis of the IR yet."""
    if held.scale is None or held.zero_point is None:
        raise NotCoveredError("float weights in an int8 layer (quantise the weights too)")
    if held.data.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
        raise NotCoveredError(f"{held.data.dtype} weights")
    lowest = 128 if held.data.dtype == np.uint8 else 0
    zeros = {int(z) - lowest for z in held.zero_point}
    n = held.scale.size
    if n > 1 and held.axis != channel_axis:
        raise NotCoveredError(f"weights quantised along axis {held.axis} (quantise them per output channel)")
    if len(zeros) > 1 or not all(-128 <= z <= 127 for z in zeros) or (n > 1 and zeros != {0}):
        raise NotCoveredError("asymmetric per-channel weights (quantise weights symmetrically)")
    data = (held.data.astype(np.int16) - lowest).astype(np.int8)
    return data, Quant(scale=tuple(float(s) for s in held.scale), zero_point=zeros.pop())


def _bias(context: Context, node: RawNode, position: int, channels: int) -> F64 | None:
    if not context.has(node, position):
        return None
    held = context.constant(node, position, "the bias")
    if held.data.size not in (1, channels) or max(held.data.shape, default=1) != held.data.size:
        raise context.fail(f"bias of '{node.label}' has shape {list(held.data.shape)} for {channels} channels")
    real = held.data.astype(np.float64).reshape(-1)
    if held.scale is not None and held.zero_point is not None:
        real = (real - held.zero_point.astype(np.float64)) * held.scale.astype(np.float64)
    return np.broadcast_to(real, (channels,))


def _weighted(
    context: Context,
    node: RawNode,
    x: int,
    held: Constant,
    turn: Callable[[Array], Array],
    axes: tuple[int, int],
    bias: F64 | None,
    affine: _Affine,
) -> tuple[int, ...]:
    """Add weights and bias; ``turn`` brings the file's order to the IR's, ``axes`` are the channel's in each."""
    source = context.quant(x)
    if source is None:
        if held.scale is not None:
            context.notes.append(f"weights of '{node.label}' are {held.data.dtype} in the file, float32 here")
        real = held.real().astype(np.float64)
        if affine.gain is not None:
            view = [1] * real.ndim
            view[axes[0]] = -1
            real = real * affine.gain.reshape(view)
            bias = None if bias is None else bias * affine.gain
        if affine.shift is not None:
            bias = affine.shift if bias is None else bias + affine.shift
        data: Array = np.ascontiguousarray(turn(real)).astype(np.float32)
        weights = context.add(Tensor(name=f"{node.label}:weights", shape=data.shape, dtype=DType.F32, data=data))
        if bias is None:
            return x, weights
        b = bias.astype(np.float32)
        return x, weights, context.add(Tensor(name=f"{node.label}:bias", shape=b.shape, dtype=DType.F32, data=b))
    values, quant = _integer_weights(context, node, held, axes[0])
    data = np.ascontiguousarray(turn(values))
    if len(quant.scale) > 1:
        quant = replace(quant, axis=axes[1])
    weights = context.add(
        Tensor(name=f"{node.label}:weights", shape=data.shape, dtype=DType.S8, quant=quant, data=data)
    )
    if affine.shift is not None:
        bias = affine.shift if bias is None else bias + affine.shift
    if bias is None:
        return x, weights
    return x, weights, _integer_bias(context, node, bias, source, quant)


def _integer_bias(context: Context, node: RawNode, bias: F64, source: Quant, weights: Quant) -> int:
    """Add an int32 bias at input scale x weight scale, whatever scale the file gives it."""
    scale = tuple(source.scale[0] * s for s in weights.scale)
    steps = np.divide(bias, np.asarray(scale), out=np.zeros_like(bias), where=np.asarray(scale) > 0)
    if not np.isfinite(steps).all() or np.abs(steps).max(initial=0) >= 2**31 - 1:
        raise context.fail(f"bias of '{node.label}' does not fit 32 bits at its layer's scale")
    q = np.rint(steps).astype(np.int32)
    quant = Quant(scale=scale, axis=0 if len(scale) > 1 else None)
    return context.add(Tensor(name=f"{node.label}:bias", shape=q.shape, dtype=DType.S32, quant=quant, data=q))


def needs_quant(quant: Quant | None, *, integer: bool) -> Quant | None:
    """Return the quantisation of a result: an int8 op must have one."""
    if integer and quant is None:
        raise NotCoveredError("its result is not quantised (add QuantizeLinear after it)")
    return quant if integer else None


def conv(context: Context, node: RawNode) -> None:
    """Convert Conv in one or two dimensions, grouped or depthwise."""
    value = context.value(node)
    rank = len(value.shape)
    x = context.image(value)
    n, height, width, channels = context.tensors[x].shape
    held = context.constant(node, 1, "the weights")
    if held.data.ndim != rank or 0 in held.data.shape:
        raise context.fail(f"weights of '{node.label}' have shape {list(held.data.shape)} for {rank} dimensions")
    out_c, group_c = held.data.shape[:2]
    kernel = held.data.shape[2:]
    groups = context.number(node, "group", 1)
    if groups < 1 or channels != group_c * groups or out_c % groups:
        raise context.fail(
            f"'{node.label}' has weights {list(held.data.shape)}, group {groups} and {channels} channels"
        )
    if (context.numbers(node, "kernel_shape") or kernel) != kernel:
        raise context.fail(f"'{node.label}' has a kernel_shape that is not its weights' {list(kernel)}")
    space = (height, width) if rank == 4 else (width,)
    out, strides, dilations, before, _ = windows(context, node, space, kernel)
    if rank == 3:
        out, strides, dilations, before = (1, *out), (1, *strides), (1, *dilations), (0, *before)
    depthwise = groups > 1 and group_c == 1
    axis = 3 if depthwise else 0

    def turn(w: Array) -> Array:
        square: Array = w if rank == 4 else w[:, :, None]
        return np.transpose(square, (1, 2, 3, 0) if depthwise else (0, 2, 3, 1))

    integer = context.quant(x) is not None
    affine = _affine(context, node.outputs[0], out_c, 1, rank, integer=integer)
    inputs = _weighted(context, node, x, held, turn, (0, axis), _bias(context, node, 2, out_c), affine)
    follow = context.follow(affine.name, clamps=True)
    quant = needs_quant(follow.quant, integer=integer)
    y = context.activation(follow.name, (n, *out, out_c), quant)
    attrs = Conv(
        stride=(strides[0], strides[1]),
        dilation=(dilations[0], dilations[1]),
        pad=(before[0], before[1]),
        activation=follow.activation,
        groups=1 if depthwise else groups,
    )
    kind = OpKind.DEPTHWISE_CONV2D if depthwise else OpKind.CONV2D
    context.emit(kind, node.label, inputs, y, attrs)
    context.bind(follow.name, context.of_image(y, rank))


def _columns(context: Context, value: Value) -> tuple[int, Array | None]:
    """Return the tensor a dense layer reads, and where each of the file's columns lies in it, None where in place."""
    k = value.shape[-1]
    if math.prod(value.shape) != k:
        return context.plain(value), None
    stored = context.tensors[value.tensor].shape
    place = np.arange(k).reshape(stored).transpose(value.perm).reshape(-1)
    tensor = context.reread(value.tensor, (1, k) if len(value.shape) < 2 else value.shape)
    return tensor, None if (place == np.arange(k)).all() else place


def dense(context: Context, node: RawNode) -> None:
    """Convert Gemm and MatMul with constant weights."""
    value = context.value(node)
    held = context.constant(node, 1, "the second factor")
    gemm = node.op == "Gemm"
    if held.data.ndim != 2 or not value.shape or (gemm and len(value.shape) != 2):
        raise NotCoveredError(f"of {len(value.shape)} by {held.data.ndim} dimensions")
    if gemm and context.number(node, "transA", 0):
        raise NotCoveredError("with transA")
    transposed = gemm and context.number(node, "transB", 0) != 0
    channel_axis = 0 if transposed else 1
    out_c, k = held.data.shape[channel_axis], held.data.shape[1 - channel_axis]
    if value.shape[-1] != k or 0 in held.data.shape:
        raise context.fail(f"'{node.label}' ({node.op}) has weights {list(held.data.shape)} for {list(value.shape)}")
    x, place = _columns(context, value)
    integer = context.quant(x) is not None
    alpha, beta = (context.real(node, "alpha", 1.0), context.real(node, "beta", 1.0)) if gemm else (1.0, 1.0)
    if integer and alpha != 1.0:
        if alpha <= 0 or held.scale is None:
            raise NotCoveredError(f"with alpha {alpha:g} in an int8 layer")
        held = replace(held, scale=held.scale.astype(np.float64) * alpha)
    bias = _bias(context, node, 2, out_c) if gemm else None
    bias = None if bias is None or beta == 0.0 else bias * beta

    def turn(w: Array) -> Array:
        rows: Array = w if transposed else w.T
        if alpha != 1.0 and not integer:
            rows = rows.astype(np.float64) * alpha
        if place is None:
            return rows
        moved = np.empty_like(rows)
        moved[:, place] = rows
        return moved

    rank = len(value.shape)
    affine = _affine(context, node.outputs[0], out_c, rank - 1, rank, integer=integer or rank != 2)
    inputs = _weighted(context, node, x, held, turn, (channel_axis, 0), bias, affine)
    follow = context.follow(affine.name, clamps=True)
    y = context.activation(follow.name, (*value.shape[:-1], out_c), needs_quant(follow.quant, integer=integer))
    context.emit(OpKind.FULLY_CONNECTED, node.label, inputs, y, Dense(activation=follow.activation))
    context.bind(follow.name, context.of_plain(y))
