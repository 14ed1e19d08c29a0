# SPDX-License-Identifier: Apache-2.0
"""Cells from words and numbers: sources, converters and stores as ``joulet run`` knows them, and ``joulet simulate``."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import numpy as np
import pytest

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.load import load_harvester
from joulet.energy.segments import segments
from joulet.energy.supply import Supply
from joulet.energy.trace import TraceHarvester
from joulet.engine.host import HostEngine
from joulet.errors import DataError, UsageError
from joulet.simulate.job import Job, equal_capacitor_f, full_depth_j, make_cell, prepare_model, run_job
from joulet.simulate.sources import guess_family, name_of, scale_for
from joulet.tools.main import main

LOAD = load_board("nucleo_l4r5zi").load


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a small job on a made-up lamp."""
    folder = tmp_path_factory.mktemp("simulate")
    model = (resources.files("joulet.demo") / "watch_int8.tflite").read_bytes()
    (folder / "m.jlt").write_bytes(compile_model(model, exits="off", precisions=("w8", "w4")).container)
    rng = np.random.default_rng(0)
    shape = HostEngine(folder / "m.jlt").inputs[0].shape[1:]
    samples = rng.integers(-128, 128, (12, *shape), dtype=np.int8)
    np.savez(folder / "in.npz", input_0=samples, labels=np.arange(12) % 3)
    rows = "".join(f"{t},{2e-4 * (t % 7)}\n" for t in range(120))
    (folder / "lamp.csv").write_text("time_s,power_w\n" + rows)
    return Job(
        model=folder / "m.jlt",
        data=folder / "in.npz",
        trace=str(folder / "lamp.csv"),
        policies=("linear",),
        capacitor_f=1e-3,
        duration_s=120.0,
    )


def test_a_job_is_words_and_numbers(job: Job) -> None:
    again = pickle.loads(pickle.dumps(replace(job, battery_j=1.0, converter="bq25570", esr_ohm=5.0)))
    assert again == replace(job, battery_j=1.0, converter="bq25570", esr_ohm=5.0)


def test_the_energy_path_is_what_the_options_say(job: Job) -> None:
    plain = make_cell(job).scenario
    assert isinstance(plain.converter, ConstantConverter)
    assert plain.converter.output_w(1e-3) == pytest.approx(0.8e-3 - 1.5e-6)
    assert isinstance(plain.storage, Capacitor)
    assert (plain.storage.capacitance_f, plain.storage.esr_ohm, plain.capacitor_f) == (1e-3, 0.0, 1e-3)
    assert plain.storage.leak_tau_s == pytest.approx(1e6 * 1e-3 / 2.0)
    other = make_cell(replace(job, converter="bq25570", esr_ohm=20.0, leakage_ohm=1e5, start_v=3.0)).scenario
    assert other.converter.band_edges_v == bq25570().band_edges_v
    assert (other.storage.esr_ohm, other.storage.voltage_v) == (20.0, 3.0)
    assert other.storage.leak_tau_s == pytest.approx(1e5 * 1e-3 / 2.0)


def test_a_battery_is_recorded_as_the_capacitor_that_holds_as_much(job: Job) -> None:
    record = run_job(replace(job, capacitor_f=None, battery_j=0.2, converter="bq25570"))[0]
    assert 0.5 * record.capacitor_f * (LOAD.max_v**2 - LOAD.off_v**2) == pytest.approx(0.2)
    assert "battery of 0.2 J" in record.provenance["stored"]
    assert "BQ25570" in record.provenance["conversion"]
    assert record.residual < 1e-6
    assert record.served > 0
    # a battery that is empty above or below brown-out holds less or more
    assert equal_capacitor_f(Battery(1.0, empty_v=1.0, full_v=3.6), LOAD) == pytest.approx(
        2.0 * (1.0 - 0.8 / 2.6) / (3.6**2 - 1.8**2)
    )


