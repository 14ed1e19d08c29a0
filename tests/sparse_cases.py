# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose weights have absent blocks, and the plan part that skips them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from isa_cases import Cases

from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES
from joulet.container.needs import SPARSE, Copies, isa_needs, wanted_copies
from joulet.container.read import Container
from joulet.container.sparse import sparse_copies

ROWS = 2  # of a block


def without_blocks(rng: np.random.Generator, weights: np.ndarray, absent: float) -> np.ndarray:
    """Return weights ``(channels, ...)`` of which a share of blocks of two by four, and the first, is 0."""
    blocks = weights.reshape(len(weights) // ROWS, ROWS, -1, 4).copy()
    blocks[0, :, 0] = 0
    blocks[np.broadcast_to((rng.random((blocks.shape[0], 1, blocks.shape[2], 1)) < absent), blocks.shape)] = 0
    return blocks.reshape(weights.shape)


def conv(seed: int, *, absent: float, out: tuple[int, int], kernel: tuple[int, int], channels: tuple[int, int],
         stride: int = 1, same: bool = True, act: int = 1, quick: bool = True, zero: int | None = None) -> bytes:  # fmt: skip
    """Return a container of one convolution at 8 bits: ``out`` (h, w), ``channels`` (in, out); ``quick``: ordinary scales;
    ``zero``: zero point of the output, any without.
    """
    c = Cases(seed)
    inner = [o * stride if same else (o - 1) * stride + k for o, k in zip(out, kernel, strict=True)]
    x = c.activation("x", (1, *inner, channels[0]))
    values = np.rint(c.rng.normal(0.0, 36.0, (channels[1], *kernel, channels[0]))).clip(-126, 127).astype(np.int8)
    values = without_blocks(c.rng, values, absent)
    scales = [c.scale(0.002, 0.02) for _ in range(channels[1])]
    w = c.builder.tensor("w", values.shape, scale=scales, axis=0, data=values)
    bias = c.rng.integers(-9000, 9000, channels[1])
    if not quick:
        bias[-1] = 2**30
    b = c.builder.tensor("b", (channels[1],), "INT32", data=bias.astype(np.int32))
    y = c.activation("y", (1, *out, channels[1]), 0.5, 4.0)
    if zero is not None:
        y = c.builder.tensor("y_at", (1, *out, channels[1]), scale=1.0, zero=zero)
    c.builder.op("CONV_2D", (x, w, b), (y,), "Conv2DOptions", StrideH=stride, StrideW=stride, DilationHFactor=1,
                 DilationWFactor=1, Padding=0 if same else 1, FusedActivationFunction=act)  # fmt: skip
    return c.finish([x], [y], ("w8",))


def drawn_convs(seed: int, count: int) -> Iterator[bytes]:
    """Yield ``count`` containers of one convolution each, of the sizes that microcontrollers run."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        kernel = (1, 1) if index % 2 else ((3, 3), (3, 3), (1, 3), (2, 2))[int(rng.integers(4))]
        side = int(rng.integers(3, 16))
        widths = (16, 24, 32, 48, 64, 96, 128) if kernel == (1, 1) else (8, 16, 24, 32, 48)
        yield conv(
            int(rng.integers(2**31)), absent=float(rng.uniform(0.05, 0.95)), out=(side, int(rng.integers(side - 2, side + 3))),
            kernel=kernel, channels=(int(rng.choice(widths)), int(rng.choice(widths))), stride=2 if rng.random() < 0.2 else 1,
            act=int(rng.choice((0, 1, 1))), zero=-128 if rng.random() < 0.75 else None,
        )  # fmt: skip


def sparse_plan(content: bytes, isa: str) -> bytes:
    """Return the container with a plan part that has a sparse copy of every weight that may have one."""
    container = Container.from_bytes(content)
    needs = isa_needs(container, CODES["Isa"][isa])
    sparse = sparse_copies(container, isa, needs)
    dense: Copies = frozenset(copy for copy in wanted_copies(container, needs) if copy[0] not in sparse)
    return with_isa_plan(content, isa, copies=dense | {(weight, SPARSE) for weight in sparse})
