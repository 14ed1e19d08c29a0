# SPDX-License-Identifier: Apache-2.0
"""The main job end to end: real recordings, a real .tflite, a recorded day, one command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from joulet.report import read
from joulet.tools.main import main

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("seglearn") is None, reason="seglearn, which carries the recordings, is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    assert main(["demo", "--quick", "--out", str(folder)]) == 0
    return folder


def test_the_run_folder_is_whole(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    runs = {"fixed-full", "fixed-smallest", "fixed-best", "threshold", "linear"}
    assert names == {"report.html", "watch.jlt", *(f"{run}.json.gz" for run in runs)}


def test_every_event_is_accounted_for_and_every_ledger_closes(folder: Path) -> None:
    for path in folder.glob("*.json.gz"):
        run = read(path)
        s = run.summary
        ends = (s.on_time, s.late, s.missed, s.dropped, s.expired, s.lost, s.pending)
        assert sum(ends) == s.arrived == len(run.events) == 1440
        assert run.ledger.closes


def test_policies_met_the_same_day_and_decided_differently(folder: Path) -> None:
    runs = {path.name.removesuffix(".json.gz"): read(path) for path in folder.glob("*.json.gz")}
    assert len({run.ledger.harvested_pj for run in runs.values()}) == 1
    assert [(e.arrival_s, e.sample) for e in runs["linear"].events] == [
        (e.arrival_s, e.sample) for e in runs["fixed-full"].events
    ]
    taken = {name: sum(count > 0 for count in run.summary.exits_taken) for name, run in runs.items()}
    assert taken["fixed-full"] == taken["fixed-smallest"] == 1
    assert taken["linear"] > 1
    assert taken["threshold"] > 1
    # the best fixed point in hindsight is at least as good as the two named ones, by its definition
    scores = {name: run.summary.score or 0.0 for name, run in runs.items()}
    assert scores["fixed-best"] >= max(scores["fixed-full"], scores["fixed-smallest"])


def test_the_report_shows_every_policy_and_assumption(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for words in ("fixed best", "threshold", "linear", "10 mF", "1 cm²", "assumed", "NREL", "not counted", "seglearn"):
        assert words in page
    assert "<script" not in page


def test_the_same_demo_gives_the_same_figures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quick", "--json", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (tmp_path / "watch.jlt").read_bytes() == (folder / "watch.jlt").read_bytes()
    assert printed["policies"]["linear"]["score"] == read(folder / "linear.json.gz").summary.score
    assert (tmp_path / "report.html").read_text() == (folder / "report.html").read_text()