@pytest.mark.parametrize("options", [{}, {"converter": "bq25570"}, {"converter": "bq25570", "esr_ohm": 10.0}])
def test_a_store_by_inferences_holds_them_at_what_they_take_at_worst(job: Job, options: dict[str, object]) -> None:
    cell = make_cell(replace(job, capacitor_f=None, store_inferences=5.0, **options))  # type: ignore[arg-type]
    w8 = cell.context.path_names.index("w8")
    assert cell.context.full_j / cell.context.step_j[w8][0][-1] == pytest.approx(5.0)
    assert cell.context.full_j == pytest.approx(cell.supply.full_j - cell.supply.off_j)
    s = cell.scenario
    world = Supply(s.harvester, s.converter, s.storage, s.load, s.duration_s)
    assert world.dearness == pytest.approx(1.0) if not options else world.dearness > 1.05


@pytest.mark.parametrize("options", [{}, {"converter": "bq25570"}, {"efficiency": 0.5, "quiescent_w": 2e-5}])
def test_a_harvest_ratio_compares_what_arrives_with_what_is_taken(job: Job, options: dict[str, object]) -> None:
    for ratio in (0.3, 3.0):
        cell = make_cell(replace(job, harvest_ratio=ratio, **options))  # type: ignore[arg-type]
        s = cell.scenario
        prepared = prepare_model(job.model, job.data, job.board, job.cache)
        run_w = LOAD.clock_hz * LOAD.energy_pj_per_cycle * 1e-12
        top_v = 3.55  # in the highest band that a store of 3.6 V reaches
        lengths_s = np.diff(np.append(cell.supply.segment_s, cell.supply.duration_s))
        arrives_w = np.dot([s.converter.output_w(w, top_v) for w in cell.supply.harvest_w], lengths_s) / lengths_s.sum()
        asked_w = full_depth_j(prepared.costs, prepared.board) * s.converter.draw_w(run_w, top_v) / run_w
        assert arrives_w == pytest.approx(ratio * asked_w, rel=1e-6)


def test_a_threshold_of_the_converter_does_not_mislead_the_scale() -> None:
    # below 15 µW nothing passes: what arrives jumps where samples cross it
    powers_w = np.concatenate([np.full(50, 1e-6), np.full(5, 5e-3), np.geomspace(1e-6, 1e-3, 45)])
    trace = TraceHarvester(np.arange(100.0), powers_w)
    converter = bq25570()
    for mean_w in (1e-7, 1e-6, 3e-5, 1e-3):
        scale = scale_for(trace, converter, mean_w)

        def mean(factor: float) -> float:
            return float(np.mean([converter.output_w(w * factor) for w in powers_w]))

        assert mean(scale) >= mean_w * (1.0 - 1e-8)
        assert mean(scale * (1.0 - 1e-6)) <= mean_w * (1.0 + 1e-8)
    with pytest.raises(DataError, match="no power"):
        scale_for(TraceHarvester(np.arange(3.0), np.zeros(3)), converter, 1e-6)


@pytest.mark.parametrize(
    ("trace", "family"),
    [
        ("constant:200uW", "synthetic"),
        ("markov:levels=0W/2mW,stay=0.9,step=1s,duration=100s,seed=1", "synthetic"),
        ("solar:lat=0,lon=0,date=2024-03-20,area=1cm2,step=10min", "solar"),
    ],
)
def test_a_source_by_its_spec(job: Job, trace: str, family: str) -> None:
    record = run_job(replace(job, trace=trace, duration_s=400.0))[0]
    assert (record.trace, record.family) == (trace, family)
    assert record.arrived == 400
    source = load_harvester(trace)
    starts_s, power_w = segments(source, 100.0)
    expected = np.dot(power_w, np.diff(np.append(starts_s, 100.0)))
    assert record.energy_nj["harvested"] * 1e-9 >= 0.9 * expected


def test_families_of_files() -> None:
    def named(name: str, seconds: float = 100.0) -> TraceHarvester:
        return TraceHarvester(np.array([0.0, seconds / 2.0]), np.ones(2), name=name)

    assert guess_family(named("mementos_rf_01.csv.gz")) == "rf"
    assert guess_family(named("capsimu_solar_indoor_moving.csv.gz")) == "indoor"
    assert guess_family(named("surfrad_alamosa.csv")) == "solar"
    assert guess_family(named("anything.csv", 86400.0)) == "solar"
    assert guess_family(named("wheel.h5")) == "recorded"
    assert name_of("/x/rf.csv.gz", named("rf.csv.gz")) == "rf"
    assert name_of("/x/rec.h5", named("rec.h5")) == "rec"


