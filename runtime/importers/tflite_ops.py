# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite operators that compute: one converter an operator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from joulet import numerics
from joulet.importers.border import MAX_SCALE, NotCoveredError
from joulet.importers.tflite_context import Context, to_s8
from joulet.importers.tflite_fold import dequantized
from joulet.importers.tflite_read import Options, RawOp, RawTensor
from joulet.importers.tflite_shapes import normal_axis, window
from joulet.ir import (
    Activation,
    ArgMax,
    Array,
    Binary,
    Conv,
    Convert,
    Dense,
    DType,
    OpKind,
    Pool,
    Quant,
    Reduce,
    Reshape,
    Resize,
    Softmax,
    Tensor,
    Unary,
    UnaryKind,
)

Converter = Callable[[Context, RawOp], None]

_ACTIVATIONS = {0: Activation.NONE, 1: Activation.RELU, 2: Activation.RELU_N1_TO_1, 3: Activation.RELU6}


def options_of(context: Context, op: RawOp) -> Options:
    """Return the operator's options; they are required where the schema has no useful defaults."""
    if op.options is None:
        raise context.fail(f"'{context.name(op)}' ({op.code}) has no options")
    return op.options


def fused(op: RawOp) -> Activation:
    """Return the fused activation."""
    code = (op.options or {}).get("FusedActivationFunction", 0)
    if code not in _ACTIVATIONS:
        raise NotCoveredError(f"fused activation number {code}")
    return _ACTIVATIONS[code]


def nhwc(context: Context, op: RawOp, x: int) -> tuple[int, int, int, int]:
    """Return the four dimensions of an image tensor."""
    shape = context.tensors[x].shape
    if len(shape) != 4:
        raise NotCoveredError(f"input of {len(shape)} dimensions")
    return shape[0], shape[1], shape[2], shape[3]


def _weight_quant(context: Context, op: RawOp, raw: RawTensor, shape: tuple[int, ...], axis: int) -> Quant:
    """Per-tensor or per-channel quantisation of weights, shifted to int8."""
    n, zeros = len(raw.scale), set(raw.zero_point)
    if n == 0 or len(raw.zero_point) != n or n not in (1, shape[axis]):
        raise context.fail(
            f"weights '{raw.name}' of shape {list(shape)} have {n} scales and {len(raw.zero_point)} zero points"
        )
    if max(raw.scale) > MAX_SCALE:
        raise context.fail(f"weights '{raw.name}' have a scale of {max(raw.scale):g}")
    # A single scale holds for every channel, whichever axis the file names.
    if n > 1 and raw.axis != axis:
        raise context.fail(f"weights '{raw.name}' are quantised along axis {raw.axis}, {op.code} needs axis {axis}")
    if raw.type == "UINT8":
        zero = raw.zero_point[0] - 128
        if n > 1 or not -128 <= zero <= 127:
            raise context.fail(f"uint8 weights '{raw.name}' need one scale and one zero point of 0 to 255")
        return Quant(scale=raw.scale, zero_point=zero)
    if zeros != {0} and (op.code != "FULLY_CONNECTED" or n > 1 or not -128 <= raw.zero_point[0] <= 127):
        raise context.fail(f"int8 weights '{raw.name}' have zero points {sorted(zeros)[:4]}, {op.code} needs 0")
    return Quant(scale=raw.scale, zero_point=raw.zero_point[0], axis=axis if n > 1 else None)


def _weights(context: Context, op: RawOp, x: int, axis: int) -> int:
    """Add the weights; float layers with quantised weights get them as float32."""
    index = op.inputs[1] if len(op.inputs) > 1 else -1
    values = context.const(index)
    if values is None:
        raise NotCoveredError("weights that are not constant")
    raw = context.raw.tensors[index]
    if context.tensors[x].dtype is DType.F32:
        if values.dtype != np.float32:
            half = values.dtype == np.float16
            values = values.astype(np.float32) if half else dequantized(context, values, index)
            context.notes.append(f"weights of '{context.name(op)}' are {raw.type} in the file, float32 here")
        return context.shared(index, "float", Tensor(name=raw.name, shape=values.shape, dtype=DType.F32, data=values))
    if raw.type != context.raw.tensors[op.inputs[0]].type:
        raise NotCoveredError(f"{raw.type} weights for {context.raw.tensors[op.inputs[0]].type} input")
    if values.ndim <= axis:
        raise context.fail(f"weights '{raw.name}' of '{context.name(op)}' have shape {list(values.shape)}")
    quant = _weight_quant(context, op, raw, values.shape, axis)
    # The mark stays on weights: layers that were uint8 derive multipliers from a float32 product of scales.
    border = "uint8" if raw.type == "UINT8" else None
    tensor = Tensor(name=raw.name, shape=values.shape, dtype=DType.S8, quant=quant, data=to_s8(values), border=border)
    return context.shared(index, f"weights{axis}", tensor)


