# SPDX-License-Identifier: Apache-2.0
"""A two-exit integer network small enough to read in a hexdump. The golden container of format 1 was made from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulet.ir import (
    Activation,
    Conv,
    Dense,
    DType,
    Exit,
    ExitOrigin,
    Graph,
    Op,
    OpKind,
    Pool,
    Quant,
    QuantGraph,
    Reshape,
    Softmax,
    Tensor,
)
from joulet.quant.bare import bare_quant_graph
from joulet.records import BoardCosts

CLASSES = 3
_SCALE = float(np.float32(0.05))


def _activation(name: str, *shape: int, scale: float = _SCALE, zero_point: int = 3) -> Tensor:
    return Tensor(name=name, shape=shape, dtype=DType.S8, quant=Quant(scale=(scale,), zero_point=zero_point))


def _weights(name: str, seed: int, *shape: int, axis: int = 0) -> Tensor:
    data = ((np.arange(np.prod(shape), dtype=np.int64) * (2 * seed + 37) + 11 * seed) % 251 - 125).astype(np.int8)
    scales = tuple(float(np.float32(0.004 + 0.001 * channel)) for channel in range(shape[axis]))
    return Tensor(
        name=name, shape=shape, dtype=DType.S8, quant=Quant(scale=scales, axis=axis), data=data.reshape(shape)
    )


def _bias(name: str, *values: int) -> Tensor:
    return Tensor(name=name, shape=(len(values),), dtype=DType.S32, data=np.array(values, np.int32))


def tiny_graph() -> Graph:
    """conv 3x3 relu -> [exit 0: max pool, fc, softmax] -> dwconv -> average pool -> fc -> softmax."""
    probability = float(np.float32(1 / 256))
    tensors = (
        _activation("image", 1, 4, 4, 2, zero_point=-1),
        _weights("conv/w", 1, 4, 3, 3, 2),
        _bias("conv/b", 10, -20, 30, 0),
        _activation("conv", 1, 4, 4, 4, zero_point=-128),
        _activation("early/pool", 1, 1, 1, 4, zero_point=-128),
        _activation("early/flat", 1, 4, zero_point=-128),
        _weights("early/w", 2, CLASSES, 4),
        _bias("early/b", 5, -5, 0),
        _activation("early/logits", 1, CLASSES, scale=float(np.float32(0.02))),
        _activation("early/probabilities", 1, CLASSES, scale=probability, zero_point=-128),
        _weights("depthwise/w", 3, 1, 3, 3, 4, axis=3),
        _activation("depthwise", 1, 2, 2, 4),
        _activation("pool", 1, 1, 1, 4),
        _activation("flat", 1, 4),
        _weights("fc/w", 4, CLASSES, 4),
        _bias("fc/b", -7, 7, 1),
        _activation("logits", 1, CLASSES, scale=float(np.float32(0.1))),
        _activation("probabilities", 1, CLASSES, scale=probability, zero_point=-128),
    )
    conv = Conv(pad=(1, 1), activation=Activation.RELU)
    depthwise = Conv(stride=(2, 2), pad=(1, 1))
    early = {"exit": 0}
    ops = (
        Op(kind=OpKind.CONV2D, name="conv", inputs=(0, 1, 2), outputs=(3,), attrs=conv),
        Op(kind=OpKind.DEPTHWISE_CONV2D, name="depthwise", inputs=(3, 10), outputs=(11,), attrs=depthwise),
        Op(kind=OpKind.AVG_POOL2D, name="pool", inputs=(11,), outputs=(12,), attrs=Pool(kernel=(2, 2), stride=(1, 1))),
        Op(kind=OpKind.RESHAPE, name="flat", inputs=(12,), outputs=(13,), attrs=Reshape()),
        Op(kind=OpKind.FULLY_CONNECTED, name="fc", inputs=(13, 14, 15), outputs=(16,), attrs=Dense()),
        Op(kind=OpKind.SOFTMAX, name="softmax", inputs=(16,), outputs=(17,), attrs=Softmax()),
        Op(
            kind=OpKind.MAX_POOL2D,
            name="early/pool",
            inputs=(3,),
            outputs=(4,),
            attrs=Pool(kernel=(4, 4), stride=(1, 1)),
            **early,
        ),
        Op(kind=OpKind.RESHAPE, name="early/flat", inputs=(4,), outputs=(5,), attrs=Reshape(), **early),
        Op(kind=OpKind.FULLY_CONNECTED, name="early/fc", inputs=(5, 6, 7), outputs=(8,), attrs=Dense(), **early),
        Op(kind=OpKind.SOFTMAX, name="early/softmax", inputs=(8,), outputs=(9,), attrs=Softmax(), **early),
    )
    exits = (
        Exit(name="early", origin=ExitOrigin.ATTACHED, logits=8, output=9, n_classes=CLASSES),
        Exit(name="final", origin=ExitOrigin.IMPORTED, logits=16, output=17, n_classes=CLASSES),
    )
    return Graph(name="tiny", tensors=tensors, ops=ops, inputs=(0,), outputs=(17,), exits=exits)


def tiny_quant_graph(precisions: tuple[str, ...] = ("w8", "w4")) -> QuantGraph:
    """The tiny network with constant paths and one that switches from w4 to w8 after the early exit."""
    bare = bare_quant_graph(tiny_graph(), precisions)
    paths = list(bare.paths)
    if precisions[:2] == ("w8", "w4"):
        rising = tuple(min(32767, 11000 + 700 * step) for step in range(32))
        accuracy = (24000, 30000)
        paths = [replace(p, confidence_q15=(rising, rising), accuracy_q15=accuracy) for p in bare.paths]
        paths.append(replace(paths[0], name="w4>w8@0", precisions=(1, 0)))
    return replace(bare, paths=tuple(paths))


def tiny_board(n_precisions: int, n_ops: int) -> BoardCosts:
    """A cost table with a different number in every cell."""
    cycles = np.arange(1, n_precisions * n_ops + 1, dtype=np.uint32).reshape(n_precisions, n_ops) * 1000
    return BoardCosts(name="bench", clock_hz=120_000_000, energy_pj_per_cycle=110, cycles=cycles)


def tiny_inputs(samples: int = 8) -> np.ndarray:
    """Return images ``(samples, 4, 4, 2)`` s8."""
    return np.random.default_rng(2).integers(-128, 128, (samples, 4, 4, 2)).astype(np.int8)
