# SPDX-License-Identifier: Apache-2.0
"""``joulet bench --nested`` and ``--plot``: what nested storage costs beside plain int8, and rooflines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from board_tools import MODELS
from thumb import need_tools

from joulet.compile import compile_model
from joulet.container.layout import CODES
from joulet.container.plain import with_plain_weights, without_plans
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError
from joulet.report.roofline import Roof, RoofPoint, roofline_png
from joulet.tools.bench_nested import LIMIT
from joulet.tools.main import main

BOARD = "virtual_m4"
_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def jlt(tmp_path: Path) -> Path:
    """A small network with convolutions and a dense layer."""
    path = tmp_path / "m.jlt"
    path.write_bytes(compile_model(MODELS / "residual_int8.tflite", exits="off", precisions=("w8", "w4")).container)
    return path


@pytest.mark.parametrize("name", ["conv_int8", "depthwise_int8", "dense_int8", "residual_int8"])
def test_plain_weights_compute_the_same(name: str) -> None:
    nested = compile_model(MODELS / f"{name}.tflite", exits="off", precisions=("w8", "w4")).container
    plain = with_plain_weights(nested)
    decoded = Container.from_bytes(plain)
    assert {int(each["storage"]) for each in decoded.weights} == {CODES["Storage"]["S8"]}
    engines = HostEngine(nested, isa="REF"), HostEngine(plain, isa="REF")
    inputs = [np.random.default_rng(3).integers(-128, 128, (2, *i.shape), np.int8) for i in engines[0].inputs]
    for want, got in zip(*(engine.infer(inputs, path="w8").outputs for engine in engines), strict=True):
        np.testing.assert_array_equal(want, got)
    assert without_plans(nested) == nested


def test_there_is_no_plain_form_without_eight_bits() -> None:
    four = compile_model(MODELS / "dense_int8.tflite", exits="off", precisions=("w4",)).container
    with pytest.raises(ContainerError, match="w8,w4"):
        with_plain_weights(four)


def test_nested_rows_add_up(jlt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("unicorn")
    need_tools()
    assert main(["bench", str(jlt), "--engine", f"virtual:{BOARD}", "--nested", "--json"]) == 0
    nested = json.loads(capsys.readouterr().out)["nested"]
    forms, ratios = nested["forms"], nested["ratios"]
    assert ratios["nested_to_plain"] == forms["nested"]["w8"] / forms["plain"]["w8"]
    assert ratios["worst_layer_nested_to_plain"] == max(layer["nested_to_plain"] for layer in nested["layers"])
    assert ratios["worst_layer_nested_to_plain"] <= nested["limit_nested_to_plain"] == 1.5
    assert ratios["planned_w4_to_w8"] == forms["planned"]["w4"] / forms["planned"]["w8"]
    for form in forms:
        assert sum(layer[f"{form}_cycles"] for layer in nested["layers"]) <= forms[form]["w8"]
    assert forms["own"]["w8"] < forms["shared"]["w8"] < LIMIT * forms["own"]["w8"]
    assert ratios["worst_layer_shared_to_own"] <= LIMIT
    # packed copies are what the planner counts on
    assert forms["planned"]["w8"] < forms["nested"]["w8"]
    assert main(["bench", str(jlt), "--nested"]) != 0
    assert "virtual:BOARD" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["host", f"virtual:{BOARD}"])
def test_a_roofline_is_drawn(engine: str, jlt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    if engine != "host":
        pytest.importorskip("unicorn")
        need_tools()
    target = tmp_path / "roof.png"
    options = ["--engine", engine, "--precision", "w8", "--plot", str(target), "--json"]
    assert main(["bench", str(jlt), *options]) == 0
    roof = json.loads(capsys.readouterr().out)["roofline"]
    assert target.read_bytes().startswith(_PNG)
    assert len(roof["points"]) == sum(int(each["weight"]) != 0xFFFF for each in Container.from_path(jlt).ops)
    assert 0 < sum(point["share"] for point in roof["points"]) <= 1
    if engine != "host":  # times on a shared machine are not held to anything here
        for point in roof["points"]:
            assert point["rate"] <= min(roof["peak"], roof["bytes_rate"] * point["macs_per_byte"])


def test_points_that_lie_on_one_another_share_a_mark() -> None:
    pytest.importorskip("matplotlib")
    from joulet.report.roofline import _marks

    def point(work: str, rate: float) -> RoofPoint:
        return RoofPoint(name="a", work=work, macs_per_byte=2.0, rate=rate, share=0.25)

    marks = _marks([point("conv", 1.0), point("conv", 1.02), point("conv", 0.5), point("fc", 1.0)])
    assert sorted((mark.first.work, mark.count, mark.share) for mark in marks) == [
        ("conv", 1, 0.25),
        ("conv", 2, 0.5),
        ("fc", 1, 0.25),
    ]
    roof = Roof(unit="MAC/cycle", bytes_unit="bytes/cycle", peak=2.0, bytes_rate=None, source="datasheet: none")
    assert roofline_png("t", [point("conv", 1.0)], roof).startswith(_PNG)
    with pytest.raises(ValueError, match="nothing to plot"):
        roofline_png("t", [], roof)