def _bias(context: Context, op: RawOp, x: int, weights: int, channels: int) -> list[int]:
    """Add the bias as (o,); none where the operator has none."""
    index = op.inputs[2] if len(op.inputs) > 2 else -1
    if index < 0:
        return []
    values = context.const(index)
    if values is None:
        raise NotCoveredError("bias that is not constant")
    raw = context.raw.tensors[index]
    if values.size != channels:
        raise context.fail(f"bias '{raw.name}' has {values.size} values for {channels} channels")
    values = values.reshape(channels)
    if context.tensors[x].dtype is DType.F32:
        if values.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
            raise NotCoveredError(f"{raw.type} bias of a float layer")
        tensor = Tensor(name=raw.name, shape=(channels,), dtype=DType.F32, data=values.astype(np.float32))
        return [context.shared(index, "bias", tensor)]
    if values.dtype != np.int32:
        raise NotCoveredError(f"{raw.type} bias")
    # Kernels use input scale x weight scale whatever the file says here.
    scale = tuple(context.quant(x).scale[0] * s for s in context.quant(weights).scale)
    quant = Quant(scale=scale, axis=0 if len(scale) > 1 else None)
    tensor = Tensor(name=raw.name, shape=(channels,), dtype=DType.S32, quant=quant, data=values)
    return [context.shared(index, f"bias{x}/{weights}", tensor)]


