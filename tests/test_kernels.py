# SPDX-License-Identifier: Apache-2.0
"""Every op over shapes and quantisation parameters, byte for byte against its judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import judges
import numpy as np
import pytest
import tflite
from oracle import scaled
from tflite_build import ModelBuilder

from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite
from joulet.numerics import conv_multiplier, uint8_multiplier
from joulet.quant.bare import bare_quant_graph

SAMPLES = 4
SEEDS = range(6)


@dataclass
class Draw:
    """Random choices of one case."""

    rng: np.random.Generator

    def int(self, low: int, high: int) -> int:
        """Uniform on ``low..high``."""
        return int(self.rng.integers(low, high + 1))

    def scale(self, low: float = 0.002, high: float = 0.2) -> float:
        """Log-uniform float32."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def zero(self) -> int:
        """Any int8, the ends more often."""
        return int(self.rng.choice([-128, 127, 0, self.int(-128, 127), self.int(-128, 127)]))

    def act(self, b: ModelBuilder, name: str, shape: tuple[int, ...], **fixed: float) -> int:
        """An int8 activation of random quantisation."""
        scale = fixed.get("scale", self.scale())
        zero = int(fixed["zero"]) if "zero" in fixed else self.zero()
        return b.tensor(name, shape, scale=scale, zero=zero)


Case = Callable[[ModelBuilder, Draw], tuple[list[int], list[int]]]


