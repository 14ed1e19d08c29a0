# SPDX-License-Identifier: Apache-2.0
"""Drawn chains of convolutions, pools and element-wise ops, with skips, for plans that run ops in bands."""

from __future__ import annotations

from isa_cases import PATHS, Cases

WINDOWS = ((1, 1), (1, 1), (3, 3), (3, 3), (5, 1), (2, 3), (4, 4))
STRIDES = (1, 1, 1, 2, 3)


class Chain(Cases):
    """A chain; ``shape`` is that of its end."""

    def __init__(self, seed: int, height: int, width: int, channels: int) -> None:
        super().__init__(seed)
        self.shape = (1, height, width, channels)
        self.input = self.end = self.activation("x", self.shape)
        self.before: list[tuple[int, tuple[int, ...]]] = []

    def _moved_on(self, shape: tuple[int, ...], like: int | None = None) -> int:
        self.before.append((self.end, self.shape))
        if like is not None:
            grid = self.builder.tensors[like]
            self.end = self.builder.tensor(f"t{len(self.before)}", shape, scale=grid.scale[0], zero=grid.zero_point[0])
        else:
            self.end = self.activation(f"t{len(self.before)}", shape, 0.02, 2.0)
        self.shape = shape
        return self.end

    def _out(self, k: tuple[int, int], stride: tuple[int, int], same: bool) -> tuple[int, int]:
        sizes = zip(self.shape[1:3], k, stride, strict=True)
        height, width = (-(-size // s) if same else (size - each) // s + 1 for size, each, s in sizes)
        return height, width

    def _drawn(self) -> tuple[tuple[int, int], tuple[int, int], bool]:
        k = WINDOWS[int(self.rng.integers(len(WINDOWS)))]
        k = (min(k[0], self.shape[1]), min(k[1], self.shape[2]))
        return k, (self.pick(STRIDES), self.pick(STRIDES)), bool(self.rng.random() < 0.7)

    def conv(
        self, out_c: int | None = None, k: tuple[int, int] | None = None, stride: tuple[int, int] | None = None
    ) -> None:
        """Add a convolution."""
        drawn = self._drawn()
        k, stride, same = k or drawn[0], stride or drawn[1], drawn[2] or k is not None
        channels, in_c = out_c or self.pick((1, 3, 8, 16, 17)), self.shape[3]
        x, shape = self.end, (1, *self._out(k, stride, same), channels)
        w, b = self.weights((channels, *k, in_c), 0, one_scale=False), self.bias(channels, k[0] * k[1] * in_c)
        y = self._moved_on(shape)
        self.builder.op("CONV_2D", (x, w, b), (y,), "Conv2DOptions", StrideH=stride[0], StrideW=stride[1], DilationHFactor=1,
                        DilationWFactor=1, Padding=0 if same else 1, FusedActivationFunction=self.pick((0, 1, 3)))  # fmt: skip

    def depthwise(self, k: tuple[int, int] | None = None, stride: tuple[int, int] | None = None) -> None:
        """Add a depthwise convolution."""
        drawn = self._drawn()
        k, stride, same = k or drawn[0], stride or drawn[1], drawn[2] or k is not None
        channels = self.shape[3]
        x, shape = self.end, (1, *self._out(k, stride, same), channels)
        w, b = self.weights((1, *k, channels), 3, one_scale=False), self.bias(channels, k[0] * k[1])
        y = self._moved_on(shape)
        self.builder.op("DEPTHWISE_CONV_2D", (x, w, b), (y,), "DepthwiseConv2DOptions", StrideH=stride[0], StrideW=stride[1],
                        DilationHFactor=1, DilationWFactor=1, Padding=0 if same else 1, DepthMultiplier=1,
                        FusedActivationFunction=self.pick((0, 1, 3)))  # fmt: skip

    def pool(self) -> None:
        """Add a pooling."""
        k, stride, same = self._drawn()
        x, shape = self.end, (1, *self._out(k, stride, same), self.shape[3])
        y = self._moved_on(shape, like=x)
        code = str(self.rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
        self.builder.op(code, (x,), (y,), "Pool2DOptions", FilterHeight=k[0], FilterWidth=k[1], StrideH=stride[0],
                        StrideW=stride[1], Padding=0 if same else 1, FusedActivationFunction=0)  # fmt: skip

    def lookup(self) -> None:
        """Add a function of one variable."""
        x = self.end
        self.builder.op("HARD_SWISH", (x,), (self._moved_on(self.shape),), "HardSwishOptions")

    def skip(self, *, latest: bool = False) -> None:
        """Add the end to an earlier tensor of its shape, where there is one; else to itself."""
        x, shape = self.end, self.shape
        others = [tensor for tensor, known in self.before if known == shape]
        other = others[-1] if latest else int(self.rng.choice(others)) if others else x
        code = str(self.rng.choice(["ADD", "SUB", "MUL"]))
        self.builder.op(code, (x, other), (self._moved_on(shape),), f"{code.title()}Options", FusedActivationFunction=0)

    def done(self, paths: tuple[str, ...] = PATHS) -> bytes:
        """Return the container."""
        return self.finish([self.input], [self.end], paths)


def chain(seed: int) -> bytes:
    """A drawn chain of four to nine ops."""
    c = Chain(seed, 1, 1, 1)
    c = Chain(seed, c.pick((7, 12, 16, 21)), c.pick((5, 8, 13)), c.pick((1, 3, 8)))
    steps = [c.conv, c.depthwise, c.pool, c.lookup, c.skip]
    for _ in range(int(c.rng.integers(4, 10))):
        steps[int(c.rng.choice(len(steps), p=[0.3, 0.3, 0.1, 0.1, 0.2]))]()
    return c.done()


def blocks(seed: int, *, side: int = 24, channels: int = 8, expand: int = 6, count: int = 2) -> bytes:
    """Inverted residuals, expand, depthwise, project and skip: their peak is the expanded tensor."""
    c = Chain(seed, side, side, channels)
    for _ in range(count):
        c.conv(channels * expand, (1, 1), (1, 1))
        c.depthwise((3, 3), (1, 1))
        c.conv(channels, (1, 1), (1, 1))
        c.skip(latest=True)
    return c.done()
