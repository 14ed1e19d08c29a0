# SPDX-License-Identifier: Apache-2.0
"""``joulet simulate`` from outside: what it prints, what it refuses, and that nothing is judged on what it was fitted on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulet.compile import compile_model
from joulet.errors import UsageError
from joulet.records import ACCOUNTS
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.folds import make_folds
from joulet.simulate.job import Job, make_cell
from joulet.tools.main import main

MODEL = Path(__file__).parent / "models" / "residual_int8.tflite"
KEYS = {
    "policy", "trace", "capacitor_f", "arrivals", "arrived", "correct_on_time", "score", "pct_of_oracle_energy",
    "brownouts", "time_off", "mean_bits", "mean_exit", "energy_nj", "residual",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small container, samples that it half knows, and a source that comes and goes."""
    path = tmp_path_factory.mktemp("simulate")
    rng = np.random.default_rng(0)
    fit, judged = (rng.integers(-128, 128, (96, 12, 12, 2)).astype(np.int8) for _ in range(2))
    result = compile_model(MODEL, data={"input_0": fit, "labels": rng.integers(0, 4, 96)}, exits=2)
    (path / "m.jlt").write_bytes(result.container)
    np.savez(path / "eval.npz", input_0=judged, labels=rng.integers(0, 4, 96))
    np.savez(path / "unlabelled.npz", input_0=judged)
    time_s = np.arange(0.0, 600.0, 2.0)
    power_w = 2e-4 * np.maximum(np.sin(time_s / 40.0), 0.0) * rng.uniform(0.5, 1.5, time_s.size)
    np.savetxt(path / "t.csv", np.c_[time_s, power_w], delimiter=",", header="time_s,power_w", comments="")
    return path


def simulate(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    arguments = [str(folder / "m.jlt"), "--data", str(folder / "eval.npz"), "--trace", str(folder / "t.csv")]
    code = main(["simulate", *arguments, "--cache", str(folder / "cache"), *options])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out) if "--json" in options else printed.out


def test_one_object_per_policy_store_and_arrivals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = simulate(
        folder, capsys, "--policy", "shadow,linear,fixed", "--capacitor", "20uF,100uF", "--arrivals",
        "poisson:0.2/s,periodic:4s", "--deadline", "3s", "--json",
    )  # fmt: skip
    assert len(found) == 3 * 2 * 2
    assert {(r["policy"], round(1e6 * r["capacitor_f"]), r["arrivals"]) for r in found} == {
        (p, c, a) for p in ("shadow", "linear", "fixed") for c in (20, 100) for a in ("poisson:0.2/s", "periodic:4s")
    }
    for record in found:
        assert set(record) >= KEYS
        assert set(record["energy_nj"]) == {"harvested", "stored", *ACCOUNTS, "residual"}
        assert record["residual"] <= 1e-3
        spent = sum(record["energy_nj"][name] for name in ("stored", *ACCOUNTS, "residual"))
        assert spent == pytest.approx(record["energy_nj"]["harvested"], rel=1e-9)
        assert record["correct_on_time"] == round(record["score"] * record["arrived"])
        assert 0.0 <= record["pct_of_oracle_energy"] <= 100.5  # both are expectations; drawn ones scatter a little
        assert record["pct_of_oracle_all"] <= 100.0 + 1e-6


def test_the_table_and_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "report"
    printed = simulate(
        folder, capsys, "--policy", "shadow,best-fixed,threshold", "--arrivals", "periodic:4s", "--out", str(out)
    )
    assert "shadow" in printed
    assert "best-fixed" in printed
    assert "bounds" in printed
    page = (out / "comparison.html").read_text()
    assert "<svg" in page
    with (out / "comparison.csv").open(newline="") as file:
        assert [row["policy"] for row in csv.DictReader(file)] == ["shadow", "best-fixed", "threshold"]
    assert len(json.loads((out / "comparison.json").read_text())) == 3


