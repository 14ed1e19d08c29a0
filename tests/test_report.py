# SPDX-License-Identifier: Apache-2.0
"""The report from synthetic run records: complete, self-contained, well-formed, and safe to open."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from joulet.errors import DataError
from joulet.records import (
    ACCOUNTS,
    InferenceRecord,
    LedgerRecord,
    PathRecord,
    RunRecord,
    Status,
    StepRecord,
    Summary,
)
from joulet.report import charts, day, from_json, read, render, save, svg, table_rows, to_json, write

DAY_S = 43_200.0


def make_run(policy: str = "linear", *, events: int = 400, seed: int = 1) -> RunRecord:
    """Return a plausible run: scarce at both ends of the day, plenty at noon."""
    records, timeline = [], []
    for index in range(events):
        time_s = DAY_S * index / events
        noon = 1.0 - abs(2.0 * time_s / DAY_S - 1.0)
        answered = noon > 0.15 or (index * seed) % 3 == 0
        exit_index = min(2, int(noon * 3)) if answered else None
        records.append(
            InferenceRecord(
                index=index, sample=index % 50, arrival_s=time_s, label=1,
                status=Status.ON_TIME if answered else Status.MISSED, exit=exit_index,
                path=0 if answered else None, correct=(index % 7 > 0) if answered else None,
                mean_bits=4.0 + 4.0 * noon if answered else None, energy_j=3e-4 * noon,
            )
        )  # fmt: skip
        timeline.append(
            StepRecord(
                time_s=time_s, event="sample", store_voltage_v=1.8 + 1.5 * noon, harvest_power_w=2e-4 * noon,
                powered=noon > 0.1,
            )
        )  # fmt: skip
    served = sum(record.status is Status.ON_TIME for record in records)
    correct = sum(record.correct is True for record in records)
    spent = {name: (index + 1) * 10**11 for index, name in enumerate(ACCOUNTS)}
    return RunRecord(
        model="watch", model_hash="ab" * 32, board="NUCLEO-L4R5ZI", policy=policy, duration_s=DAY_S,
        exit_names=("exit0", "exit1", "final"),
        paths=(
            PathRecord(
                name="w8", energy_j=(1e-4, 2e-4, 3e-4), cycles=(1, 2, 3), accuracy=(0.7, 0.8, 0.9),
                mean_bits=(8.0, 8.0, 8.0),
            ),
            PathRecord(
                name="w4>w8@1", energy_j=(1e-4, 2e-4, 2.9e-4), cycles=(1, 2, 3), accuracy=(0.69, 0.79, 0.89),
                mean_bits=(4.0, 4.0, 5.0),
            ),
        ),
        summary=Summary(
            arrived=events, served=served, on_time=served, late=0, missed=events - served, dropped=0, expired=0,
            lost=0, pending=0, correct_on_time=correct, score=correct / events, mean_bits=6.2, mean_exit=1.1,
            exits_taken=(100, 100, 100), brownouts=2, cut=1, off_s=4000.0, off_fraction=0.1, longest_outage_s=2000.0,
            latency_p50_s=0.004, latency_p95_s=0.005, latency_p99_s=0.006, mean_energy_j=2e-4, useful_fraction=0.99,
            decisions=1000,
        ),
        ledger=LedgerRecord(
            harvested_pj=sum(spent.values()) + 10**11, stored_delta_pj=10**11, spent_pj=spent, residual_pj=0,
            residual_fraction=0.0, provenance=dict.fromkeys(ACCOUNTS, "modelled: test"),
        ),
        events=tuple(records), timeline=tuple(timeline),
        settings={"capacitance_f": 4.7e-3, "policy": policy}, provenance={"trace": "synthetic"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    runs = {"fixed w8": make_run("fixed", seed=2), "linear": make_run()}
    return render(runs, title="A <day> & more", lead="lead", notes={"cell": "1 cm²"}, clock_start_s=21_600.0)


def test_it_loads_nothing_and_runs_nothing(page: str) -> None:
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import""", page)
    assert "A &lt;day&gt; &amp; more" in page
    assert "<day>" not in page


def test_every_drawing_is_well_formed_and_named(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 5
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.attrib["aria-label"]
        assert "nan" not in drawing
        assert "inf" not in drawing.replace("inference", "")


def test_it_shows_each_run_its_conditions_and_sources(page: str) -> None:
    for words in ("fixed w8", "linear", "1 cm²", "synthetic", "modelled: test", "NUCLEO-L4R5ZI", "06:00", "18:00"):
        assert words in page


def test_outcomes_account_for_every_event() -> None:
    run = make_run()
    assert sum(charts.outcomes(run).values()) == run.summary.arrived


def test_cells_account_for_every_event() -> None:
    run = make_run()
    grid = day.cells(run)
    assert sum(cell.count for cells in grid for cell in cells.values()) == len(run.events)


def test_outages_are_the_unpowered_spans() -> None:
    def at(time_s: float, powered: bool) -> StepRecord:
        return StepRecord(time_s=time_s, event="sample", store_voltage_v=2.0, harvest_power_w=0.0, powered=powered)

    spans = day.outages((at(0, True), at(1, False), at(3, True), at(5, False)), 9.0)
    assert spans == [(1, 3), (5, 9.0)]


def test_the_table_has_one_row_a_run() -> None:
    heads, rows = table_rows({"a": make_run(), "b": make_run()})
    assert [row[0] for row in rows] == ["a", "b"]
    assert all(len(row) == len(heads) for row in rows)


def test_a_run_without_labels_events_or_answers_is_still_shown() -> None:
    run = make_run()
    summary = replace(
        run.summary, correct_on_time=None, score=None, mean_bits=None, mean_exit=None, latency_p50_s=None,
        latency_p99_s=None, mean_energy_j=None, arrived=0, served=0, on_time=0, missed=0,
    )  # fmt: skip
    paths = tuple(replace(path, accuracy=(0.0, 0.0, 0.0)) for path in run.paths)
    page = render({"x": replace(run, summary=summary, events=(), timeline=(), paths=paths)}, title="t")
    assert page.count("<svg") == 3


def test_no_runs_is_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="at least one run"):
        render({}, title="t")


def test_writing_leaves_no_part_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "report.html", "x")
    assert path.read_text() == "x"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 7.5), (0.0, 2.1e-4), (1.75, 3.42), (0.0, 86_400.0)])
def test_ticks_are_inside_and_even(low: float, high: float) -> None:
    values = svg.ticks(low, high)
    gaps = [b - a for a, b in itertools.pairwise(values)]
    assert 3 <= len(values) <= 11
    assert values[0] >= low - 1e-9
    assert values[-1] <= high * (1 + 1e-9)
    assert max(gaps) - min(gaps) < 1e-9 * max(gaps) + 1e-12


def test_a_record_survives_its_file() -> None:
    run = make_run(events=20)
    assert from_json(to_json(run)) == run


def test_a_saved_record_is_read_back(tmp_path: Path) -> None:
    run = make_run(events=20)
    path = save(tmp_path / "run.json.gz", run)
    assert read(path) == run
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a run record"):
        read(path)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"format":"joulet run 1"}', '{"format":"joulet run 1","run":{}}'])
def test_a_file_that_is_no_record_is_named(damage: str) -> None:
    with pytest.raises(DataError, match="x:"):
        from_json(damage, name="x")


def test_a_record_with_a_wrong_type_is_refused() -> None:
    text = to_json(make_run(events=3)).replace('"brownouts":2', '"brownouts":"many"')
    with pytest.raises(DataError, match="damaged"):
        from_json(text)
