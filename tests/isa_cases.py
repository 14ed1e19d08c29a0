# SPDX-License-Identifier: Apache-2.0
"""Drawn models of one op each, at the edges of what kernels of an instruction set compute at once."""

from __future__ import annotations

import numpy as np
from tflite_build import ModelBuilder

from joulet.container.write import write_container
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph, weighted_ops

# one less, one more and twice what is computed at once: 16 channels, 4, 6 or 8 pixels of strips and runs of 32
CHANNELS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80)
PIXELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 23, 24, 25, 26, 31, 32, 33, 65)
PATHS = ("w8", "w4")


class Cases:
    """Models drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = ModelBuilder(f"case_{seed}")

    def pick(self, values: tuple[int, ...]) -> int:
        """One of ``values``."""
        return int(self.rng.choice(values))

    def scale(self, low: float, high: float) -> float:
        """Log-uniform float32."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def activation(self, name: str, shape: tuple[int, ...], low: float = 0.01, high: float = 0.1) -> int:
        """An int8 activation; zero points at the ends more often."""
        zero = int(self.rng.choice([-128, 127, 0, int(self.rng.integers(-128, 128))]))
        return self.builder.tensor(name, shape, scale=self.scale(low, high), zero=zero)

    def weights(self, shape: tuple[int, ...], axis: int, one_scale: bool) -> int:
        """Random weights; some channels all at an end, in a third of the cases one of them at -128, which quantisers avoid."""
        values = self.rng.integers(-127, 128, shape).astype(np.int8)
        channels = np.moveaxis(values, axis, 0)
        channels[self.rng.random(len(channels)) < 0.1] = 127
        channels[self.rng.random(len(channels)) < 0.1] = -127
        if self.rng.random() < 0.3:
            channels[self.rng.integers(len(channels))] = -128
        count = 1 if one_scale else shape[axis]
        scales = [self.scale(1e-6, 2.0) if self.rng.random() < 0.2 else self.scale(0.002, 0.02) for _ in range(count)]
        return self.builder.tensor("w", shape, scale=scales, axis=axis, data=values)

    def bias(self, channels: int, taps: int) -> int:
        """Biases; in a third of the layers, which then have no nested weights, some are as large as the accumulator allows."""
        values = self.rng.integers(-9000, 9000, channels)
        most = 2**31 - 1 - 128 * 255 * taps
        extreme = self.rng.random(channels) < (0.2 if self.rng.random() < 0.3 else 0.0)
        values[extreme] = self.rng.choice([-most, most, most // 3, -most // 5], int(extreme.sum()))
        return self.builder.tensor("b", (channels,), "INT32", data=values.astype(np.int32))

    def finish(self, inputs: list[int], outputs: list[int], paths: tuple[str, ...] = PATHS) -> bytes:
        """Return the container, with 8 and 4 bits where there are weights."""
        model = self.builder.finish(inputs, outputs)
        graph = load_tflite(model)
        return write_container(bare_quant_graph(graph, paths if weighted_ops(graph) else ("w8",)))


def _window(c: Cases, most: int) -> tuple[tuple[int, int], tuple[int, int], bool]:
    k = (c.pick(tuple(range(1, most + 1))), c.pick(tuple(range(1, most + 1))))
    if c.rng.random() < 0.3:
        k = (3, 3)
    return k, (c.pick((1, 1, 2, 3)), c.pick((1, 1, 2, 3))), bool(c.rng.random() < 0.5)


def _inner(out: int, k: int, stride: int, same: bool) -> int:
    """Extent of an input that gives ``out``."""
    return out * stride if same else (out - 1) * stride + k


def conv(seed: int) -> bytes:
    """CONV_2D."""
    c = Cases(seed)
    k, stride, same = _window(c, 4)
    out_h, out_w = c.pick((1, 2, 3, 5)), c.pick(PIXELS)
    in_c, out_c = c.pick(CHANNELS[:13]), c.pick(CHANNELS)
    x = c.activation("x", (1, _inner(out_h, k[0], stride[0], same), _inner(out_w, k[1], stride[1], same), in_c))
    w = c.weights((out_c, *k, in_c), 0, one_scale=bool(c.rng.random() < 0.3))
    b = c.bias(out_c, k[0] * k[1] * in_c)
    y = c.activation("y", (1, out_h, out_w, out_c), 0.02, 4.0)
    c.builder.op("CONV_2D", (x, w, b), (y,), "Conv2DOptions", StrideH=stride[0], StrideW=stride[1], DilationHFactor=1,
                 DilationWFactor=1, Padding=0 if same else 1, FusedActivationFunction=c.pick((0, 1, 3)))  # fmt: skip
    return c.finish([x], [y])


def depthwise(seed: int) -> bytes:
    """DEPTHWISE_CONV_2D."""
    c = Cases(seed)
    k, stride, same = _window(c, 5)
    out_h, out_w, channels = c.pick((1, 2, 3, 5)), c.pick(PIXELS), c.pick(CHANNELS)
    x = c.activation("x", (1, _inner(out_h, k[0], stride[0], same), _inner(out_w, k[1], stride[1], same), channels))
    w = c.weights((1, *k, channels), 3, one_scale=False)
    b = c.bias(channels, k[0] * k[1])
    y = c.activation("y", (1, out_h, out_w, channels), 0.02, 4.0)
    c.builder.op("DEPTHWISE_CONV_2D", (x, w, b), (y,), "DepthwiseConv2DOptions", StrideH=stride[0], StrideW=stride[1],
                 DilationHFactor=1, DilationWFactor=1, Padding=0 if same else 1, DepthMultiplier=1,
                 FusedActivationFunction=c.pick((0, 1, 3)))  # fmt: skip
    return c.finish([x], [y])


def dense(seed: int) -> bytes:
    """FULLY_CONNECTED, one row of x or several."""
    c = Cases(seed)
    rows, in_c, out_c = (
        c.pick((1, 1, 1, 2, 7, 9)),
        c.pick((*CHANNELS, 127, 128, 200, 640)),
        c.pick((*CHANNELS, 128, 130)),
    )
    x = c.activation("x", (rows, in_c))
    w = c.weights((out_c, in_c), 0, one_scale=True)
    b = c.bias(out_c, in_c)
    y = c.activation("y", (rows, out_c), 0.02, 4.0)
    activation = c.pick((0, 1, 3))
    c.builder.op("FULLY_CONNECTED", (x, w, b), (y,), "FullyConnectedOptions", FusedActivationFunction=activation)
    return c.finish([x], [y])


def add(seed: int) -> bytes:
    """ADD or SUB of equal shapes, or of one that is broadcast."""
    c = Cases(seed)
    code = str(c.rng.choice(["ADD", "ADD", "SUB"]))
    shape = (1, c.pick((1, 2, 3)), c.pick(PIXELS), c.pick(CHANNELS))
    other = shape if c.rng.random() < 0.8 else (1, 1, 1, shape[3])
    a, b = c.activation("a", shape), c.activation("b", other, 0.001, 1.0)
    y = c.activation("y", shape, 0.01, 1.0)
    c.builder.op(code, (a, b), (y,), f"{code.title()}Options", FusedActivationFunction=c.pick((0, 1, 3)))
    return c.finish([a, b], [y])


def _pool(seed: int, code: str) -> bytes:
    c = Cases(seed)
    k, stride, same = _window(c, 5)
    out_h, out_w, channels = c.pick((1, 2, 3)), c.pick(PIXELS[:8]), c.pick(CHANNELS)
    if c.rng.random() < 0.3:  # the whole image
        k, stride, same, out_h, out_w = (c.pick(PIXELS), c.pick(PIXELS)), (1, 1), False, 1, 1
    shape = (1, _inner(out_h, k[0], stride[0], same), _inner(out_w, k[1], stride[1], same), channels)
    x = c.activation("x", shape)
    grid = c.builder.tensors[x]
    y = c.builder.tensor("y", (1, out_h, out_w, channels), scale=grid.scale[0], zero=grid.zero_point[0])
    c.builder.op(code, (x,), (y,), "Pool2DOptions", FilterHeight=k[0], FilterWidth=k[1], StrideH=stride[0], StrideW=stride[1],
                 Padding=0 if same else 1, FusedActivationFunction=c.pick((0, 1, 3)))  # fmt: skip
    return c.finish([x], [y])


def avg_pool(seed: int) -> bytes:
    """AVERAGE_POOL_2D."""
    return _pool(seed, "AVERAGE_POOL_2D")


def max_pool(seed: int) -> bytes:
    """MAX_POOL_2D."""
    return _pool(seed, "MAX_POOL_2D")


CASES = {"conv": conv, "depthwise": depthwise, "dense": dense, "add": add, "avg_pool": avg_pool, "max_pool": max_pool}
