# SPDX-License-Identifier: Apache-2.0
"""Kernels that skip absent blocks: every byte is the reference kernel's, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sparse_cases
from chip_engine import ChipEngine, chip, reference_outputs
from thumb import Thumb, need_tools

from joulet.container.needs import SPARSE, stored_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine

ISAS = {"ARMV7EM": "cortex-m4", "ARMV6M": "cortex-m0plus"}
ABSENT = (0.02, 0.3, 0.6, 0.9, 1.0)


@pytest.fixture(scope="module", params=sorted(ISAS))
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Thumb]:
    need_tools()
    return request.param, chip(tmp_path_factory.mktemp("chip"), ISAS[request.param])


def _planned(content: bytes, isa: str) -> bytes:
    planned = sparse_cases.sparse_plan(content, isa)
    assert (0, SPARSE) in (stored_copies(Container.from_bytes(planned), isa) or ())
    return planned


def _inputs(content: bytes, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, info.shape).astype(np.int8) for info in HostEngine(content, isa="REF").inputs]


def assert_exact(target: tuple[str, Thumb], content: bytes, seed: int) -> None:
    """Compare with the reference: whole, unit by unit, and by three units."""
    isa, thumb = target
    engine = ChipEngine(thumb, _planned(content, isa), isa)
    inputs = _inputs(content, seed)
    expected = reference_outputs(content, inputs, 0, 0)
    sizes: tuple[Callable[[], int], ...] = (lambda: 0, lambda: 1, lambda: 3)
    for units in sizes:
        assert engine.run(inputs, 0, 0, units) == expected


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("pixels", [2, 3, 4, 5, 8])  # blocks of four
def test_edges_of_pixels(target: tuple[str, Thumb], absent: float, pixels: int) -> None:
    content = sparse_cases.conv(pixels, absent=absent, out=(1, pixels), kernel=(1, 1), channels=(64, 6))
    assert_exact(target, content, pixels)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 5, 7, 8, 9, 16])  # turns of four
@pytest.mark.parametrize("act", [0, 1, 3])
def test_edges_of_turns(target: tuple[str, Thumb], groups: int, act: int) -> None:
    content = sparse_cases.conv(groups, absent=0.4, out=(2, 3), kernel=(1, 1), channels=(4 * groups, 4), act=act)
    assert_exact(target, content, groups)


@pytest.mark.parametrize(
    ("kernel", "stride", "same"), [((3, 3), 1, True), ((3, 3), 2, True), ((2, 3), 1, False), ((1, 3), 2, True)]
)
@pytest.mark.parametrize("channels", [(4, 2), (8, 10), (16, 16)])
def test_windows(
    target: tuple[str, Thumb], kernel: tuple[int, int], stride: int, same: bool, channels: tuple[int, int]
) -> None:
    content = sparse_cases.conv(7, absent=0.5, out=(3, 5), kernel=kernel, channels=channels, stride=stride, same=same)
    assert_exact(target, content, 7)


@pytest.mark.parametrize("pixels", [3, 8])
def test_scales_out_of_the_ordinary(target: tuple[str, Thumb], pixels: int) -> None:
    content = sparse_cases.conv(3, absent=0.5, out=(1, pixels), kernel=(1, 1), channels=(24, 4), quick=False)
    assert_exact(target, content, pixels)


def test_gaps_longer_than_a_byte(target: tuple[str, Thumb]) -> None:
    content = sparse_cases.conv(5, absent=0.997, out=(1, 2), kernel=(3, 3), channels=(256, 4))
    assert_exact(target, content, 5)
