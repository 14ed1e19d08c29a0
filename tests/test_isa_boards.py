# SPDX-License-Identifier: Apache-2.0
"""Kernels of a Cortex-M4's instruction set, run as its code: every byte is the reference kernel's; nothing else is touched."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from board_tools import MODELS, plain_container
from chip_engine import ChipEngine, chip, reference_outputs
from test_kernels import CASES, Draw
from tflite_build import ModelBuilder
from thumb import Thumb, need_tools

import joulet
from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES
from joulet.container.needs import isa_needs
from joulet.container.read import Container
from joulet.plan.copies import shared_copies

ROOT = Path(__file__).resolve().parent.parent
PRECISIONS = ("w8", "w4")
DRAWS = {"conv": 12, "depthwise": 8, "dense": 8, "add": 8, "avgpool": 6}
LEAST = {"conv": 3, "depthwise": 0, "dense": 8, "add": 1, "avgpool": 2}
SMALL = sorted(path.stem for path in MODELS.glob("*.tflite"))


@pytest.fixture(scope="module")
def m4(tmp_path_factory: pytest.TempPathFactory) -> Thumb:
    need_tools()
    return chip(tmp_path_factory.mktemp("chip"))


def _random_inputs(engine: ChipEngine, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays: list[np.ndarray] = []
    for info in engine.host.inputs:
        if info.dtype.kind == "f":
            arrays.append(rng.standard_normal(info.shape).astype(info.dtype))
        else:
            limits = np.iinfo(np.dtype(info.dtype.str))
            arrays.append(rng.integers(limits.min, limits.max, info.shape, info.dtype.str, endpoint=True))
    return arrays


def _sizes(seed: int) -> Iterator[Callable[[], int]]:
    """Whole ops, single units, and a mixture."""
    rng = np.random.default_rng(seed)
    yield lambda: 0
    yield lambda: 1
    yield lambda: int(rng.choice([1, 2, 3, 5]))


def assert_exact(thumb: Thumb, container: bytes, seed: int = 0) -> int:
    """Compare every op's output, however it is divided, with packed copies for each precision and, where there can be, for both.

    Return how many ops the instruction set's kernels ran.
    """
    decoded = Container.from_bytes(container)
    shared = shared_copies(decoded, "ARMV7EM", isa_needs(decoded, CODES["Isa"]["ARMV7EM"]))
    if shared:
        assert_planned(thumb, with_isa_plan(container, "ARMV7EM", copies=frozenset(shared)), seed)
    return assert_planned(thumb, with_isa_plan(container, "ARMV7EM"), seed)


def assert_planned(thumb: Thumb, container: bytes, seed: int) -> int:
    engine = ChipEngine(thumb, container)
    inputs = _random_inputs(engine, seed)
    exit = engine.host.n_exits - 1
    for path, name in enumerate(engine.host.path_names):
        if name not in PRECISIONS:
            continue
        expected = reference_outputs(container, inputs, path, exit)
        for sizes in _sizes(seed):
            for ours, theirs in zip(engine.run(inputs, path, exit, sizes), expected, strict=True):
                # a copy may write a part of its output, and the rest is noise
                assert ours == theirs or engine.code(theirs[0]) == "COPY", (name, engine.code(theirs[0]))
    return engine.taken()


def drawn(name: str, seed: int) -> bytes:
    """Return a container of one drawn op."""
    builder, draw = ModelBuilder(name), Draw(np.random.default_rng(seed))
    model = builder.finish(*CASES[name](builder, draw))
    return joulet.compile_model(model, exits="off").container


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_drawn_ops_equal_the_reference(m4: Thumb, name: str) -> None:
    taken = sum(assert_exact(m4, drawn(name, seed), seed) for seed in range(DRAWS[name]))
    assert taken >= LEAST[name]  # the others have groups, dilation or another kernel


@pytest.mark.parametrize("name", SMALL)
def test_small_models_equal_the_reference(m4: Thumb, name: str) -> None:
    assert_exact(m4, plain_container(name))


def conv_model(shape: tuple[int, int, int], weights: np.ndarray, *, code: str = "CONV_2D", stride: int = 1, same: bool = True,
               zero: int = -7, scale: float = 0.3, act: int = 1, weight_scale: float | None = None) -> bytes:  # fmt: skip
    """Return a container of one layer whose weights are given."""
    depthwise = code == "DEPTHWISE_CONV_2D"
    out_c, k = (weights.shape[3], weights.shape[1:3]) if depthwise else (weights.shape[0], weights.shape[1:3])
    b = ModelBuilder("layer")
    rng = np.random.default_rng(weights.size)
    x = b.tensor("x", (1, *shape), scale=0.02, zero=zero)
    scales = rng.uniform(0.002, 0.02, out_c).tolist() if weight_scale is None else [weight_scale] * out_c
    w = b.tensor("w", weights.shape, scale=scales, axis=3 if depthwise else 0, data=weights.astype(np.int8))
    bias = b.tensor("b", (out_c,), "INT32", data=rng.integers(-9000, 9000, out_c).astype(np.int32))
    sizes = [-(-n // stride) if same else (n - e) // stride + 1 for n, e in zip(shape[:2], k, strict=True)]
    y = b.tensor("y", (1, *sizes, out_c), scale=scale, zero=-128 if act else 5)
    options = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    fields = {"DepthMultiplier": 1} if depthwise else {}
    b.op(code, (x, w, bias), (y,), options, StrideH=stride, StrideW=stride, DilationHFactor=1, DilationWFactor=1,
         Padding=0 if same else 1, FusedActivationFunction=act, **fields)  # fmt: skip
    return joulet.compile_model(b.finish([x], [y]), exits="off").container


def random_weights(*shape: int, low: int = -127) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(low, 128, shape)


@pytest.mark.parametrize("in_c", [1, 3, 4, 5, 8, 17])
@pytest.mark.parametrize(("k", "stride"), [((1, 1), 1), ((3, 3), 1), ((3, 3), 2), ((4, 2), 2)])
def test_convolutions_of_every_depth(m4: Thumb, in_c: int, k: tuple[int, int], stride: int) -> None:
    assert assert_exact(m4, conv_model((5, 7, in_c), random_weights(5, *k, in_c), stride=stride)) == 1


@pytest.mark.parametrize("channels", [4, 5, 6, 7, 8, 13])
@pytest.mark.parametrize("width", [1, 3, 5, 9, 17])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_of_every_width(m4: Thumb, channels: int, width: int, stride: int) -> None:
    weights = random_weights(1, 3, 3, channels)
    model = conv_model((4, width, channels), weights, code="DEPTHWISE_CONV_2D", stride=stride, act=width % 2)
    assert assert_exact(m4, model) == 1


@pytest.mark.parametrize("shape", [(16, 2, 2, 65), (65, 3, 3, 8), (66, 1, 1, 63)])
def test_nibbles(m4: Thumb, shape: tuple[int, int, int, int]) -> None:
    """So many weights that those of four bits are packed as such."""
    assert np.prod(shape) > 4096
    assert assert_exact(m4, conv_model((2, 5, shape[3]), random_weights(*shape))) == 1


def sharing(container: bytes) -> bytes:
    """Return a container with all its packed copies shared; there are some."""
    decoded = Container.from_bytes(container)
    shared = frozenset(shared_copies(decoded, "ARMV7EM", isa_needs(decoded, CODES["Isa"]["ARMV7EM"])))
    assert shared
    return with_isa_plan(container, "ARMV7EM", copies=shared)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("depth", [1, 3, 4, 15, 16, 17, 65])
def test_a_copy_for_both_precisions(m4: Thumb, rows: int, depth: int) -> None:
    """Every value a weight can have, in rows of every length that ends a turn of the loops or does not."""
    weights = np.random.default_rng(depth).permutation(np.arange(rows * depth) % 256 - 128).reshape(rows, 1, 1, depth)
    assert assert_planned(m4, sharing(conv_model((3, 3, depth), weights, zero=-128)), depth) == 1
    assert assert_planned(m4, sharing(conv_model((1, 1, depth), weights, act=0)), depth) == 1


def test_a_copy_for_both_precisions_with_scales_out_of_the_ordinary(m4: Thumb) -> None:
    large = conv_model((3, 4, 19), random_weights(5, 1, 1, 19), scale=1e-5, weight_scale=0.02)
    assert assert_planned(m4, sharing(large), 0) == 1


def test_rows_that_do_not_stack(m4: Thumb) -> None:
    """-128 above a negative weight leaves a lane, long rows of large weights leave a sum: those are packed apart."""
    ends = random_weights(6, 1, 1, 24, low=-128)
    ends[1::2, 0, 0, ::5], ends[0::2, 0, 0, ::5] = -128, -1
    assert assert_exact(m4, conv_model((3, 3, 24), ends)) == 1
    long = np.where(np.arange(2 * 300).reshape(2, 1, 1, 300) % 3, 127, 126)
    assert assert_exact(m4, conv_model((2, 2, 300), long, zero=-128)) == 1


@pytest.mark.parametrize("act", [0, 1])
def test_halves_are_rounded_away_from_zero(m4: Thumb, act: int) -> None:
    """Every 32nd sum lies between two outputs; a ReLU's kernels may take those below zero to either."""
    halves = {"scale": 0.02, "weight_scale": 2.0**-5, "act": act}
    assert assert_exact(m4, conv_model((8, 9, 4), random_weights(6, 1, 1, 4, low=-9) % 9 - 4, **halves)) == 1
    assert assert_exact(m4, conv_model((8, 9, 17), random_weights(5, 1, 1, 17, low=-9) % 9 - 4, **halves)) == 1
    depthwise = random_weights(1, 3, 3, 6, low=-9) % 9 - 4
    assert assert_exact(m4, conv_model((8, 9, 6), depthwise, code="DEPTHWISE_CONV_2D", **halves)) == 1


