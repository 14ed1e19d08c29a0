# SPDX-License-Identifier: Apache-2.0
"""The small models of tests/models: between them they hold every operator the importer covers.

``python -m joulet.tools.golden`` writes the files and has the judges compute their outputs. Weights are random, so
weight scales are chosen for about 50 steps of standard deviation: most values vary, some saturate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tflite_build import ModelBuilder

NONE, RELU, RELU_N1, RELU6 = 0, 1, 2, 3
SAME, VALID = 0, 1
_SCALE = 0.045  # of layers' outputs
_SPREAD = 50.0  # output standard deviation aimed at [steps]


class Net(ModelBuilder):
    """A builder that knows layers. Activations are (tensor, shape, scale, zero point)."""

    def __init__(self, description: str, seed: int, type: str = "INT8") -> None:
        super().__init__(description)
        self.rng = np.random.default_rng(seed)
        self.type = type
        self.scale: dict[int, float] = {}
        self.zero: dict[int, int] = {}

    def act(
        self,
        name: str,
        shape: Sequence[int],
        scale: float,
        zero: int = 0,
        type: str = "",
        data: np.ndarray | None = None,
    ) -> int:
        """Add an activation. ``zero`` is on the int8 grid; uint8 models store it 128 higher."""
        kind = type or self.type
        index = self.tensor(name, shape, kind, scale=scale, zero=zero + (128 if kind == "UINT8" else 0), data=data)
        self.scale[index], self.zero[index] = scale, zero
        return index

    def weights(
        self, name: str, shape: Sequence[int], axis: int, per_channel: bool, x: int, out_scale: float
    ) -> tuple[int, np.ndarray]:
        """Add random weights with a fifth of exact zeros; return (tensor, scales)."""
        n = shape[axis]
        terms = int(np.prod(shape)) // n
        mean = out_scale * _SPREAD / (self.scale[x] * 50.0 * 65.0 * terms**0.5)
        q = self.rng.integers(-127, 128, shape)
        q[self.rng.random(shape) < 0.2] = 0
        if self.type == "UINT8":
            scales = np.full(1, mean, np.float32)
            data = (q + 121).clip(0, 255).astype(np.uint8)
            return self.tensor(name, shape, "UINT8", scale=float(scales[0]), zero=121, data=data), scales
        count = n if per_channel else 1
        scales = (mean * self.rng.uniform(0.5, 1.5, count)).astype(np.float32)
        index = self.tensor(name, shape, "INT8", scale=[float(s) for s in scales], axis=axis, data=q.astype(np.int8))
        return index, scales

    def bias(self, name: str, n: int, x: int, scales: np.ndarray, spread: int = 2000) -> int:
        """Add a random int32 bias."""
        data = self.rng.integers(-spread, spread + 1, n).astype(np.int32)
        scale = [float(np.float32(self.scale[x] * s)) for s in scales]
        return self.tensor(name, (n,), "INT32", scale=scale, data=data)

    def conv(
        self, x: int, out: int, kernel: tuple[int, int] = (3, 3), *, stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1), padding: int = SAME, activation: int = NONE, groups: int = 1,
        per_channel: bool = True, bias: bool = True, name: str = "conv",
    ) -> int:  # fmt: skip
        """Add conv2d."""
        n, height, width, channels = self.tensors[x].shape
        w, scales = self.weights(f"{name}/w", (out, *kernel, channels // groups), 0, per_channel, x, _SCALE)
        shape = (n, *_extent((height, width), kernel, stride, dilation, padding), out)
        y = self.act(name, shape, _SCALE, -11)
        ins = (x, w, self.bias(f"{name}/b", out, x, scales) if bias else -1)
        self.op(
            "CONV_2D", ins, (y,), "Conv2DOptions", Padding=padding, StrideH=stride[0], StrideW=stride[1],
            DilationHFactor=dilation[0], DilationWFactor=dilation[1], FusedActivationFunction=activation,
        )  # fmt: skip
        return y

    def depthwise(
        self, x: int, multiplier: int = 1, kernel: tuple[int, int] = (3, 3), *, stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1), padding: int = SAME, activation: int = NONE, per_channel: bool = True,
        name: str = "depthwise",
    ) -> int:  # fmt: skip
        """Add depthwise_conv2d."""
        n, height, width, channels = self.tensors[x].shape
        out = channels * multiplier
        w, scales = self.weights(f"{name}/w", (1, *kernel, out), 3, per_channel, x, _SCALE)
        shape = (n, *_extent((height, width), kernel, stride, dilation, padding), out)
        y = self.act(name, shape, _SCALE, 7)
        self.op(
            "DEPTHWISE_CONV_2D", (x, w, self.bias(f"{name}/b", out, x, scales)), (y,), "DepthwiseConv2DOptions",
            Padding=padding, StrideH=stride[0], StrideW=stride[1], DilationHFactor=dilation[0],
            DilationWFactor=dilation[1], DepthMultiplier=multiplier, FusedActivationFunction=activation,
        )  # fmt: skip
        return y

    def dense(
        self, x: int, out: int, *, activation: int = NONE, bias: bool = True, per_channel: bool = False,
        scale: float = _SCALE, name: str = "dense",
    ) -> int:  # fmt: skip
        """Add fully_connected."""
        inner = int(np.prod(self.tensors[x].shape[1:]))
        w, scales = self.weights(f"{name}/w", (out, inner), 0, per_channel, x, scale)
        y = self.act(name, (self.tensors[x].shape[0], out), scale, 5)
        ins = (x, w, self.bias(f"{name}/b", out, x, scales) if bias else -1)
        self.op("FULLY_CONNECTED", ins, (y,), "FullyConnectedOptions", FusedActivationFunction=activation)
        return y

    def pool(
        self, x: int, code: str, kernel: tuple[int, int], stride: tuple[int, int], padding: int = VALID,
        activation: int = NONE, name: str = "pool",
    ) -> int:  # fmt: skip
        """Add a pooling, in the quantisation of its input."""
        n, height, width, channels = self.tensors[x].shape
        shape = (n, *_extent((height, width), kernel, stride, (1, 1), padding), channels)
        y = self.act(name, shape, self.scale[x], self.zero[x])
        self.op(
            code, (x,), (y,), "Pool2DOptions", Padding=padding, StrideH=stride[0], StrideW=stride[1],
            FilterHeight=kernel[0], FilterWidth=kernel[1], FusedActivationFunction=activation,
        )  # fmt: skip
        return y

    def move(
        self, code: str, ins: Sequence[int], shape: Sequence[int], table: str = "", name: str = "", **fields: object
    ) -> int:
        """Add an operator whose output has its first input's quantisation."""
        y = self.act(name or code.lower(), shape, self.scale[ins[0]], self.zero[ins[0]])
        self.op(code, ins, (y,), table, **fields)
        return y

    def binary(
        self, code: str, a: int, b: int, scale: float, zero: int = 3, activation: int = NONE, name: str = ""
    ) -> int:
        """Add add, sub or mul."""
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        y = self.act(name or code.lower(), shape, scale, zero)
        self.op(code, (a, b), (y,), f"{code.capitalize()}Options", FusedActivationFunction=activation)
        return y

    def unary(self, code: str, x: int, scale: float, zero: int, table: str = "", **fields: object) -> int:
        """Add an activation function."""
        y = self.act(code.lower(), self.tensors[x].shape, scale, zero)
        self.op(code, (x,), (y,), table, **fields)
        return y

    def softmax(self, x: int, beta: float = 1.0) -> int:
        """Add a softmax."""
        y = self.act("softmax", self.tensors[x].shape, 1 / 256, -128)
        self.op("SOFTMAX", (x,), (y,), "SoftmaxOptions", Beta=beta)
        return y


