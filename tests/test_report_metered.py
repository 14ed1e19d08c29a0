# SPDX-License-Identifier: Apache-2.0
"""Reports, comparisons and footprints of metered runs; the ledger by hand, pages by what they must say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_edge_exits import TABLE, go
from test_report import make_run

from joulet.errors import DataError
from joulet.metered_run import EdgeLedger, EdgeRecord, PowerSample, thinned
from joulet.report import any_from_json, from_json, read_any, render_metered, save, to_json
from joulet.report.metered import outcomes, table_rows
from joulet.report.power import window_means
from joulet.tools.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EdgeRecord:
    """A run whose cap falls half-way, on a machine that is a program."""
    record = go(tmp_path_factory.mktemp("world"), "4W,60s:3W", TABLE)
    return replace(record, model="two <exits>", engine="host", settings={"period_s": 0.2})


def test_what_was_drawn_is_idle_power_and_inferences(run: EdgeRecord) -> None:
    ledger = run.ledger
    assert ledger.drawn_j == pytest.approx(run.energy_j)
    assert ledger.idle_j + sum(ledger.points_j.values()) + ledger.residual_j == pytest.approx(ledger.drawn_j)
    assert ledger.closes
    # 2 W for two minutes, and what an inference takes above that: 6 W for 0.02 s and for 0.1 s
    assert ledger.idle_j == pytest.approx(240.0, rel=0.03)
    counts = {point.name: point.chosen for point in run.points}
    true_j = 0.12 * counts["w8@early"] + 0.6 * counts["w8@last"]
    assert sum(ledger.points_j.values()) == pytest.approx(true_j, rel=0.06)
    assert sum(each.measured_j for each in run.power) == pytest.approx(run.measured_j)


def test_a_ledger_that_does_not_explain_what_was_drawn_is_open() -> None:
    ledger = EdgeLedger(drawn_j=100.0, idle_j=60.0, points_j={"a": 30.0}, residual_j=10.0)
    assert ledger.residual_fraction == pytest.approx(0.1)
    assert not ledger.closes


def test_thinning_keeps_energy() -> None:
    samples = [PowerSample(start_s=k, end_s=k + 1, measured_j=k, estimated_j=1.0) for k in range(10)]
    few = thinned(samples, 4)
    assert [(each.start_s, each.end_s) for each in few] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert sum(each.measured_j for each in few) == 45
    assert few[0].power_w == pytest.approx((0 + 1 + 2 + 3) / 3)
    assert thinned([], 4) == ()
    assert len(thinned(samples, 10)) == 10


def test_means_slide_over_the_window(run: EdgeRecord) -> None:
    assert run.cap is not None
    means = window_means(run)
    assert means[0][0] == pytest.approx(run.cap.window_s, abs=1.0)
    for end_s, mean_w in means:
        allowed_j = sum(
            power_w * max(0.0, min(end_s, until_s) - max(end_s - 10.0, from_s))
            for (from_s, power_w), until_s in zip(run.cap.steps, (60.0, 1e9), strict=True)
        )
        assert mean_w <= allowed_j / 10.0 * 1.02


def test_a_record_comes_back_from_its_file(run: EdgeRecord, tmp_path: Path) -> None:
    assert any_from_json(to_json(run)) == run
    assert read_any(save(tmp_path / "run.json.gz", run)) == run
    with pytest.raises(DataError, match="a metered run"):
        from_json(to_json(run))


def test_the_page_says_what_was_and_what_it_rests_on(run: EdgeRecord) -> None:
    page = render_metered({"a run": run}, title="one")
    for words in (
        "two &lt;exits&gt;", "4 W, from 1 min 3 W: kept", "measured: RAPL", "at each exit", "w8@early", "not explained",
        "learnt from the meter", "right and on time", "10 s long",
    ):  # fmt: skip
        assert words in page, words
    assert "<exits>" not in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    counts = outcomes(run)
    assert sum(counts.values()) == run.arrived
    assert counts["correct"] == run.correct_on_time
    assert table_rows({"a": run})[1][0][1] == f"{100 * (run.score or 0.0):.1f} %"


def test_a_run_without_labels_answers_or_meter_time_is_shown(run: EdgeRecord) -> None:
    bare = replace(
        run, correct=None, cap=None, budget_j=10.0, horizon_s=120.0, answered=0, on_time=0, skipped=run.arrived, missed=0,
        events=(), power=(), points=(), ledger=EdgeLedger(drawn_j=0.0, idle_j=0.0, points_j={}, residual_j=0.0),
        measured_j=0.0, estimated_j=3.0, estimated_s=1.0, provenance=(),
    )  # fmt: skip
    page = render_metered({"bare": bare, "full": run}, title="two")
    assert "3 J estimated for 1 s without readings" in page
    assert "NOT KEPT" not in page
    with pytest.raises(DataError, match="at least one run"):
        render_metered({}, title="none")


def test_report_takes_folders_and_does_not_mix(
    run: EdgeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, record in (("first-run", run), ("second-run", replace(run, notes=("lost: it was unplugged",)))):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "run.json.gz", record)
    out = tmp_path / "both.html"
    words = ["report", str(tmp_path / "first-run"), str(tmp_path / "second-run"), "-o", str(out), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == ["first run", "second run"]
    assert "note 1, second run" in out.read_text()
    other = save(tmp_path / "sun.json.gz", replace(make_run(), model_hash=run.model_hash))
    assert main(["report", str(tmp_path / "first-run"), str(other), "-o", str(out)]) == 2
    assert "joulet compare sets figures" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere"), "-o", str(out)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_two_metered_runs_are_a_gate(run: EdgeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = save(tmp_path / "before.json.gz", run)
    assert main(["compare", str(before), str(before)]) == 0
    assert run.cap is not None
    worse = replace(
        run, answered=run.answered - 100, skipped=run.skipped + 100, cap=replace(run.cap, over_j=5.0), meter="pi5",
    )  # fmt: skip
    after = save(tmp_path / "after.json.gz", worse)
    capsys.readouterr()
    assert main(["compare", str(before), str(after), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    verdicts = {change["figure"]: change["verdict"] for change in told["changes"]}
    assert verdicts["answered"] == "worse"
    assert verdicts["energy over the cap"] == "worse"
    assert verdicts["latency, 95 of 100"] == "same"
    assert "brown-outs" not in verdicts
    assert "meter differs: rapl / pi5" in told["notes"]


def test_a_metered_run_is_held_against_a_simulated_one_where_both_have_figures(
    run: EdgeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = save(tmp_path / "sun.json.gz", make_run())
    metered = save(tmp_path / "desk.json.gz", run)
    main(["compare", str(simulated), str(metered), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {change["figure"] for change in told["changes"]} == {
        "score", "answered", "energy of an answer", "latency, 95 of 100",
    }  # fmt: skip
    assert any("energies differ in provenance" in note for note in told["notes"])


def test_carbon_of_a_metered_run(run: EdgeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "run.json.gz", run)
    assert main(["footprint", str(path), "--json"]) == 0
    text = capsys.readouterr().out
    assert "measured" in text
    assert "RAPL" in text
    assert f"over {run.answered} answers" in text