def test_a_recording_of_shepherd_is_a_trace(job: Job, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "jogging.h5", "w") as file:
        file.attrs["mode"] = "harvester"
        data = file.create_group("data")
        data.attrs["datatype"], data.attrs["window_samples"] = "ivsample", 0
        for key, values, gain in (("time", np.arange(60) * 1_000_000_000, 1e-9), ("voltage", np.full(60, 2000), 1e-3),
                                  ("current", np.arange(60) * 10, 1e-6)):  # fmt: skip
            data.create_dataset(key, data=values.astype("u8" if key == "time" else "u4"))
            data[key].attrs["gain"], data[key].attrs["offset"] = gain, 0.0
    record = run_job(replace(job, trace=str(tmp_path / "jogging.h5"), duration_s=None))[0]
    assert (record.trace, record.family) == ("jogging", "recorded")
    assert record.arrived == 3600  # a minute, again and again
    assert record.energy_nj["harvested"] == pytest.approx(60 * np.sum(np.arange(60) * 2e-5) * 1e9, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacitor_f": None}, "a store is needed"),
        ({"battery_j": 1.0}, "a store is needed, one of"),
        ({"store_inferences": 2.0}, "a store is needed, one of"),
        ({"capacitor_f": None, "battery_j": 1.0, "leakage_ohm": 1e6}, "leakage belongs to a capacitor"),
        ({"converter": "spv1050"}, "no converter 'spv1050'"),
        ({"converter": "bq25570", "efficiency": 0.9}, "the constant converter"),
        ({"trace": "constant:1mW", "duration_s": None}, "has no end"),
        ({"train": ("constant:1mW",)}, "constant:1mW.*has no end"),
        ({"esr_ohm": 1e5}, "cannot bear the running board"),
    ],
)
def test_jobs_that_contradict_themselves(job: Job, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_cell(replace(job, **changes))  # type: ignore[arg-type]


def command(job: Job, *more: str) -> list[str]:
    return ["simulate", str(job.model), "--data", str(job.data), "--policy", "fixed,linear", *more]


def test_simulate_takes_the_options_of_run(job: Job, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = command(job, "--trace", job.trace, "constant:300uW", "--duration", "100s", "--cache", str(tmp_path), "--json",
                    "--battery", "100mJ,1J", "--converter", "bq25570", "--esr", "2ohm", "--start-voltage", "3V")  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 2 * 2 * 2
    assert {entry["trace"] for entry in found} == {"lamp", "constant:300uW"}
    stored = {entry["provenance"]["stored"].split(",")[0] for entry in found}
    assert stored == {"modelled: battery of 0.1 J", "modelled: battery of 1 J"}
    assert all("BQ25570" in entry["provenance"]["conversion"] for entry in found)
    assert main([*words[: words.index("--json")], "--battery", "1J"]) == 0
    assert "as a battery" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--converter", "spv1050"], "no converter 'spv1050'"),
        (["--battery", "4mF"], "--battery"),
        (["--battery", "1J", "--leakage", "1Mohm"], "leakage belongs to a capacitor"),
        (["--esr", "1V"], "--esr"),
        (["--trace", "constant:1mW"], "has no end"),
        (["--trace", "nowhere.csv"], "nowhere.csv"),
        (["--capacitor", "1mF,2mJ"], "--capacitor"),
    ],
)
def test_mistakes(job: Job, capsys: pytest.CaptureFixture[str], more: list[str], word: str) -> None:
    assert main(command(job, "--trace", job.trace, "--no-oracle", *more)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("joulet: error: ")
    assert word in error


def test_stores_exclude_each_other(job: Job) -> None:
    for more in (["--battery", "1J"], ["--store-inferences", "5"]):
        with pytest.raises(SystemExit, match="2"):
            main(command(job, "--trace", job.trace, "--capacitor", "1mF", *more))