def test_a_table_is_exported_and_decides_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, source = folder / "s.jltp", folder / "s.c"
    common = ("--policy", "fixed", "--arrivals", "periodic:4s", "--capacitor", "50uF", "--no-oracle")
    simulate(folder, capsys, *common, "--export", str(table))
    simulate(folder, capsys, *common, "--export", str(source))
    assert len(table.read_bytes()) <= 8192
    assert "const uint32_t" in source.read_text()
    found = simulate(folder, capsys, "--policy", f"shadow:{table}", *common[2:], "--json")
    assert found[0]["policy"] == "shadow:s.jltp"
    assert found[0]["served"] > 0
    table.write_bytes(table.read_bytes()[:100])
    arguments = ["--data", str(folder / "eval.npz"), "--trace", str(folder / "t.csv"), "--policy", f"shadow:{table}"]
    assert main(["simulate", str(folder / "m.jlt"), *arguments]) == 2
    assert "table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--policy", "nonsense"], "no policy"),
        (["--policy", "fixed", "--arrivals", "sometimes"], "periodic"),
        (["--policy", "fixed", "--arrivals", "poisson:0/s"], "more than zero"),
        (["--policy", "fixed", "--capacitor", "big"], "farad"),
        (["--policy", "fixed", "--queue", "0"], "queue"),
        (["--policy", "fixed", "--harvest-ratio", "-1"], "harvest-ratio"),
        (["--policy", "fixed", "--data", "UNLABELLED"], "labels"),
        (["--policy", "fixed", "--trace", "missing.csv"], "missing.csv"),
        (["--policy", ","], "names nothing"),
    ],
)
def test_mistakes_are_one_line_and_exit_two(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    arguments = ["--data", str(folder / "eval.npz"), "--trace", str(folder / "t.csv")]
    options = [str(folder / "unlabelled.npz") if each == "UNLABELLED" else each for each in options]
    code = main(["simulate", str(folder / "m.jlt"), *arguments, "--cache", str(folder / "cache"), *options])
    printed = capsys.readouterr()
    assert code == 2
    assert word in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def job(folder: Path, **changes: Any) -> Job:
    given: dict[str, Any] = {
        "model": folder / "m.jlt", "data": folder / "eval.npz", "trace": str(folder / "t.csv"), "policies": (),
        "arrivals": "periodic:2s", "capacitor_f": 5e-5, "cache": folder / "cache",
    }  # fmt: skip
    return Job(**{**given, **changes})


def test_judged_samples_and_blocks_are_not_those_learned_from(folder: Path) -> None:
    cell = make_cell(job(folder))
    fold = cell.folds.of(cell.events.event_s)
    judged = [set(cell.samples[fold == which].tolist()) for which in (0, 1)]
    assert judged[0]
    assert judged[1]
    assert not judged[0] & judged[1]
    for which in (0, 1):
        learned_s = [begin for begin, _ in cell.folds.blocks(1 - which)]
        assert all(cell.folds.of(begin_s + 1e-6) != which for begin_s in learned_s)
        past = cell.experience(which)
        # the past of a fold is the power of the other fold's blocks
        (begin_s, end_s), stretch = cell.folds.blocks(1 - which)[0], past.stretches[0]
        assert len(stretch.power_w) * stretch.step_s == pytest.approx(end_s - begin_s)


def test_days_alternate_and_short_recordings_are_halved() -> None:
    days = make_folds(10 * 86400.0, 10 * 86400.0)
    assert days.block_s == 86400.0
    assert days.of([0.0, 86399.0, 86400.0, 2.5 * 86400.0]).tolist() == [0, 0, 1, 0]
    halves = make_folds(300.0, 3600.0)  # repeated to an hour: each pass has the same halves
    assert halves.block_s == 150.0
    assert halves.of([10.0, 160.0, 310.0, 460.0]).tolist() == [0, 1, 0, 1]
    assert halves.blocks(1) == [(150.0, 300.0)]


def test_seeds_repeat_and_differ(folder: Path) -> None:
    first, again, other = (make_cell(job(folder, arrivals="poisson:0.3/s", seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.events.event_s, again.events.event_s)
    assert np.array_equal(first.samples, again.samples)
    assert len(first.events.event_s) != len(other.events.event_s) or not np.array_equal(first.samples, other.samples)


def test_outcomes_are_computed_once(folder: Path) -> None:
    make_cell(job(folder))
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "cache").glob("*.npz")}
    assert len(kept) == 1
    from joulet.simulate.job import prepare_model

    prepare_model.cache_clear()
    make_cell(job(folder))
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "cache").glob("*.npz")} == kept
    damaged = next((folder / "cache").glob("*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:50])
    prepare_model.cache_clear()
    make_cell(job(folder))  # computed again and replaced
    assert damaged.stat().st_size > 50


@pytest.mark.parametrize(
    ("spec", "mean_s"),
    [("periodic:2s", 2.0), ("poisson:0.25/s", 4.0), ("poisson:30/min", 2.0), ("bursty:5x100ms/20s", 4.0)],
)
def test_arrivals_keep_their_mean(spec: str, mean_s: float) -> None:
    arrivals = parse_arrivals(spec)
    times = arrivals.times_s(40_000.0, seed=3)
    assert arrivals.mean_s == pytest.approx(mean_s)
    assert 40_000.0 / len(times) == pytest.approx(mean_s, rel=0.1)
    assert (np.diff(times) >= 0.0).all()
    assert times[0] >= 0.0
    assert times[-1] < 40_000.0


@pytest.mark.parametrize(
    "spec", ["periodic", "periodic:0s", "poisson:2", "poisson:x/s", "bursty:5/s", "bursty:0x1s/9s"]
)
def test_bad_arrivals_are_named(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.split(":")[0]):
        parse_arrivals(spec)
