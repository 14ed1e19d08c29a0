# SPDX-License-Identifier: Apache-2.0
"""Kernels for cores without SIMD against the reference, byte for byte; plain C, so that they run here too."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from board_tools import MODELS
from model_zoo import NONE, RELU, RELU6, SAME, VALID, Net
from test_kernels import CASES, Draw
from tflite_build import ModelBuilder

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph

ISA = "ARMV6M"
PRECISIONS = ("w8", "w4")
SEEDS = range(24)
GUARD = 0xA5


def drawn(name: str, seed: int) -> bytes:
    """Return a container of one op of :data:`test_kernels.CASES`."""
    builder = ModelBuilder(name)
    return _container(builder.finish(*CASES[name](builder, Draw(np.random.default_rng(1000 + seed)))))


def _container(model: bytes) -> bytes:
    return write_container(bare_quant_graph(load_tflite(model), PRECISIONS))


def one_conv(pixels: tuple[int, int], in_c: int, out_c: int, **how: object) -> bytes:
    """Return a container of one convolution."""
    net = Net("conv", in_c * 100 + out_c)
    x = net.act("x", (1, *pixels, in_c), 0.05, 3)
    return _container(net.finish((x,), (net.conv(x, out_c, **how),)))  # type: ignore[arg-type]


def one_depthwise(pixels: tuple[int, int], channels: int, **how: object) -> bytes:
    """Return a container of one depthwise convolution."""
    net = Net("depthwise", channels)
    x = net.act("x", (1, *pixels, channels), 0.05, -100)
    return _container(net.finish((x,), (net.depthwise(x, **how),)))  # type: ignore[arg-type]


def one_dense(rows: int, in_c: int, out_c: int) -> bytes:
    """Return a container of one fully connected layer."""
    net = Net("dense", in_c * 100 + out_c)
    x = net.act("x", (rows, in_c), 0.05, 127)
    return _container(net.finish((x,), (net.dense(x, out_c, activation=RELU),)))


# shapes around the blocks of four pixels, two and eight channels, four and sixteen products
EDGES = {
    **{
        f"conv1x1 {n} pixels {i}>{o}": functools.partial(one_conv, (1, n), i, o, kernel=(1, 1))
        for n in (2, 3, 4, 5, 7, 8, 9)
        for i, o in ((1, 1), (3, 2), (4, 3), (5, 4), (15, 5), (16, 7), (17, 8), (32, 9), (33, 1))
    },
    **{
        f"conv {k} stride {s} padding {p}": functools.partial(
            one_conv, (6, 5), 3, 5, kernel=k, stride=s, padding=p, activation=a
        )
        for k in ((3, 3), (1, 3), (4, 2), (5, 5))
        for s in ((1, 1), (2, 1), (2, 2))
        for p, a in ((SAME, RELU6), (VALID, RELU))
    },
    "window wider than the input": functools.partial(one_conv, (2, 2), 3, 4, kernel=(5, 5), padding=SAME),
    **{
        f"one pixel {i}>{o}": functools.partial(one_conv, (3, 3), i, o, kernel=(3, 3), padding=VALID)
        for i, o in ((1, 1), (2, 7), (3, 8), (4, 9), (8, 16), (9, 17))
    },
    **{
        f"dense {r} rows {i}>{o}": functools.partial(one_dense, r, i, o)
        for r in (1, 2, 4, 5)
        for i, o in ((1, 1), (4, 8), (15, 9), (16, 16), (17, 33), (64, 10), (130, 7))
    },
    **{
        f"depthwise {k} at {n} channels {c} stride {s} padding {p}": functools.partial(
            one_depthwise, n, c, kernel=k, stride=s, padding=p
        )
        for k in ((3, 3), (1, 3), (3, 1), (5, 5), (2, 4))
        for s in ((1, 1), (2, 2))
        for p in (SAME, VALID)
        for n, c in (((5, 5), 1), ((6, 9), 3), ((7, 12), 4))
    },
    **{
        f"depthwise wide {w} channels {c}": functools.partial(one_depthwise, (4, w), c, activation=RELU6)
        for w in (1, 2, 3, 4, 5, 7, 8, 9)
        for c in (1, 2, 5, 8)
    },
    "depthwise with a multiplier": functools.partial(one_depthwise, (5, 5), 3, multiplier=2),
}


def one_add(elements: int, scales: tuple[float, float, float], activation: int) -> bytes:
    """Return a container of one addition."""
    net = Net("add", elements)
    x = net.act("x", (1, elements), scales[0], -5)
    z = net.act("z", (1, elements), scales[1], 90)
    return _container(net.finish((x, z), (net.binary("ADD", x, z, scales[2], activation=activation),)))


class Guarded:
    """A container on the engine in an arena of exact size between guard bytes, run tile by tile."""

    MARGIN = 64

    def __init__(self, host: HostEngine, path: int) -> None:
        self.path = path
        self.host = host
        self.container = host._checked
        n_bytes = lib.jlt_arena_bytes(self.container, path)
        self.room = np.full(n_bytes + 3 * self.MARGIN, GUARD, np.uint8)
        self.at = -self.room.ctypes.data % self.MARGIN + self.MARGIN
        self.arena = self.room[self.at : self.at + n_bytes]
        self.engine = ffi.new("jlt_engine_t *")
        self.event = ffi.new("jlt_event_t *")
        place = ffi.cast("void *", self.arena.ctypes.data)
        assert lib.jlt_engine_init(self.engine, self.container, place, n_bytes) == 0

    def scratch(self) -> slice:
        """Return where the next op's scratch lies: the arena's last bytes."""
        needs = ffi.new("jlt_isa_needs_t *")
        code = layout.CODES["Isa"][self.host.isa]
        assert lib.jlt_isa_needs(self.container, code, self.engine.next_op, needs) == 0
        end = len(self.arena)
        return slice((end - int(needs.scratch_bytes)) // 16 * 16, end)

    def run(self, x: np.ndarray, units: int) -> bytes:
        """Return the answer; every tile writes its own bytes and scratch only."""
        assert lib.jlt_engine_start(self.engine, self.path) == 0
        data = np.ascontiguousarray(x)
        assert lib.jlt_engine_write(self.engine, 0, ffi.cast("void *", data.ctypes.data), data.nbytes) == 0
        tensor, begin, end = ffi.new("uint16_t *"), ffi.new("uint32_t *"), ffi.new("uint32_t *")
        kind = 0
        while kind != lib.JLT_EVENT_EXIT:
            scratch = self.scratch()
            before = self.arena.copy()
            assert lib.jlt_engine_tile(self.engine, self.host.n_exits - 1, units, self.event) == 0
            kind = int(self.event.kind)
            assert lib.jlt_engine_written(self.engine, tensor, begin, end) == 0
            base = int(self.container.arena_offsets[tensor[0]])
            before[base + begin[0] : base + end[0]] = self.arena[base + begin[0] : base + end[0]]
            before[scratch] = self.arena[scratch]
            np.testing.assert_array_equal(self.arena, before)
        guards = np.concatenate([self.room[: self.at], self.room[self.at + len(self.arena) :]])
        assert (guards == GUARD).all()
        answer = int(self.container.exits[self.host.n_exits - 1].output)
        base = int(self.container.arena_offsets[answer])
        return self.arena[base : base + lib.jlt_tensor_bytes(self.container.tensors + answer)].tobytes()


def _inputs(host: HostEngine, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = []
    for info in host.inputs:
        if info.dtype.kind == "f":
            arrays.append(rng.standard_normal((4, *info.shape)).astype(info.dtype))
            continue
        limits = np.iinfo(np.dtype(info.dtype.str))
        array = rng.integers(limits.min, limits.max, (4, *info.shape), info.dtype.str, endpoint=True)
        array[0] = limits.max
        array[1] = limits.min
        arrays.append(array)
    return arrays


def assert_same(content: bytes, seed: int = 1, *, takes: bool | None = None) -> None:
    """Compare all outputs at both precisions; ``takes``: whether the plan must (not) have packed weights."""
    ref, ours = HostEngine(content, isa="REF"), HostEngine(content, isa=ISA)
    if takes is not None:
        assert (ours._checked.packings[0].offset_8 != 2**32 - 1) == takes
    inputs = _inputs(ref, seed)
    for path in ref.path_names:
        for a, b in zip(ref.infer(inputs, path=path).outputs, ours.infer(inputs, path=path).outputs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["conv", "depthwise", "dense", "add"])
@pytest.mark.parametrize("seed", SEEDS)
def test_drawn_ops_equal_the_reference(name: str, seed: int) -> None:
    assert_same(drawn(name, seed), seed)


@pytest.mark.parametrize("name", sorted(EDGES))
def test_edges_of_blocks_equal_the_reference_under_guard_bytes(name: str) -> None:
    content = EDGES[name]()
    assert_same(content, takes="multiplier" not in name)
    ref, ours = HostEngine(content, isa="REF"), HostEngine(content, isa=ISA)
    x = _inputs(ref, 7)[0][3]
    for path in range(len(PRECISIONS)):
        want = ref.infer([x[None]], path=ref.path_names[path]).outputs[0].tobytes()
        for units in (1, 2, 3, 0):
            assert Guarded(ours, path).run(x, units) == want


@pytest.mark.parametrize("elements", [1, 63, 64, 65, 256])
@pytest.mark.parametrize("scales", [(0.05, 0.05, 0.1), (0.2, 0.003, 0.09), (0.01, 0.3, 0.001), (0.1, 0.1, 8.0)])
@pytest.mark.parametrize("activation", [NONE, RELU])
def test_additions_equal_the_reference(elements: int, scales: tuple[float, float, float], activation: int) -> None:
    assert_same(one_add(elements, scales, activation))


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.tflite")))
def test_small_models_equal_the_reference(name: str) -> None:
    graph = load_tflite(MODELS / f"{name}.tflite")
    assert_same(write_container(bare_quant_graph(graph, PRECISIONS)))