def test_scales_out_of_the_ordinary(m4: Thumb) -> None:
    """Left shifts, right shifts by less than two and multipliers of nothing take the long way."""
    for scale in (1e-6, 2e-4, 4e-4, 1e3, 1e9):
        assert assert_exact(m4, conv_model((3, 5, 6), random_weights(6, 1, 1, 6), scale=scale, act=0)) == 1
        depthwise = random_weights(1, 3, 3, 6)
        assert assert_exact(m4, conv_model((3, 5, 6), depthwise, code="DEPTHWISE_CONV_2D", scale=scale, act=0)) == 1


def test_matrices_of_every_size(m4: Thumb) -> None:
    for in_c, out_c in ((1, 1), (3, 4), (4, 5), (255, 6), (257, 17), (640, 3)):
        for low in (-127, -128):
            weights = np.random.default_rng(in_c).integers(low, 128, (out_c, in_c)).astype(np.int8)
            b = ModelBuilder("dense")
            x = b.tensor("x", (1, in_c), scale=0.05, zero=3)
            w = b.tensor("w", weights.shape, scale=0.01, data=weights)
            bias = b.tensor("b", (out_c,), "INT32", scale=0.0005, data=np.arange(out_c, dtype=np.int32) * 99)
            y = b.tensor("y", (1, out_c), scale=0.4, zero=-20)
            b.op("FULLY_CONNECTED", (x, w, bias), (y,), "FullyConnectedOptions", FusedActivationFunction=1)
            assert assert_exact(m4, joulet.compile_model(b.finish([x], [y]), exits="off").container) == 1


