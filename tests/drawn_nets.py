# SPDX-License-Identifier: Apache-2.0
"""Networks of layers drawn at random, of the sizes that microcontrollers run: what cost models are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from model_zoo import NONE, RELU, SAME, VALID, Net

_WIDTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class _DrawnNet(Net):
    """Layers whose outputs begin at 0, as behind a ReLU, but for one in four: those clamp. Weights are as training leaves them.

    One layer in sixteen has so coarse a scale of weights that its sums are not shifted right.
    """

    def weights(
        self, name: str, shape: Sequence[int], axis: int, per_channel: bool, x: int, out_scale: float
    ) -> tuple[int, np.ndarray]:
        """Add normal weights, whose greatest are at the end of the grid."""
        coarse = 1024.0 if self.rng.random() < 1 / 16 else 1.0
        index, scales = super().weights(name, shape, axis, per_channel, x, out_scale * coarse)
        normal = np.rint(self.rng.normal(0.0, 127.0 / 3.5, shape)).clip(-127, 127)
        self.buffers[self.tensors[index].buffer] = normal.astype(np.int8).tobytes()
        return index, scales

    def act(
        self,
        name: str,
        shape: Sequence[int],
        scale: float,
        zero: int = 0,
        type: str = "",
        data: np.ndarray | None = None,
    ) -> int:
        """Add an activation."""
        plain = zero if data is not None or self.rng.random() < 0.25 else -128
        return super().act(name, shape, scale, plain, type, data)


def drawn_nets(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` networks of each kind, as (name, .tflite)."""
    for index in range(count):
        for kind, draw in (("image", _image), ("windows", _windows), ("dense", _dense), ("plain", _plain)):
            rng = np.random.default_rng([seed, index, len(kind)])
            yield f"{kind}_{index}", draw(rng, seed + index)


