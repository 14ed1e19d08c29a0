# SPDX-License-Identifier: Apache-2.0
"""One-operator models with random shapes, attributes and quantisation, for differential tests against the judges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from model_zoo import VALID, Net

Borders = tuple[tuple[int, ...], tuple[int, ...]]
Maker = Callable[[Net, np.random.Generator], Borders]


def _int(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _quant(rng: np.random.Generator) -> tuple[float, int]:
    return float(np.float32(10 ** rng.uniform(-2.5, -0.5))), _int(rng, -128, 127)


def _image(net: Net, rng: np.random.Generator, most: int = 9) -> int:
    return net.act("x", (1, _int(rng, 1, most), _int(rng, 1, most), _int(rng, 1, 9)), *_quant(rng))


def _values(net: Net, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    unsigned = net.type == "UINT8"
    return rng.integers(0, 256, shape).astype(np.uint8) if unsigned else rng.integers(-128, 128, shape).astype(np.int8)


def _kernel(
    rng: np.random.Generator, size: tuple[int, ...], dilation: tuple[int, int], padding: int
) -> tuple[int, int]:
    kernel = [_int(rng, 1, 4), _int(rng, 1, 4)]
    if padding == VALID:
        kernel = [min(k, (s - 1) // d + 1) for k, s, d in zip(kernel, size[1:3], dilation, strict=True)]
    return kernel[0], kernel[1]


def conv(net: Net, rng: np.random.Generator) -> Borders:
    """conv2d, sometimes dilated or grouped."""
    x = _image(net, rng)
    size = net.tensors[x].shape
    padding, dilation = _int(rng, 0, 1), (_int(rng, 1, 2), _int(rng, 1, 2))
    stride = (1, 1) if max(dilation) > 1 else (_int(rng, 1, 3), _int(rng, 1, 3))
    divisors = [c for c in range(1, size[3] + 1) if size[3] % c == 0]
    groups = divisors[_int(rng, 0, len(divisors) - 1)] if net.type == "INT8" and rng.random() < 0.3 else 1
    y = net.conv(
        x, groups * _int(rng, 1, 4), _kernel(rng, size, dilation, padding), stride=stride, dilation=dilation,
        padding=padding, activation=_int(rng, 0, 3), groups=groups, per_channel=rng.random() < 0.7,
        bias=net.type == "UINT8" or rng.random() < 0.8,
    )  # fmt: skip
    return (x,), (y,)


def depthwise(net: Net, rng: np.random.Generator) -> Borders:
    """depthwise_conv2d with a multiplier."""
    x = _image(net, rng)
    padding, dilation = _int(rng, 0, 1), (1, 1) if rng.random() < 0.7 else (_int(rng, 1, 2), _int(rng, 1, 2))
    stride = (1, 1) if max(dilation) > 1 else (_int(rng, 1, 3),) * 2
    y = net.depthwise(
        x, _int(rng, 1, 4), _kernel(rng, net.tensors[x].shape, dilation, padding), stride=stride, dilation=dilation,
        padding=padding, activation=_int(rng, 0, 3), per_channel=rng.random() < 0.7,
    )  # fmt: skip
    return (x,), (y,)


def dense(net: Net, rng: np.random.Generator) -> Borders:
    """fully_connected over one to three rows."""
    x = net.act("x", (_int(rng, 1, 3), _int(rng, 1, 60)), *_quant(rng))
    y = net.dense(
        x, _int(rng, 1, 20), activation=_int(rng, 0, 3), bias=rng.random() < 0.8, per_channel=rng.random() < 0.4,
        scale=_quant(rng)[0],
    )  # fmt: skip
    return (x,), (y,)


def _pool(net: Net, rng: np.random.Generator, code: str) -> Borders:
    x = _image(net, rng)
    padding = _int(rng, 0, 1)
    kernel = _kernel(rng, net.tensors[x].shape, (1, 1), padding)
    y = net.pool(x, code, kernel, (_int(rng, 1, 3), _int(rng, 1, 3)), padding, _int(rng, 0, 3))
    return (x,), (y,)


def avg_pool(net: Net, rng: np.random.Generator) -> Borders:
    """avg_pool2d."""
    return _pool(net, rng, "AVERAGE_POOL_2D")


def max_pool(net: Net, rng: np.random.Generator) -> Borders:
    """max_pool2d."""
    return _pool(net, rng, "MAX_POOL_2D")


def mean(net: Net, rng: np.random.Generator) -> Borders:
    """mean over various axes, with and without a change of scale."""
    x = _image(net, rng)
    choices = ([1, 2], [2, 1], [1], [2], [3], [1, 2, 3], [2, 3], [-1])
    axes, keep = choices[_int(rng, 0, 7)], bool(rng.random() < 0.5)
    reduced = {a % 4 for a in axes}
    shape = [1 if i in reduced else s for i, s in enumerate(net.tensors[x].shape) if keep or i not in reduced]
    scale, zero = (net.scale[x], net.zero[x]) if rng.random() < 0.3 else _quant(rng)
    y = net.act("y", shape, scale, zero)
    net.op("MEAN", (x, net.ints("axes", axes)), (y,), "ReducerOptions", KeepDims=keep)
    return (x,), (y,)


def _binary(net: Net, rng: np.random.Generator, code: str) -> Borders:
    shape = (1, _int(rng, 1, 5), _int(rng, 1, 5), _int(rng, 1, 9))
    a = net.act("a", shape, *_quant(rng))
    other = (shape, shape[3:], (1,), (1, 1, 1, shape[3]), (1, shape[1], 1, 1))[_int(rng, 0, 4)]
    constant = rng.random() < 0.5
    b = net.act("b", other, *_quant(rng), data=_values(net, rng, other) if constant else None)
    scale = _quant(rng)[0]
    if code == "MUL":
        scale = float(np.float32(100 * net.scale[a] * net.scale[b]))
    ins = (a, b) if rng.random() < 0.5 else (b, a)
    y = net.binary(code, *ins, scale, _int(rng, -128, 127), _int(rng, 0, 3))
    return ((a,) if constant else (a, b)), (y,)


def add(net: Net, rng: np.random.Generator) -> Borders:
    """add."""
    return _binary(net, rng, "ADD")


def sub(net: Net, rng: np.random.Generator) -> Borders:
    """sub."""
    return _binary(net, rng, "SUB")


def mul(net: Net, rng: np.random.Generator) -> Borders:
    """mul."""
    return _binary(net, rng, "MUL")


def softmax(net: Net, rng: np.random.Generator) -> Borders:
    """softmax."""
    scale = float(np.float32(10 ** rng.uniform(-3, 0.3)))
    x = net.act("x", (_int(rng, 1, 3), _int(rng, 2, 40)), scale, _int(rng, -128, 127))
    return (x,), (net.softmax(x, (1.0, 0.5, 2.0)[_int(rng, 0, 2)]),)


def unary(net: Net, rng: np.random.Generator) -> Borders:
    """Activation functions and requantise."""
    x = _image(net, rng, 6)
    code = ("LOGISTIC", "TANH", "RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "QUANTIZE")[_int(rng, 0, 6)]
    scale, zero = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(code, _quant(rng))
    if code == "LEAKY_RELU":
        alpha = (0.01, 0.2, 0.5, 1.5)[_int(rng, 0, 3)]
        return (x,), (net.unary(code, x, scale, zero, "LeakyReluOptions", Alpha=alpha),)
    table = {"HARD_SWISH": "HardSwishOptions", "QUANTIZE": "QuantizeOptions"}.get(code, "")
    return (x,), (net.unary(code, x, scale, zero, table),)


def _resize(net: Net, rng: np.random.Generator, code: str, table: str) -> Borders:
    x = _image(net, rng)
    height, width, mode = _int(rng, 1, 12), _int(rng, 1, 12), _int(rng, 0, 2)
    y = net.move(
        code, (x, net.ints("size", [height, width])), (1, height, width, net.tensors[x].shape[3]), table, "y",
        AlignCorners=mode == 1, HalfPixelCenters=mode == 2,
    )  # fmt: skip
    return (x,), (y,)


def resize_nearest(net: Net, rng: np.random.Generator) -> Borders:
    """resize_nearest."""
    return _resize(net, rng, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")


def resize_bilinear(net: Net, rng: np.random.Generator) -> Borders:
    """resize_bilinear."""
    return _resize(net, rng, "RESIZE_BILINEAR", "ResizeBilinearOptions")


def argmax(net: Net, rng: np.random.Generator) -> Borders:
    """argmax over any axis."""
    x = _image(net, rng, 5)
    shape, axis = net.tensors[x].shape, _int(rng, 0, 3)
    y = net.tensor("y", shape[:axis] + shape[axis + 1 :], "INT32")
    given = axis - 4 if rng.random() < 0.3 else axis
    net.op("ARG_MAX", (x, net.ints("axis", given)), (y,), "ArgMaxOptions", OutputType=2)
    return (x,), (y,)


def transpose(net: Net, rng: np.random.Generator) -> Borders:
    """transpose of two to five dimensions."""
    shape = tuple(_int(rng, 1, 5) for _ in range(_int(rng, 2, 5)))
    x, perm = net.act("x", shape, *_quant(rng)), rng.permutation(len(shape)).tolist()
    return (x,), (net.move("TRANSPOSE", (x, net.ints("perm", perm)), [shape[i] for i in perm], "TransposeOptions"),)


def pad(net: Net, rng: np.random.Generator) -> Borders:
    """pad and padv2."""
    shape, amounts = tuple(_int(rng, 1, 5) for _ in range(4)), rng.integers(0, 4, (4, 2)).tolist()
    x = net.act("x", shape, *_quant(rng))
    out = [s + sum(pair) for s, pair in zip(shape, amounts, strict=True)]
    if rng.random() < 0.5:
        return (x,), (net.move("PAD", (x, net.ints("pads", amounts)), out, "PadOptions"),)
    value = net.act("value", (1,), net.scale[x], net.zero[x], data=_values(net, rng, (1,)))
    return (x,), (net.move("PADV2", (x, net.ints("pads", amounts), value), out, "PadV2Options"),)


def concat(net: Net, rng: np.random.Generator) -> Borders:
    """concat; uint8 parts come in scales of their own."""
    axis, shape, quant = _int(rng, 0, 3), [_int(rng, 1, 5) for _ in range(4)], _quant(rng)
    parts = []
    for i in range(_int(rng, 2, 4)):
        shape[axis] = _int(rng, 1, 4)
        own = net.type == "UINT8" and rng.random() < 0.6
        parts.append(net.act(f"x{i}", shape, *(_quant(rng) if own else quant)))
    shape[axis] = sum(net.tensors[p].shape[axis] for p in parts)
    given = axis - 4 if rng.random() < 0.5 else axis
    return tuple(parts), (net.move("CONCATENATION", parts, shape, "ConcatenationOptions", Axis=given),)


def strided_slice(net: Net, rng: np.random.Generator) -> Borders:
    """strided_slice with negative strides, masks and dropped dimensions."""
    shape = tuple(_int(rng, 1, 7) for _ in range(_int(rng, 1, 4)))
    x = net.act("x", shape, *_quant(rng))
    rows: list[tuple[int, int, int]] = []
    out, masks = [], {"BeginMask": 0, "EndMask": 0, "ShrinkAxisMask": 0}
    for i, size in enumerate(shape):
        if rng.random() < 0.2 and len(shape) > 1:
            at = _int(rng, -size, size - 1)
            rows.append((at, at + 1, 1))
            masks["ShrinkAxisMask"] |= 1 << i
            continue
        span: range = range(0)
        while not span:
            stride = (1, 2, -1, 3)[_int(rng, 0, 3)]
            begin, end = _int(rng, -size, size - 1), _int(rng, -size - 1, size)
            open_begin, open_end = bool(rng.random() < 0.2), bool(rng.random() < 0.2)
            span = range(size)[slice(None if open_begin else begin, None if open_end else end, stride)]
        rows.append((begin, end, stride))
        out.append(len(span))
        masks["BeginMask"] |= open_begin << i
        masks["EndMask"] |= open_end << i
    spans = [net.ints(name, [row[k] for row in rows]) for k, name in enumerate(("begin", "end", "stride"))]
    y = net.move("STRIDED_SLICE", (x, *spans), out, "StridedSliceOptions", EllipsisMask=0, NewAxisMask=0, **masks)
    return (x,), (y,)


OPS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        conv, depthwise, dense, avg_pool, max_pool, mean, add, sub, mul, softmax, unary, resize_nearest,
        resize_bilinear, argmax, transpose, pad, concat, strided_slice,
    )
}  # fmt: skip


def model(name: str, seed: int, type: str = "INT8") -> bytes:
    """Return the one-operator model of ``name`` and ``seed``."""
    net = Net(f"{name} {seed}", seed, type)
    return net.finish(*OPS[name](net, np.random.default_rng(seed)))