@pytest.mark.parametrize("name", ["conv_s8", "conv_sparse_s8", "fc_s8"])
@pytest.mark.parametrize("level", ["-Os", "-O2", "-O3"])
def test_code_that_finds_its_labels_is_linked_to_a_word(name: str, level: str, tmp_path: Path) -> None:
    """Distances of labels are from words: a function that asks for them between two words would jump beside them."""
    need_tools()
    out = tmp_path / "out.o"
    flags = ["-mcpu=cortex-m4", "-mthumb", "-std=c11", "-ffreestanding", "-ffunction-sections", level]
    source = ROOT / "csrc" / "kernels" / "armv7em" / f"{name}.c"
    subprocess.run(["arm-none-eabi-gcc", *flags, "-I", ROOT / "csrc", "-c", source, "-o", out], check=True)
    listing = subprocess.run(["arm-none-eabi-objdump", "-d", out], check=True, capture_output=True, text=True).stdout
    sections = subprocess.run(["arm-none-eabi-objdump", "-h", out], check=True, capture_output=True, text=True).stdout
    asking = {
        part.split(":", 1)[0]
        for part in listing.split("Disassembly of section ")[1:]
        if re.search(r"addw\s+\w+, pc", part)
    }
    assert asking
    for section in asking:
        line = next(row for row in sections.splitlines() if f" {section} " in row)
        assert int(line.rsplit("2**", 1)[1]) >= 2, section