def _conv(context: Context, op: RawOp) -> None:
    options = options_of(context, op)
    activation = fused(op)
    x = context.input(op)
    n, height, width, channels = nhwc(context, op, x)
    depthwise = op.code == "DEPTHWISE_CONV_2D"
    weights = _weights(context, op, x, 3 if depthwise else 0)
    shape = context.tensors[weights].shape
    if len(shape) != 4 or 0 in shape or (depthwise and shape[0] != 1):
        raise context.fail(f"weights of '{context.name(op)}' ({op.code}) have shape {list(shape)}")
    out_c = shape[3] if depthwise else shape[0]
    groups = 1
    if depthwise:
        if out_c % channels:
            raise context.fail(f"'{context.name(op)}' makes {out_c} channels of {channels}")
    else:
        if channels % shape[3] or out_c % (channels // shape[3]):
            raise context.fail(f"'{context.name(op)}' has weights {list(shape)} for {channels} input channels")
        groups = channels // shape[3]
    stride = (options["StrideH"], options["StrideW"])
    dilation = (options["DilationHFactor"], options["DilationWFactor"])
    out_h, top = window(context, op, height, shape[1], stride[0], dilation[0], options["Padding"])
    out_w, left = window(context, op, width, shape[2], stride[1], dilation[1], options["Padding"])
    bias = _bias(context, op, x, weights, out_c)
    y = context.output(op, (n, out_h, out_w, out_c))
    context.same_type(op, x, y)
    kind = OpKind.DEPTHWISE_CONV2D if depthwise else OpKind.CONV2D
    attrs = Conv(stride=stride, dilation=dilation, pad=(top, left), activation=activation, groups=groups)
    context.emit(kind, context.name(op), (x, weights, *bias), (y,), attrs)


def _dense(context: Context, op: RawOp) -> None:
    options = op.options or {}
    activation = fused(op)
    if options.get("WeightsFormat", 0) != 0:
        raise NotCoveredError("shuffled weights")
    x = context.input(op)
    weights = _weights(context, op, x, 0)
    shape = context.tensors[weights].shape
    source = context.tensors[x].shape
    if len(shape) != 2 or 0 in shape or math.prod(source) % shape[1]:
        raise context.fail(f"'{context.name(op)}' has weights {list(shape)} for an input of shape {list(source)}")
    bias = _bias(context, op, x, weights, shape[0])
    if options.get("KeepNumDims") and len(source) > 1:
        if source[-1] != shape[1]:
            raise context.fail(f"'{context.name(op)}' has weights {list(shape)} for an input of shape {list(source)}")
        out = (*source[:-1], shape[0])
    else:
        out = (math.prod(source) // shape[1], shape[0])
    declared = context.raw.tensors[op.outputs[0]].shape
    # Some converters declare the output with the input's leading dimensions; elements and order are the same.
    if declared and declared[-1] == shape[0] and math.prod(declared) == math.prod(out):
        out = declared
    y = context.output(op, out)
    context.same_type(op, x, y)
    context.emit(OpKind.FULLY_CONNECTED, context.name(op), (x, weights, *bias), (y,), Dense(activation=activation))


def _pool(context: Context, op: RawOp) -> None:
    options = options_of(context, op)
    activation = fused(op)
    x = context.input(op)
    n, height, width, channels = nhwc(context, op, x)
    kernel = (options["FilterHeight"], options["FilterWidth"])
    stride = (options["StrideH"], options["StrideW"])
    out_h, top = window(context, op, height, kernel[0], stride[0], 1, options["Padding"])
    out_w, left = window(context, op, width, kernel[1], stride[1], 1, options["Padding"])
    average = op.code == "AVERAGE_POOL_2D"
    if average and context.is_uint8(op):
        _odd_windows(kernel, stride, (height, width), (out_h, out_w), (top, left))
    y = context.output(op, (n, out_h, out_w, channels))
    context.same_type(op, x, y)
    attrs = Pool(kernel=kernel, stride=stride, pad=(top, left), activation=activation)
    context.emit(OpKind.AVG_POOL2D if average else OpKind.MAX_POOL2D, context.name(op), (x,), (y,), attrs)


def _odd_windows(
    kernel: tuple[int, int], stride: tuple[int, int], size: tuple[int, int], out: tuple[int, int], pad: tuple[int, int]
) -> None:
    """Refuse uint8 averages over an even count: their ties round up, those of int8 away from zero."""
    for axis in (0, 1):
        for i in range(min(out[axis], 1 << 16)):
            first = i * stride[axis] - pad[axis]
            count = min(first + kernel[axis], size[axis]) - max(first, 0)
            if count % 2 == 0:
                raise NotCoveredError("uint8 average over an even number of values")


def _mean(context: Context, op: RawOp) -> None:
    if context.is_uint8(op):
        raise NotCoveredError("of uint8")
    x = context.input(op)
    shape = context.tensors[x].shape
    axes = tuple(sorted({normal_axis(context, op, a, len(shape)) for a in context.integers(op, 1, "the axes")}))
    keep = bool((op.options or {}).get("KeepDims", False))
    out = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
    y = context.output(op, out)
    context.same_type(op, x, y)
    context.emit(OpKind.MEAN, context.name(op), (x,), (y,), Reduce(axes=axes, keep_dims=keep))


_BINARY = {"ADD": OpKind.ADD, "SUB": OpKind.SUB, "MUL": OpKind.MUL}


def _binary(context: Context, op: RawOp) -> None:
    activation = fused(op)
    a, b = context.input(op, 0), context.input(op, 1)
    shapes = context.tensors[a].shape, context.tensors[b].shape
    try:
        out = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise context.fail(f"'{context.name(op)}' joins shapes {list(shapes[0])} and {list(shapes[1])}") from error
    y = context.output(op, out)
    context.same_type(op, a, b, y)
    context.emit(_BINARY[op.code], context.name(op), (a, b), (y,), Binary(activation=activation))


def _softmax(context: Context, op: RawOp) -> None:
    options = options_of(context, op)
    x = context.input(op)
    shape = context.tensors[x].shape
    if not shape:
        raise context.fail(f"'{context.name(op)}' is a softmax of a scalar")
    y = context.output(op, shape)
    if context.same_type(op, x, y) is DType.S8:
        _fixed_output(context, op, y, 1 / 256, -128)
    if not options["Beta"] > 0:
        raise context.fail(f"'{context.name(op)}' has beta {options['Beta']}")
    context.emit(OpKind.SOFTMAX, context.name(op), (x,), (y,), Softmax(beta=float(options["Beta"])))


def _fixed_output(context: Context, op: RawOp, y: int, scale: float, zero_point: int) -> None:
    """Check the one output quantisation that the kernels of an operator have."""
    quant = context.quant(y)
    if abs(quant.scale[0] - scale) > 1e-3 * scale or quant.zero_point != zero_point:
        raise context.fail(
            f"'{context.name(op)}' ({op.code}) has output scale {quant.scale[0]:g} and int8 zero point "
            f"{quant.zero_point} where {scale:g} and {zero_point} are fixed"
        )


_UNARY = {
    "LOGISTIC": UnaryKind.LOGISTIC,
    "TANH": UnaryKind.TANH,
    "RELU": UnaryKind.RELU,
    "RELU6": UnaryKind.RELU6,
    "RELU_N1_TO_1": UnaryKind.RELU_N1_TO_1,
    "LEAKY_RELU": UnaryKind.LEAKY_RELU,
    "HARD_SWISH": UnaryKind.HARD_SWISH,
}


def _unary(context: Context, op: RawOp) -> None:
    kind = _UNARY[op.code]
    alpha = float(options_of(context, op)["Alpha"]) if kind is UnaryKind.LEAKY_RELU else 0.0
    x = context.input(op)
    y = context.output(op, context.tensors[x].shape)
    table = None
    if context.same_type(op, x, y) is DType.S8:
        if kind is UnaryKind.LOGISTIC:
            _fixed_output(context, op, y, 1 / 256, -128)
        if kind is UnaryKind.TANH:
            _fixed_output(context, op, y, 1 / 128, 0)
        table = _table(context, op, kind, alpha, x, y)
    context.emit(OpKind.UNARY, context.name(op), (x,), (y,), Unary(kind=kind, alpha=alpha, table=table))


def _table(context: Context, op: RawOp, kind: UnaryKind, alpha: float, x: int, y: int) -> bytes:
    in_quant, out_quant = context.quant(x), context.quant(y)
    uint8 = context.is_uint8(op)
    if uint8 and kind is UnaryKind.RELU6:
        # The uint8 reference rescales before it clamps; the int8 one of microcontrollers does not.
        low, high = numerics.activation_range(Activation.RELU6, out_quant)
        plain = numerics.unary_table(UnaryKind.REQUANTIZE, 0.0, in_quant, out_quant)
        clipped: Array = np.clip(np.frombuffer(plain, np.int8), low, high).astype(np.int8)
        return clipped.tobytes()
    return numerics.unary_table(kind, alpha, in_quant, out_quant, uint8=uint8)


def _quantize(context: Context, op: RawOp) -> None:
    x = context.input(op)
    shape = context.tensors[x].shape
    y = context.output(op, shape)
    types = context.tensors[x].dtype, context.tensors[y].dtype
    name = context.name(op)
    if types == (DType.F32, DType.S8):
        context.emit(OpKind.QUANTIZE, name, (x,), (y,), Convert())
        return
    if types != (DType.S8, DType.S8):
        raise NotCoveredError(f"{types[0].value} to {types[1].value}")
    in_quant, out_quant = context.quant(x), context.quant(y)
    if in_quant == out_quant:
        context.emit(OpKind.RESHAPE, name, (x,), (y,), Reshape())
        return
    table = numerics.unary_table(UnaryKind.REQUANTIZE, 0.0, in_quant, out_quant, uint8=context.is_uint8(op))
    context.emit(OpKind.UNARY, name, (x,), (y,), Unary(kind=UnaryKind.REQUANTIZE, table=table))


def _dequantize(context: Context, op: RawOp) -> None:
    x = context.input(op)
    y = context.output(op, context.tensors[x].shape)
    if (context.tensors[x].dtype, context.tensors[y].dtype) != (DType.S8, DType.F32):
        raise NotCoveredError("anything but int8 or uint8 to float32")
    context.emit(OpKind.DEQUANTIZE, context.name(op), (x,), (y,), Convert())


def _resize(context: Context, op: RawOp) -> None:
    options = op.options or {}
    x = context.input(op)
    n, _, _, channels = nhwc(context, op, x)
    size = context.integers(op, 1, "the size")
    if len(size) != 2 or min(size) < 1:
        raise context.fail(f"'{context.name(op)}' resizes to {list(size)}")
    bilinear = op.code == "RESIZE_BILINEAR"
    if bilinear and context.is_uint8(op):
        raise NotCoveredError("of uint8")
    align, half = bool(options.get("AlignCorners")), bool(options.get("HalfPixelCenters"))
    if align and half:
        raise context.fail(f"'{context.name(op)}' sets both align_corners and half_pixel_centers")
    y = context.output(op, (n, size[0], size[1], channels))
    context.same_type(op, x, y)
    kind = OpKind.RESIZE_BILINEAR if bilinear else OpKind.RESIZE_NEAREST
    context.emit(kind, context.name(op), (x,), (y,), Resize(align_corners=align, half_pixel_centers=half))


def _argmax(context: Context, op: RawOp) -> None:
    x = context.input(op)
    shape = context.tensors[x].shape
    axes = context.integers(op, 1, "the axis")
    if len(axes) != 1:
        raise context.fail(f"'{context.name(op)}' has {len(axes)} axes")
    axis = normal_axis(context, op, axes[0], len(shape))
    raw = context.raw.tensors[op.outputs[0]]
    if raw.type not in ("INT32", "INT64"):
        raise NotCoveredError(f"{raw.type} output")
    if raw.type == "INT64":
        context.notes.append(f"argmax '{raw.name}' is int64 in the file, int32 here")
    y = context.output(op, (*shape[:axis], *shape[axis + 1 :]), dtype=DType.S32)
    context.emit(OpKind.ARGMAX, context.name(op), (x,), (y,), ArgMax(axis=axis))


CONVERTERS: dict[str, Converter] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    **dict.fromkeys(_BINARY, _binary),
    "SOFTMAX": _softmax,
    **dict.fromkeys(_UNARY, _unary),
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "ARG_MAX": _argmax,
}
