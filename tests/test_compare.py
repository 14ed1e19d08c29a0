# SPDX-License-Identifier: Apache-2.0
"""``joulet compare`` and exports: verdicts by hand, the gate's exit code, and files that other programs read."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_tools import container, need_board
from test_report import make_run

from joulet.errors import UsageError
from joulet.meters.prometheus import metrics_text
from joulet.meters.recording import load_recording
from joulet.meters.seam import Quality, Reading
from joulet.meters.tally import Tally
from joulet.profile import Interval, Profile, Row, Sync
from joulet.profile.compare import compare_profiles, compare_runs
from joulet.report.archive import save
from joulet.tools.compare import share_of
from joulet.tools.main import main


def row(energy: float, half: float = 0.001, exit: str = "final") -> Row:
    value = Interval(mean=energy, low=energy - half, high=energy + half)
    return Row(
        path="w8", exit=exit, n=5, excluded=0, energy_j=value, latency_s=Interval(mean=1, low=0.9, high=1.1), power_w=1
    )


def profile(*rows: Row, **others: str) -> Profile:
    sync = Sync(method="markers", error_s=1e-5, detail="")
    fields = {
        "model": "m",
        "model_hash": "h",
        "engine": "e",
        "meter": "x",
        "provenance": "measured: x",
        "inside": "i",
        **others,
    }
    return Profile(**fields, sync=sync, idle_w=None, coverage=1.0, rows=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "half", "verdict"),
    [
        (1.01, 0.001, "same"),
        (1.10, 0.001, "worse"),
        (1.10, 0.2, "unclear"),
        (0.90, 0.001, "better"),
        (0.90, 0.2, "same"),
    ],
)
def test_verdicts(after: float, half: float, verdict: str) -> None:
    found = compare_profiles(profile(row(1.0)), profile(row(after, half)), 0.02)
    assert [each.verdict for each in found.changes] == [verdict, "same"]
    assert found.fails() == (verdict == "worse")
    assert found.fails(strict=True) == (verdict in ("worse", "unclear"))


def test_what_is_gone_fails_and_what_is_new_does_not() -> None:
    before, after = profile(row(1.0), row(2.0, exit="exit0")), profile(row(1.0), row(2.0, exit="exit1"))
    found = compare_profiles(before, after, 0.02)
    assert [each.verdict for each in found.changes] == ["same", "same", "gone", "new"]
    assert found.fails()


def test_other_meters_and_models_are_noted() -> None:
    found = compare_profiles(profile(row(1.0)), profile(row(1.0), model_hash="g", provenance="modelled: y"), 0.02)
    assert found.notes == ("model hash differs: h / g", "provenance differs: measured: x / modelled: y")


def test_runs() -> None:
    before = make_run()
    summary = before.summary
    worse = replace(
        before, summary=replace(summary, score=(summary.score or 0.5) * 0.9, brownouts=summary.brownouts + 3)
    )
    found = {each.figure: each.verdict for each in compare_runs(before, worse, 0.02).changes}
    assert found["score"] == "worse"
    assert found["brown-outs"] == "worse"
    assert not compare_runs(before, before, 0.0).fails()
    assert compare_runs(worse, before, 0.02).fails() is False


def test_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    profile(row(1.0)).save(a)
    profile(row(1.1)).save(b)
    assert main(["compare", str(a), str(a)]) == 0
    assert main(["compare", str(a), str(b)]) == 1
    assert "WORSE: 1 of 2" in capsys.readouterr().out
    assert main(["compare", str(a), str(b), "--allow", "15%", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"][0]["ratio"] == pytest.approx(1.1)
    folder = tmp_path / "run"
    folder.mkdir()
    save(folder / "run.json.gz", make_run())
    assert main(["compare", str(folder), str(folder / "run.json.gz")]) == 0
    assert main(["compare", str(folder), str(a)]) == 2
    assert "two of a kind" in capsys.readouterr().err
    assert main(["compare", str(a), str(tmp_path / "nowhere.json")]) == 2
    (tmp_path / "x.json").write_text("{}")
    assert main(["compare", str(a), str(tmp_path / "x.json")]) == 2
    assert "no profile" in capsys.readouterr().err


def test_shares() -> None:
    assert share_of("3%") == pytest.approx(0.03)
    assert share_of("0.05") == 0.05
    for text in ("x", "-1%", ""):
        with pytest.raises(UsageError, match="--allow"):
            share_of(text)


def test_exports_of_a_profile(tmp_path: Path) -> None:
    need_board()
    model = tmp_path / "m.jlt"
    model.write_bytes(container())
    words = [
        "profile",
        str(model),
        "--engine",
        "virtual:virtual_m4",
        "--precision",
        "w8",
        "--depth",
        "0",
        "--repeats",
        "3",
    ]
    out = {name: tmp_path / name for name in ("t.ppk2", "t.json", "t.csv", "p.json")}
    assert main([*words, "--trace", str(out["t.ppk2"]), "--csv", str(out["t.csv"]), "--out", str(out["p.json"])]) == 0
    assert main([*words, "--trace", str(out["t.json"])]) == 0
    energy_j = json.loads(out["p.json"].read_text())["rows"][0]["energy_j"]["mean"]
    with out["t.csv"].open() as file:
        (line,) = csv.DictReader(file)
    assert float(line["energy_j"]) == pytest.approx(energy_j)
    (trace,) = load_recording(out["t.ppk2"], 2.4)
    assert trace.logic is not None
    inside = trace.power_w[(trace.logic & 7) == 1]
    assert inside.mean() == pytest.approx(80e6 * 278e-12, rel=0.02)
    # four inferences: three and the one that brought the input
    assert inside.sum() * 1e-5 == pytest.approx(4 * energy_j, rel=0.1)
    events = json.loads(out["t.json"].read_text())["traceEvents"]
    slices = [each for each in events if each["ph"] == "X"]
    assert [each["name"] for each in slices] == ["w8 to exit0"] * 3
    assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in itertools.pairwise(slices))
    power = [each["args"]["mW"] for each in events if each["ph"] == "C"]
    assert max(power) == pytest.approx(22.24, rel=0.02)
    assert np.median(power) < 0.1


def test_prometheus_text() -> None:
    tally = Tally(10.0, 5.0)
    for time_s in (0.0, 2.0):
        tally.add(
            'a"b', Reading(time_s=time_s, rail="r\n", power_w=1.5, provenance="measured: x", quality=Quality.COARSE)
        )
    lines = metrics_text(tally.figures()).splitlines()
    assert "# TYPE joulet_power_watts gauge" in lines
    assert 'joulet_power_watts{source="a\\"b",rail="r\\n",counts="true"} 1.5' in lines
    assert 'joulet_energy_joules_total{source="a\\"b",rail="r\\n",counts="true"} 3.0' in lines
    assert any(
        line.startswith("joulet_reading_ok") and 'quality="coarse"' in line and line.endswith(" 0.0") for line in lines
    )
    assert not any(line.startswith("joulet_voltage") for line in lines)


def test_a_trace_of_an_unknown_kind_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.jlt").write_bytes(container())
    words = ["profile", str(tmp_path / "m.jlt"), "--engine", "virtual:virtual_m4", "--trace", str(tmp_path / "t.xyz")]
    assert main(words) == 2
    assert "end it in .ppk2 (Nordic's Power Profiler) or .json (Perfetto)" in capsys.readouterr().err
    assert not (tmp_path / "t.xyz").exists()
