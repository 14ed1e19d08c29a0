# SPDX-License-Identifier: Apache-2.0
"""Band groups on a Cortex-M4: its kernels on a few rows at a time, the firmware, and a model that fits no other way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from band_cases import blocks, chain
from board_tools import need_board
from chip_engine import ChipEngine, chip, reference_outputs
from thumb import Thumb, need_tools

from joulet.container.isa_plan import arena_bytes, band_groups, with_isa_plan
from joulet.engine.host import HostEngine
from joulet.plan.on_board import planned_for
from joulet.tools.engines import open_engine, work_of
from joulet.tools.main import main

ISA = "ARMV7EM"


@pytest.fixture(scope="module")
def m4(tmp_path_factory: pytest.TempPathFactory) -> Thumb:
    need_tools()
    return chip(tmp_path_factory.mktemp("chip"))


@pytest.mark.parametrize("seed", range(8))
def test_kernels_run_bands_as_they_run_whole_tensors(m4: Thumb, seed: int) -> None:
    """Each group's output and each other op's, and nothing else is written than rows, outputs and scratch."""
    planned = with_isa_plan(chain(seed), ISA, ram_bytes=0)
    engine = ChipEngine(m4, planned)
    rng = np.random.default_rng(seed)
    inputs = [rng.integers(-128, 128, info.shape).astype(np.int8) for info in engine.host.inputs]
    for path in range(len(engine.host.path_names)):
        wanted = dict(reference_outputs(planned, inputs, path, 0))
        got = dict(engine.run(inputs, path, 0, lambda: 1))
        assert {op: wanted[op] for op in got} == got
        assert len(got) == len(wanted) - sum(len(rows) - 1 for _, rows in band_groups(planned, ISA))


def test_a_model_that_does_not_fit_a_board_runs_there_in_bands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An inverted residual of 72 x 72: its expanded tensor alone is larger than the board's RAM."""
    need_board()
    board, path = "virtual_m0plus", tmp_path / "m.jlt"
    content = blocks(3, side=72, channels=8, expand=8, count=1)
    path.write_bytes(content)
    there = work_of(board)
    assert arena_bytes(with_isa_plan(content, "ARMV6M"), "ARMV6M") > there
    reference = HostEngine(content, isa="REF")
    x = np.random.default_rng(1).integers(-128, 128, (1, *reference.inputs[0].shape)).astype(np.int8)
    with open_engine(path, f"virtual:{board}") as engine:
        got = engine.infer([x], path="w4")
    assert (got.outputs[0] == reference.infer([x], path="w4").outputs[0]).all()
    assert main(["build", str(path), "--board", board, "-o", str(tmp_path / "out"), "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert memory["arena_bytes"] + memory["input_bytes"] <= memory["work_bytes"] == there


def test_a_limit_is_kept_shown_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    path, out = tmp_path / "m.jlt", tmp_path / "out"
    content = blocks(2, side=24)
    whole = arena_bytes(with_isa_plan(content, ISA), ISA)
    path.write_bytes(content)
    words = ["--board", "virtual_m4", "--ram-limit", str(whole // 2)]
    assert main(["inspect", str(path), *words, "--json"]) == 0
    ram = json.loads(capsys.readouterr().out)["ram"]
    assert ram["arena_bytes"] == whole
    assert ram["bands"]["arena_bytes"] <= whole // 2
    assert ram["bands"]["groups"][0]["ops"][:2] == ["CONV", "DWCONV"]
    assert main(["inspect", str(path), *words]) == 0
    assert "rows in a band" in capsys.readouterr().out
    assert main(["build", str(path), *words, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["arena_bytes"] == ram["bands"]["arena_bytes"]
    planned = planned_for(content, "virtual_m4", ram_limit=whole // 2)
    assert band_groups(
        planned_for(planned, "virtual_m4", work_bytes=1 << 20), ISA
    )  # what was compiled under a limit stays
    assert main(["build", str(path), "--board", "virtual_m4", "--ram-limit", "100", "-o", str(out)]) == 2
    assert "at the least" in capsys.readouterr().err
    assert main(["inspect", str(path), "--ram-limit", "100"]) == 2
    assert "--board" in capsys.readouterr().err
