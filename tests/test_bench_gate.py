# SPDX-License-Identifier: Apache-2.0
"""The gate on growth: what it lets through, and that its baseline names what it measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "studies"))

import bench_gate

from joulet.boards import load_board


@pytest.mark.parametrize(
    ("before", "after", "fails", "follows"),
    [(1000, 1000, 0, 0), (1000, 1030, 0, 0), (1000, 1031, 1, 0), (1000, 970, 0, 0), (1000, 969, 0, 1), (0, 1, 1, 0)],
)
def test_three_per_cent(before: int, after: int, fails: int, follows: int) -> None:
    faults, shrunk = bench_gate.compared({"a": before}, {"a": after})
    assert (len(faults), len(shrunk)) == (fails, follows)


def test_what_is_new_or_gone_is_a_fault() -> None:
    assert bench_gate.compared({"a": 1}, {"b": 1}) == (["a: no longer measured", "b: not in the baseline"], [])


def test_the_baseline_has_every_model_on_every_board() -> None:
    baseline = json.loads(bench_gate.BASELINE.read_text(encoding="utf-8"))
    assert all(isinstance(count, int) and count > 0 for count in baseline.values())
    for board in bench_gate.BOARDS:
        assert load_board(board).isa != "REF"
        for model in bench_gate.MODELS:
            for what in ("w8 instructions", "w4 instructions", "RAM bytes", "tensor bytes", "container bytes"):
                assert f"{board} {model} {what}" in baseline


def test_a_run_is_judged_by_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"a": 100, "b": 100}
    monkeypatch.setattr(bench_gate, "measured", lambda shared: dict(counts))
    baseline = tmp_path / "baseline.json"
    assert bench_gate.main(["--baseline", str(baseline), "--update"]) == 0
    assert bench_gate.main(["--baseline", str(baseline)]) == 0
    counts["a"] = 104
    assert bench_gate.main(["--baseline", str(baseline)]) == 1
    assert "FAILED   a: 100 -> 104 (+4.0 %)" in capsys.readouterr().out