def _extent(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: int
) -> tuple[int, int]:
    out = []
    for s, k, step, d in zip(size, kernel, stride, dilation, strict=True):
        out.append(-(-s // step) if padding == SAME else (s - (k - 1) * d - 1) // step + 1)
    return out[0], out[1]


def conv_int8() -> bytes:
    """conv2d: strides, dilation, groups, per-tensor, no bias, fused clamps."""
    net = Net("conv2d", 11)
    x = net.act("input", (1, 13, 11, 4), 0.03, -5)
    y = net.conv(x, 8, (3, 3), stride=(2, 2), activation=RELU, name="strided")
    y = net.conv(y, 8, (3, 3), dilation=(2, 2), name="dilated")
    y = net.conv(y, 12, (3, 3), groups=4, activation=RELU6, name="grouped")
    y = net.conv(y, 6, (1, 1), per_channel=False, name="pointwise")
    y = net.conv(y, 5, (2, 3), padding=VALID, bias=False, activation=RELU_N1, name="valid")
    return net.finish((x,), (y,))


def depthwise_int8() -> bytes:
    """depthwise_conv2d: multiplier, stride, dilation, per-tensor."""
    net = Net("depthwise_conv2d", 12)
    x = net.act("input", (1, 12, 9, 3), 0.05, 4)
    y = net.depthwise(x, 3, name="multiplied", activation=RELU)
    y = net.depthwise(y, 1, (5, 3), stride=(2, 1), name="strided")
    y = net.depthwise(y, 1, (3, 3), dilation=(2, 2), name="dilated", activation=RELU6)
    y = net.depthwise(y, 1, (2, 2), padding=VALID, per_channel=False, name="per_tensor")
    return net.finish((x,), (y,))


def dense_int8() -> bytes:
    """fully_connected and softmax."""
    net = Net("fully_connected, softmax", 13)
    x = net.act("input", (1, 24), 0.04, -20)
    y = net.dense(x, 20, activation=RELU, name="first")
    y = net.dense(y, 16, activation=RELU6, bias=False, name="second")
    y = net.dense(y, 10, scale=0.1, name="logits")
    return net.finish((x,), (net.softmax(y),))


def pools_int8() -> bytes:
    """avg_pool2d, max_pool2d, mean."""
    net = Net("pools and mean", 14)
    x = net.act("input", (1, 11, 9, 5), 0.05, 13)
    a = net.pool(x, "AVERAGE_POOL_2D", (3, 3), (2, 2), SAME, name="average")
    b = net.pool(a, "MAX_POOL_2D", (2, 2), (1, 1), VALID, RELU, name="maximum")
    c = net.pool(b, "AVERAGE_POOL_2D", (2, 2), (1, 1), VALID, RELU6, name="average_clamped")
    d = net.pool(x, "MAX_POOL_2D", (3, 2), (3, 2), SAME, name="maximum_same")
    mean = net.act("mean", (1, 1, 1, 5), 0.02, 6)
    net.op("MEAN", (c, net.ints("axes", [1, 2])), (mean,), "ReducerOptions", KeepDims=True)
    flat = net.act("mean_flat", (1, 5), 0.05, 13)
    net.op("MEAN", (d, net.ints("axes_flat", [2, 1])), (flat,), "ReducerOptions", KeepDims=False)
    return net.finish((x,), (mean, flat))


def arithmetic_int8() -> bytes:
    """add, sub, mul: two inputs, constants, broadcasts, fused clamps."""
    net = Net("add, sub, mul", 15)
    a = net.act("a", (1, 5, 4, 6), 0.05, 3)
    b = net.act("b", (1, 5, 4, 6), 0.11, -40)
    total = net.binary("ADD", a, b, 0.13, -7, RELU, "sum")
    constant = net.act("constant", (6,), 0.02, 9, data=net.rng.integers(-128, 128, 6).astype(np.int8))
    shifted = net.binary("SUB", total, constant, 0.1, 5, NONE, "shifted")
    gate = net.act("gate", (1, 1, 1, 6), 0.02, -90, data=net.rng.integers(-128, 128, (1, 1, 1, 6)).astype(np.int8))
    gated = net.binary("MUL", shifted, gate, 0.05, -70, RELU6, "gated")
    scalar = net.act("scalar", (1,), 0.1, 2, data=np.asarray([77], np.int8))
    return net.finish(
        (a, b), (net.binary("ADD", gated, scalar, 0.2, -90, NONE, "offset"), net.binary("MUL", a, b, 0.3, 11))
    )


def movement_int8() -> bytes:
    """pad, padv2, transpose, reshape, split, concat, strided slice, slice, squeeze, expand, pack."""
    net = Net("movement", 16)
    x = net.act("input", (1, 6, 8, 4), 0.05, -3)
    padded = net.move("PAD", (x, net.ints("pads", [[0, 0], [1, 2], [0, 1], [0, 0]])), (1, 9, 9, 4), "PadOptions")
    value = net.act("pad_value", (1,), 0.05, -3, data=np.asarray([40], np.int8))
    pads = net.ints("pads_value", [[0, 0], [0, 0], [2, 0], [1, 0]])
    valued = net.move("PADV2", (x, pads, value), (1, 6, 10, 5), "PadV2Options")
    turned = net.move("TRANSPOSE", (x, net.ints("perm", [0, 3, 1, 2])), (1, 4, 6, 8), "TransposeOptions")
    parts = [net.act(f"part_{i}", (1, 6, 4, 4), 0.05, -3) for i in range(2)]
    net.op("SPLIT", (net.ints("split_axis", 2), x), parts, "SplitOptions", NumSplits=2)
    joined = net.move("CONCATENATION", (parts[1], parts[0]), (1, 12, 4, 4), "ConcatenationOptions", Axis=1)
    begin, end, steps = net.ints("begin", [0, 8, 0, 1]), net.ints("end", [0, 0, 4, 4]), net.ints("steps", [1, -2, 1, 2])
    strided = net.move(
        "STRIDED_SLICE", (padded, begin, end, steps), (9 // 2, 4, 2), "StridedSliceOptions", "strided",
        BeginMask=0, EndMask=0, EllipsisMask=0, NewAxisMask=0, ShrinkAxisMask=1,
    )  # fmt: skip
    cut = net.move(
        "SLICE", (valued, net.ints("from", [0, 1, 2, 0]), net.ints("size", [1, 3, -1, 5])), (1, 3, 8, 5), "SliceOptions"
    )
    flat = net.move("RESHAPE", (turned, net.ints("new_shape", [1, -1])), (1, 192), "ReshapeOptions", NewShape=(1, -1))
    wide = net.move("EXPAND_DIMS", (strided, net.ints("where", 0)), (1, 4, 4, 2), "ExpandDimsOptions")
    slim = net.move("SQUEEZE", (wide,), (4, 4, 2), "SqueezeOptions", SqueezeDims=(0,))
    packed = net.move("PACK", (slim, slim), (4, 2, 4, 2), "PackOptions", ValuesCount=2, Axis=1)
    return net.finish((x,), (joined, cut, flat, packed))


def activations_int8() -> bytes:
    """logistic, tanh, relu, relu6, leaky relu, hard swish, requantise."""
    net = Net("activation functions", 17)
    x = net.act("input", (1, 4, 4, 16), 0.06, 17)
    outs = [
        net.unary("LOGISTIC", x, 1 / 256, -128),
        net.unary("TANH", x, 1 / 128, 0),
        net.unary("RELU", x, 0.04, -128),
        net.unary("RELU6", x, 0.06, 17),
        net.unary("LEAKY_RELU", x, 0.05, -9, "LeakyReluOptions", Alpha=0.2),
        net.unary("HARD_SWISH", x, 0.05, -120, "HardSwishOptions"),
        net.unary("QUANTIZE", x, 0.09, -30, "QuantizeOptions"),
    ]
    return net.finish((x,), outs)


def relu_n1_int8() -> bytes:
    """relu_n1_to_1, which only LiteRT has."""
    net = Net("relu_n1_to_1", 18)
    x = net.act("input", (1, 4, 4, 16), 0.02, 17)
    return net.finish((x,), (net.unary("RELU_N1_TO_1", x, 0.01, 3),))


def resize_int8() -> bytes:
    """resize_nearest, resize_bilinear in their three coordinate conventions."""
    net = Net("resizes", 19)
    x = net.act("input", (1, 5, 7, 3), 0.05, -3)
    outs = []
    for i, (align, half) in enumerate(((False, False), (True, False), (False, True))):
        for kind, table in (
            ("NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
            ("BILINEAR", "ResizeBilinearOptions"),
        ):
            size = net.ints(f"size_{kind}_{i}", [9 - i, 6 + 3 * i])
            outs.append(
                net.move(
                    f"RESIZE_{kind}",
                    (x, size),
                    (1, 9 - i, 6 + 3 * i, 3),
                    table,
                    f"{kind.lower()}_{i}",
                    AlignCorners=align,
                    HalfPixelCenters=half,
                )
            )
    return net.finish((x,), outs)


def borders_int8() -> bytes:
    """A float model outside: quantize, requantize, dequantize."""
    net = Net("float borders", 20)
    x = net.tensor("input", (1, 6, 6, 2), "FLOAT32")
    q = net.act("quantized", (1, 6, 6, 2), 0.02, -12)
    net.op("QUANTIZE", (x,), (q,), "QuantizeOptions")
    y = net.conv(q, 4, (3, 3), stride=(2, 2), activation=RELU)
    y = net.unary("QUANTIZE", y, net.scale[y] * 1.7, 20, "QuantizeOptions")
    out = net.tensor("output", net.tensors[y].shape, "FLOAT32")
    net.op("DEQUANTIZE", (y,), (out,), "DequantizeOptions")
    return net.finish((x,), (out,))


def argmax_int8() -> bytes:
    """argmax after a dense layer."""
    net = Net("argmax", 21)
    x = net.act("input", (1, 12), 0.04, 8)
    y = net.dense(x, 7, name="scores")
    out = net.tensor("class", (1,), "INT32")
    net.op("ARG_MAX", (y, net.ints("axis", 1)), (out,), "ArgMaxOptions", OutputType=2)
    return net.finish((x,), (out,))


def classic_uint8() -> bytes:
    """A uint8 model: conv, depthwise, add, concat that rescales, average pool, relu6, dense, softmax."""
    net = Net("uint8", 22, "UINT8")
    x = net.act("input", (1, 9, 9, 3), 0.0078125, 0)
    a = net.conv(x, 6, (3, 3), activation=RELU6, name="conv")
    b = net.depthwise(a, 1, activation=RELU, name="depthwise")
    c = net.binary("ADD", a, b, net.scale[a] * 1.5, -9, RELU, "sum")
    d = net.act("joined", (1, 9, 9, 12), net.scale[c] * 1.2, -20)
    net.op("CONCATENATION", (c, b), (d,), "ConcatenationOptions", Axis=3)
    e = net.unary("RELU6", d, net.scale[d], -20)
    f = net.pool(e, "AVERAGE_POOL_2D", (3, 3), (3, 3), VALID, name="average")
    g = net.dense(f, 5, scale=0.2, name="logits")
    return net.finish((x,), (net.softmax(g),))


def residual_int8() -> bytes:
    """A small residual classifier with dead channels and a padding of its own: what the passes shrink."""
    net = Net("residual classifier with dead channels", 23)
    x = net.act("input", (1, 12, 12, 2), 0.03, -1)
    padded = net.move("PAD", (x, net.ints("pads", [[0, 0], [1, 1], [1, 1], [0, 0]])), (1, 14, 14, 2), "PadOptions")
    stem = net.conv(padded, 8, (3, 3), stride=(2, 2), padding=VALID, activation=RELU, name="stem")
    deep = net.depthwise(stem, name="deep", activation=RELU)
    wide = net.conv(deep, 8, (1, 1), name="wide", activation=RELU)
    total = net.binary("ADD", stem, wide, net.scale[stem] * 2, -60, RELU, "sum")
    head = net.conv(total, 10, (1, 1), name="head", activation=RELU)
    mean = net.act("mean", (1, 10), net.scale[head], net.zero[head])
    net.op("MEAN", (head, net.ints("axes", [1, 2])), (mean,), "ReducerOptions", KeepDims=False)
    logits = net.dense(mean, 4, scale=0.15, per_channel=True, name="logits")
    for layer, dead in (("stem", (1, 5)), ("wide", (1, 2)), ("head", (0, 3, 7))):
        _kill(net, f"{layer}/w", dead)
    _kill(net, "deep/w", (5,))
    return net.finish((x,), (net.softmax(logits),))


def _kill(net: Net, name: str, dead: tuple[int, ...]) -> None:
    """Zero the weights of whole output channels; their biases stay."""
    tensor = next(t for t in net.tensors if t.name == name)
    data = np.frombuffer(net.buffers[tensor.buffer], np.int8).reshape(tensor.shape).copy()
    if tensor.axis == 3:
        data[..., list(dead)] = 0
    else:
        data[list(dead)] = 0
    net.buffers[tensor.buffer] = data.tobytes()


MODELS: dict[str, Callable[[], bytes]] = {
    builder.__name__: builder
    for builder in (
        conv_int8,
        depthwise_int8,
        dense_int8,
        pools_int8,
        arithmetic_int8,
        movement_int8,
        activations_int8,
        relu_n1_int8,
        resize_int8,
        borders_int8,
        argmax_int8,
        classic_uint8,
        residual_int8,
    )
}