def border_nets(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` networks of each op at the borders of a model: float32 to int8, back, and the index of the largest."""
    for index in range(count):
        for kind, draw in (("quantize", _quantize), ("dequantize", _dequantize), ("argmax", _argmax)):
            rng = np.random.default_rng([seed, index, len(kind)])
            yield f"{kind}_{index}", draw(rng, seed + index)


def _quantize(rng: np.random.Generator, seed: int) -> bytes:
    net = Net("drawn: into int8", seed)
    shape = (1, int(rng.integers(1, 3000)))
    x, q = net.tensor("x", shape, "FLOAT32"), net.act("q", shape, 0.02, -12)
    net.op("QUANTIZE", (x,), (q,), "QuantizeOptions")
    return net.finish((x,), (q,))


def _dequantize(rng: np.random.Generator, seed: int) -> bytes:
    net = Net("drawn: out of int8", seed)
    shape = (1, int(rng.integers(1, 3000)))
    q, y = net.act("q", shape, 0.02, -12), net.tensor("y", shape, "FLOAT32")
    net.op("DEQUANTIZE", (q,), (y,), "DequantizeOptions")
    return net.finish((q,), (y,))


def _argmax(rng: np.random.Generator, seed: int) -> bytes:
    net = Net("drawn: the largest", seed)
    rows = int(rng.integers(1, 100))
    scores, out = net.act("scores", (rows, int(rng.integers(2, 100))), 0.04, 8), net.tensor("class", (rows,), "INT32")
    net.op("ARG_MAX", (scores, net.ints("axis", 1)), (out,), "ArgMaxOptions", OutputType=2)
    return net.finish((scores,), (out,))


def _activation(rng: np.random.Generator) -> int:
    """Return RELU, and one time in four none: as before a sum of two branches."""
    return RELU if rng.random() < 0.75 else NONE


def _channels(rng: np.random.Generator, most: int = 128) -> int:
    """Return a width: mostly a usual one, else any."""
    if rng.random() < 0.8:
        return int(rng.choice([w for w in _WIDTHS if w <= most]))
    return int(rng.integers(1, most + 1))


def _step(rng: np.random.Generator) -> tuple[int, int]:
    stride = 1 if rng.random() < 0.7 else 2
    return stride, stride


def _kernel(rng: np.random.Generator, size: Sequence[int]) -> tuple[int, int]:
    kinds = ((3, 3), (3, 3), (5, 5), (3, 1), (1, 3), (2, 2), (4, 10), (1, 5))
    height, width = kinds[int(rng.integers(len(kinds)))]
    return min(height, size[1]), min(width, size[2])


def _image(rng: np.random.Generator, seed: int) -> bytes:
    net = _DrawnNet("drawn: convolutions", seed)
    side = int(rng.integers(3, 25))
    x = net.act("x", (1, side, int(rng.integers(max(1, side - 4), side + 5)), _channels(rng, 32)), 0.03, -128)
    start = x
    for layer in range(5):
        shape = net.tensors[x].shape
        pointwise = rng.random() < 0.5
        most = max(4, min(128, 60_000 // (shape[1] * shape[2])))
        kernel = (1, 1) if pointwise else _kernel(rng, shape)
        x = net.conv(
            x, _channels(rng, most), kernel, stride=_step(rng) if layer else (1, 1), activation=_activation(rng),
            padding=SAME if rng.random() < 0.8 else VALID, name=f"layer{layer}",
        )  # fmt: skip
        if min(net.tensors[x].shape[1:3]) < 3:
            break
    return net.finish((start,), (x,))


def _windows(rng: np.random.Generator, seed: int) -> bytes:
    net = _DrawnNet("drawn: depthwise convolutions", seed)
    x = net.act("x", (1, int(rng.integers(3, 33)), int(rng.integers(3, 33)), _channels(rng, 96)), 0.03, -128)
    start = x
    for layer in range(5):
        kernel = (3, 3) if rng.random() < 0.6 else _kernel(rng, net.tensors[x].shape)
        x = net.depthwise(
            x, 1 if rng.random() < 0.9 or net.tensors[x].shape[3] > 48 else 2, kernel, stride=_step(rng),
            activation=_activation(rng), padding=SAME if rng.random() < 0.8 else VALID, name=f"layer{layer}",
        )  # fmt: skip
        if min(net.tensors[x].shape[1:3]) < 3:
            break
    return net.finish((start,), (x,))


def _dense(rng: np.random.Generator, seed: int) -> bytes:
    net = _DrawnNet("drawn: fully connected", seed)
    x = net.act("x", (1, int(rng.integers(4, 700))), 0.03, -128)
    start = x
    for layer in range(5):
        x = net.dense(
            x, _channels(rng) if rng.random() < 0.7 else int(rng.integers(1, 300)),
            activation=RELU if rng.random() < 0.8 else NONE, per_channel=rng.random() < 0.3, name=f"layer{layer}",
        )  # fmt: skip
    return net.finish((start,), (x,))


def _plain(rng: np.random.Generator, seed: int) -> bytes:
    """Ops without weights that networks have between the others."""
    net = _DrawnNet("drawn: pools, sums, softmax", seed)
    x = net.act("x", (1, int(rng.integers(4, 21)), int(rng.integers(4, 21)), _channels(rng, 48)), 0.03, -128)
    y = net.conv(x, net.tensors[x].shape[3], (1, 1), activation=RELU, name="branch")
    z = net.binary("ADD", x, y, 0.06, activation=RELU)
    pooled = net.pool(z, "MAX_POOL_2D", (2, 2), (2, 2), VALID)
    height, width, channels = net.tensors[pooled].shape[1:]
    padded = net.move(
        "PAD",
        (pooled, net.ints("pads", [[0, 0], [1, 1], [1, 1], [0, 0]])),
        (1, height + 2, width + 2, channels),
        "PadOptions",
    )
    whole = (height + 2, width + 2) if rng.random() < 0.6 else (2, 2)
    averaged = net.pool(padded, "AVERAGE_POOL_2D", whole, whole, VALID)
    if rng.random() < 0.5:
        mean = net.act("mean", (1, channels), 0.03, -128)
        net.op("MEAN", (z, net.ints("axes", [1, 2])), (mean,), "ReducerOptions", KeepDims=False)
        logits = net.dense(mean, int(rng.integers(2, 40)), scale=0.1, name="logits")
        return net.finish((x,), (averaged, net.softmax(logits)))
    logits = net.dense(averaged, int(rng.integers(2, 40)), scale=0.1, name="logits")
    return net.finish((x,), (net.softmax(logits),))