def _extent(size: int, k: int, stride: int, dilation: int, same: bool) -> int:
    reach = (k - 1) * dilation + 1
    return -(-size // stride) if same else (size - reach) // stride + 1


def conv(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """CONV_2D: channels around the tile of eight, strides, dilations, groups, one or many scales."""
    groups = int(d.rng.choice([1, 1, 1, 2]))
    in_c, out_c = d.int(1, 12) * groups, d.int(1, 9) * groups
    k, stride, dilation = (d.int(1, 3), d.int(1, 3)), d.int(1, 3), int(d.rng.choice([1, 1, 2]))
    if dilation > 1:
        stride = 1
    same = bool(d.int(0, 1))
    h, w = d.int(5, 11), d.int(5, 11)
    x = d.act(b, "x", (1, h, w, in_c))
    n_scales = int(d.rng.choice([1, out_c]))
    weights = d.rng.integers(-127, 128, (out_c, *k, in_c // groups)).astype(np.int8)
    weight = b.tensor("w", weights.shape, scale=[d.scale() for _ in range(n_scales)], data=weights)
    bias = b.tensor("b", (out_c,), "INT32", data=d.rng.integers(-9000, 9000, out_c).astype(np.int32))
    y = d.act(b, "y", (1, _extent(h, k[0], stride, dilation, same), _extent(w, k[1], stride, dilation, same), out_c),
              scale=d.scale(0.02, 2.0))  # fmt: skip
    b.op("CONV_2D", (x, weight, bias), (y,), "Conv2DOptions", StrideH=stride, StrideW=stride,
         DilationHFactor=dilation, DilationWFactor=dilation, Padding=0 if same else 1,
         FusedActivationFunction=int(d.rng.choice([0, 1, 3])))  # fmt: skip
    return [x], [y]


def depthwise(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """DEPTHWISE_CONV_2D with multipliers."""
    in_c, times = d.int(1, 17), int(d.rng.choice([1, 1, 2, 3]))
    k, stride, same = (d.int(1, 5), d.int(1, 4)), d.int(1, 2), bool(d.int(0, 1))
    h, w = d.int(5, 11), d.int(5, 11)
    x = d.act(b, "x", (1, h, w, in_c))
    weights = d.rng.integers(-127, 128, (1, *k, in_c * times)).astype(np.int8)
    scales = [d.scale() for _ in range(in_c * times)]
    weight = b.tensor("w", weights.shape, scale=scales, axis=3, data=weights)
    bias = b.tensor("b", (in_c * times,), "INT32", data=d.rng.integers(-9000, 9000, in_c * times).astype(np.int32))
    shape = (1, _extent(h, k[0], stride, 1, same), _extent(w, k[1], stride, 1, same), in_c * times)
    y = d.act(b, "y", shape, scale=d.scale(0.02, 2.0))
    b.op("DEPTHWISE_CONV_2D", (x, weight, bias), (y,), "DepthwiseConv2DOptions", StrideH=stride, StrideW=stride,
         DilationHFactor=1, DilationWFactor=1, Padding=0 if same else 1, DepthMultiplier=times,
         FusedActivationFunction=int(d.rng.choice([0, 1, 3])))  # fmt: skip
    return [x], [y]


def dense(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """FULLY_CONNECTED, one scale for all weights."""
    rows, in_c, out_c = d.int(1, 10), d.int(1, 40), d.int(1, 20)
    x = d.act(b, "x", (rows, in_c))
    weights = d.rng.integers(-127, 128, (out_c, in_c)).astype(np.int8)
    scale = d.scale()
    weight = b.tensor("w", weights.shape, scale=scale, data=weights)
    values = d.rng.integers(-9000, 9000, out_c).astype(np.int32)
    bias = b.tensor("b", (out_c,), "INT32", scale=scale * b.tensors[x].scale[0], data=values)
    y = d.act(b, "y", (rows, out_c), scale=d.scale(0.02, 2.0))
    activation = int(d.rng.choice([0, 1, 3]))
    b.op("FULLY_CONNECTED", (x, weight, bias), (y,), "FullyConnectedOptions", FusedActivationFunction=activation)
    return [x], [y]


def _pool(code: str) -> Case:
    def case(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
        k, stride, same = (d.int(1, 4), d.int(1, 4)), d.int(1, 3), bool(d.int(0, 1))
        h, w, c = d.int(5, 9), d.int(5, 9), d.int(1, 20)
        grid = {"scale": d.scale(), "zero": d.zero()}
        x = d.act(b, "x", (1, h, w, c), **grid)
        y = d.act(b, "y", (1, _extent(h, k[0], stride, 1, same), _extent(w, k[1], stride, 1, same), c), **grid)
        b.op(code, (x,), (y,), "Pool2DOptions", StrideH=stride, StrideW=stride, FilterHeight=k[0], FilterWidth=k[1],
             Padding=0 if same else 1, FusedActivationFunction=int(d.rng.choice([0, 1, 3])))  # fmt: skip
        return [x], [y]

    return case


def mean(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """MEAN over every set of axes, on one grid and on two."""
    shape = (1, d.int(1, 7), d.int(1, 7), d.int(1, 9))
    axes = [(1, 2), (1,), (3,), (2, 3), (2,)][d.int(0, 4)]
    keep = bool(d.int(0, 1))
    kept = tuple(1 if a in axes else e for a, e in enumerate(shape) if keep or a not in axes)
    grid = {"scale": d.scale(), "zero": d.zero()}
    x = d.act(b, "x", shape, **grid)
    y = d.act(b, "y", kept, **(grid if d.int(0, 1) else {}))
    b.op("MEAN", (x, b.ints("axes", axes)), (y,), "ReducerOptions", KeepDims=keep)
    return [x], [y]


def _binary(code: str, table: str) -> Case:
    def case(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
        shape = (1, d.int(1, 5), d.int(1, 5), d.int(1, 9))
        other = [shape, (1, 1, 1, shape[3]), (1, shape[1], 1, 1), (1, 1, 1, 1)][d.int(0, 3)]
        x, z = d.act(b, "x", shape), d.act(b, "z", other)
        y = d.act(b, "y", shape, scale=d.scale(0.01, 0.5))
        inputs = [x, z] if d.int(0, 1) else [z, x]
        b.op(code, inputs, (y,), table, FusedActivationFunction=int(d.rng.choice([0, 1, 3])))
        return [x, z], [y]

    return case


def _unary(code: str, table: str = "", *, zero: int | None = None, scale: float | None = None, **fields: float) -> Case:
    def case(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
        x = d.act(b, "x", (1, 16, 16), scale=d.scale(0.003, 0.3))
        fixed = ({} if zero is None else {"zero": zero}) | ({} if scale is None else {"scale": scale})
        y = d.act(b, "y", (1, 16, 16), **fixed)
        drawn = {key: float(d.rng.uniform(0.01, 0.9)) if key == "Alpha" else value for key, value in fields.items()}
        b.op(code, (x,), (y,), table, **drawn)
        return [x], [y]

    return case


def relu6(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """RELU6 on one grid."""
    grid = {"scale": d.scale(), "zero": d.zero()}
    x, y = d.act(b, "x", (1, 256), **grid), d.act(b, "y", (1, 256), **grid)
    b.op("RELU6", (x,), (y,))
    return [x], [y]


def softmax(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """SOFTMAX over one and many columns."""
    shape = (d.int(1, 5), d.int(1, 40))
    x = d.act(b, "x", shape, scale=d.scale(0.005, 1.0))
    y = b.tensor("y", shape, scale=1 / 256, zero=-128)
    b.op("SOFTMAX", (x,), (y,), "SoftmaxOptions", Beta=float(d.rng.choice([1.0, 1.0, 0.5])))
    return [x], [y]


def _resize(code: str, table: str) -> Case:
    def case(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
        n_c = d.int(1, 6)
        out = (d.int(1, 13), d.int(1, 13))
        grid = {"scale": d.scale(), "zero": d.zero()}
        x = d.act(b, "x", (1, d.int(1, 9), d.int(1, 9), n_c), **grid)
        y = d.act(b, "y", (1, *out, n_c), **grid)
        mode = d.int(0, 2)
        b.op(code, (x, b.ints("size", out)), (y,), table, AlignCorners=mode == 1, HalfPixelCenters=mode == 2)
        return [x], [y]

    return case


def argmax(b: ModelBuilder, d: Draw) -> tuple[list[int], list[int]]:
    """ARG_MAX along the last axis."""
    shape = (d.int(1, 4), d.int(1, 9))
    x = d.act(b, "x", shape)
    y = b.tensor("y", shape[:1], "INT32")
    b.op("ARG_MAX", (x, b.ints("axis", 1)), (y,), "ArgMaxOptions", OutputType=tflite.TensorType.INT32)
    return [x], [y]


CASES: dict[str, Case] = {
    "conv": conv,
    "depthwise": depthwise,
    "dense": dense,
    "avgpool": _pool("AVERAGE_POOL_2D"),
    "maxpool": _pool("MAX_POOL_2D"),
    "mean": mean,
    "add": _binary("ADD", "AddOptions"),
    "sub": _binary("SUB", "SubOptions"),
    "mul": _binary("MUL", "MulOptions"),
    "relu": _unary("RELU"),
    "relu6": relu6,
    "leaky_relu": _unary("LEAKY_RELU", "LeakyReluOptions", Alpha=0.1),
    "hard_swish": _unary("HARD_SWISH", scale=0.05),
    "logistic": _unary("LOGISTIC", zero=-128, scale=1 / 256),
    "tanh": _unary("TANH", zero=0, scale=1 / 128),
    "requantize": _unary("QUANTIZE"),
    "softmax": softmax,
    "resize_nearest": _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    "resize_bilinear": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    "argmax": argmax,
}


def inputs_for(judge: judges.Judge, rng: np.random.Generator) -> list[np.ndarray]:
    """Random int8 over the whole range, the first sample counting through all of it."""
    arrays = []
    for shape, dtype in judge.inputs:
        array = rng.integers(-128, 128, (SAMPLES, *shape)).astype(dtype)
        array[0] = (np.arange(array[0].size) % 256 - 128).astype(dtype).reshape(shape)
        arrays.append(array)
    return arrays


def differing(name: str, seed: int) -> tuple[int, str]:
    """Return how many bytes differ from the judge in one drawn case, and the judge's name."""
    builder, draw = ModelBuilder(name), Draw(np.random.default_rng(seed))
    model = builder.finish(*CASES[name](builder, draw))
    try:
        judge = judges.tflm(model)
    except (RuntimeError, ValueError):
        judge = judges.litert(model)
    arrays = inputs_for(judge, draw.rng)
    engine = HostEngine(write_container(bare_quant_graph(load_tflite(model))))
    ours, theirs = engine.infer(arrays).outputs, judge.run(arrays)
    pairs = zip(ours, theirs, strict=True)
    return sum(int(np.count_nonzero(a.reshape(-1) != b.reshape(-1))) for a, b in pairs), judge.name


@pytest.mark.parametrize("name", sorted(CASES))
def test_op_equals_its_judge(name: str) -> None:
    """No byte differs from TFLM, or from LiteRT's reference kernels where TFLM refuses."""
    pytest.importorskip("tflite_micro")
    pytest.importorskip("ai_edge_litert")
    bad = {seed: count for seed in SEEDS for count, _ in [differing(name, seed)] if count}
    assert not bad, f"{name}: differing bytes by seed: {bad}"


def _sums_that_tell_the_rules_apart(in_scale: float, weight_scale: float, out_scale: float) -> np.ndarray:
    """Return the accumulators whose output depends on how the product of scales was rounded."""
    ties = (np.arange(-120, 120) + 0.5) * (out_scale / in_scale / weight_scale)
    sums = (ties.astype(np.int64)[:, None] + np.arange(-20, 21)).reshape(-1)
    rules = (conv_multiplier, uint8_multiplier)
    results = [scaled(sums, *rule(in_scale, weight_scale, out_scale)) for rule in rules]
    return sums[results[0] != results[1]]


def test_dense_layers_round_the_product_of_scales_like_their_judge() -> None:
    """Biases alone choose the accumulators, so the few that matter can all be asked."""
    pytest.importorskip("tflite_micro")
    draw = Draw(np.random.default_rng(3))
    asked = 0
    for _ in range(4):
        in_scale, weight_scale = draw.scale(), draw.scale()
        out_scale = float(np.float32(in_scale * weight_scale * 1_000_000))
        sums = _sums_that_tell_the_rules_apart(in_scale, weight_scale, out_scale).astype(np.int32)
        if len(sums) == 0:
            continue
        asked += len(sums)
        builder = ModelBuilder("dense")
        x = builder.tensor("x", (1, 1), scale=in_scale, zero=0)
        weight = builder.tensor("w", (len(sums), 1), scale=weight_scale, data=np.ones((len(sums), 1), np.int8))
        bias = builder.tensor("b", sums.shape, "INT32", scale=float(np.float32(in_scale * weight_scale)), data=sums)
        y = builder.tensor("y", (1, len(sums)), scale=out_scale, zero=0)
        builder.op("FULLY_CONNECTED", (x, weight, bias), (y,), "FullyConnectedOptions", FusedActivationFunction=0)
        model = builder.finish([x], [y])
        zeros = [np.zeros((1, 1, 1), np.int8)]
        ours = HostEngine(write_container(bare_quant_graph(load_tflite(model)))).infer(zeros).outputs[0]
        np.testing.assert_array_equal(ours.reshape(-1), judges.tflm(model).run(zeros)[0].reshape(-1))
    assert asked > 10
