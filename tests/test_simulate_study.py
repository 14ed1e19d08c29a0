# SPDX-License-Identifier: Apache-2.0
"""A study file becomes the cells that it names, and says what is wrong with it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from report_fakes import make_record

from joulet.errors import UsageError
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.job import Job
from joulet.simulate.options import option_names
from joulet.simulate.study import Compilation, Study, load_study
from joulet.simulate.sweep import Digests, RecordsFile, events_of, job_id, left_to_do, weight

ROOT = Path(__file__).resolve().parents[1]
MODEL = '[[model]]\nname = "kws"\nfile = "kws.jlt"\ndata = "eval.npz"\nperiod = "2s"\n'
TRACE = '[[trace]]\nfile = "sun.csv"\n'
TOP = 'policies = ["shadow", "best-fixed"]\nstore_inferences = 5\n'


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with the files that the studies below name; their content is never looked at."""
    for name in ("kws.jlt", "ic.tflite", "eval.npz", "fit.npz"):
        (tmp_path / name).write_bytes(name.encode())
    time_s = np.arange(0, 600, 10)
    for name, power_w in (("sun.csv", 1e-3), ("rain.csv", 1e-4)):
        table = np.c_[time_s, np.full(len(time_s), power_w)]
        np.savetxt(tmp_path / name, table, delimiter=",", header="time_s,power_w", comments="")
    return tmp_path


def study(desk: Path, text: str) -> Study:
    (desk / "study.toml").write_text(text)
    return load_study(desk / "study.toml", models_folder=desk / "out" / "models")


def refused(desk: Path, text: str) -> str:
    with pytest.raises(UsageError) as error:
        study(desk, text)
    return str(error.value)


def test_lists_make_a_cell_of_each_of_their_values(desk: Path) -> None:
    found = study(
        desk,
        'policies = ["shadow", "linear", "best-fixed"]\narrivals = ["periodic", "poisson", "bursty"]\n'
        "harvest_ratio = [0.3, 1, 3]\nstore_inferences = [0.5, 1]\n[options]\nleakage = '2Mohm'\nseed = 4\n"
        + MODEL
        + MODEL.replace('"kws"', '"other"')
        + TRACE
        + '[[trace]]\nfile = "rain.csv"\nfamily = "solar"\nduration = "2h"\nclock_start = "7h"\ntrain = ["sun.csv"]\n',
    )
    assert len(found.jobs) == len(found.names) == 3 * 3 * 2 * 2 * 2
    assert len(set(found.jobs)) == len(found.jobs) / 2  # both models are the same file
    first, last = found.jobs[0], found.jobs[-1]
    assert (first.policies, first.arrivals) == (("shadow", "linear", "best-fixed"), "periodic:2s")
    assert (first.leakage_ohm, first.seed, first.harvest_ratio, first.store_inferences) == (2e6, 4, 0.3, 0.5)
    assert (first.model, first.data, first.trace) == (desk / "kws.jlt", desk / "eval.npz", str(desk / "sun.csv"))
    assert (last.family, last.duration_s, last.clock_start_s) == ("solar", 7200.0, 25200.0)
    assert last.train == (str(desk / "sun.csv"),)
    assert (found.names[-1].model, found.names[-1].trace) == ("other", "rain")


def test_every_field_of_a_job_is_an_option(desk: Path) -> None:
    names = option_names()
    own = {"model", "data", "trace", "cache"}
    assert set(names.values()) == {field.name for field in fields(Job)} - own
    assert names["leakage"] == names["leakage_ohm"] == "leakage_ohm"


def test_paths_are_relative_to_the_study(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk / "sub").mkdir()
    (desk / "sub" / "study.toml").write_text(
        TOP + MODEL.replace('= "kws.jlt"', '= "../kws.jlt"').replace("eval", "../eval")
    )
    with (desk / "sub" / "study.toml").open("a") as file:
        file.write('[[trace]]\nfile = "../sun.csv"\n')
    monkeypatch.chdir(desk / "sub")
    job = load_study(Path("study.toml"), models_folder=Path("m")).jobs[0]
    assert job.model.is_absolute()
    assert Path(job.trace).samefile(desk / "sun.csv")


def test_the_period_of_a_trace_wins(desk: Path) -> None:
    trace = TRACE + 'period = {kws = "30s"}\n'
    found = study(desk, 'arrivals = ["periodic", "poisson", "bursty"]\n' + TOP + MODEL + trace)
    assert [job.arrivals for job in found.jobs] == ["periodic:30s", "poisson:1/30s", "bursty:5x3s/150s"]
    assert [parse_arrivals(job.arrivals).mean_s for job in found.jobs] == pytest.approx([30.0] * 3)


def test_arrivals_may_be_written_in_full(desk: Path) -> None:
    listed = '["poisson:0.2/s", "bursty:3x{gap}/{burst}", "periodic:{period}", "bursty:4x100ms/{burst}"]'
    found = study(desk, f"arrivals = {listed}\n" + TOP + MODEL + TRACE)
    assert [job.arrivals for job in found.jobs] == [
        "poisson:0.2/s", "bursty:3x0.2s/6s", "periodic:2s", "bursty:4x100ms/8s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "mean_s"), [("poisson:1/2s", 2.0), ("poisson:3/90s", 30.0), ("poisson:1/5min", 300.0)]
)
def test_a_rate_may_be_per_any_time(spec: str, mean_s: float) -> None:
    assert parse_arrivals(spec).mean_s == pytest.approx(mean_s)


@pytest.mark.parametrize("spec", ["poisson:1/2", "poisson:1/0s", "poisson:1/-2s", "poisson:1/2parsec", "poisson:1/"])
def test_a_rate_per_nothing_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        parse_arrivals(spec)


def test_the_nearer_table_wins_and_one_store_drops_the_other(desk: Path) -> None:
    model = MODEL + 'capacitor = ["1mF", "2mF"]\ndeadline = "500ms"\n'
    found = study(desk, "[options]\nqueue = 2\n".join((TOP, model)) + TRACE + "queue = 3\n")
    assert [(job.capacitor_f, job.store_inferences) for job in found.jobs] == [(1e-3, None), (2e-3, None)]
    assert [(job.deadline_s, job.queue) for job in found.jobs] == [(0.5, 3)] * 2


def test_a_source_without_a_file_is_a_trace(desk: Path) -> None:
    found = study(desk, TOP + MODEL + '[[trace]]\nfile = "constant:200uW"\nduration = "1h"\nname = "bench"\n')
    assert (found.jobs[0].trace, found.names[0].trace) == ("constant:200uW", "bench")


def test_cells_that_look_the_same_say_in_what_they_differ(desk: Path) -> None:
    found = study(desk, "efficiency = [0.7, 0.9]\n" + TOP + MODEL + TRACE)
    assert [name.trace for name in found.names] == ["sun (efficiency=0.7)", "sun (efficiency=0.9)"]
    record = found.named(1, "linear:0.1,0.5", make_record())
    assert (record.policy, record.model, record.trace) == ("linear:0.1,0.5", "kws", "sun (efficiency=0.9)")


def test_a_model_to_compile(desk: Path) -> None:
    model = (
        '[[model]]\nname = "ic"\nfile = "ic.tflite"\ndata = "eval.npz"\nperiod = "5s"\n'
        'compile = {data = "fit.npz", exits = 3, precisions = ["w8", "w4"]}\n'
    )
    found = study(desk, TOP + model + TRACE)
    assert found.models[0].source == desk / "ic.tflite"
    assert found.models[0].compilation == Compilation(data=desk / "fit.npz", exits=3, precisions=("w8", "w4"))
    assert found.jobs[0].model == desk / "out" / "models" / "ic.jlt"


BAD = {
    "nearest name": (TOP + "[options]\nefficency = 0.8\n" + MODEL + TRACE, "did you mean efficiency?"),
    "unknown in a model": (TOP + MODEL + 'perod = "1s"\n' + TRACE, "did you mean period?"),
    "unknown in compile": (TOP + MODEL + "compile = {exit = 3}\n" + TRACE, "did you mean exits?"),
    "unknown in a trace": (TOP + MODEL + TRACE + "zzzz = 1\n", "there are "),
    "wrong unit": (TOP + MODEL + TRACE + 'duration = "3V"\n', "no unit of second"),
    "no number": (TOP + MODEL + TRACE + 'efficiency = "good"\n', "must be a number"),
    "below zero": (TOP + "leakage_ohm = -1\n" + MODEL + TRACE, "more than zero"),
    "a truth is no count": (TOP + "queue = true\n" + MODEL + TRACE, "whole number of 1 or more"),
    "queue of none": (TOP + "queue = 0\n" + MODEL + TRACE, "whole number of 1 or more"),
    "empty list": (TOP + "harvest_ratio = []\n" + MODEL + TRACE, "empty list"),
    "two stores": (TOP + 'capacitor = "1mF"\n' + MODEL + TRACE, "not both"),
    "two scales": (TOP + "scale = 2\nharvest_ratio = 1\n" + MODEL + TRACE, "not both"),
    "given twice": (TOP + 'deadline = "1s"\ndeadline_s = 2\n' + MODEL + TRACE, "are the same"),
    "at the top and in options": (TOP + "queue = 1\n[options]\nqueue = 2\n" + MODEL + TRACE, "also given at the top"),
    "no store": ('policies = ["shadow"]\n' + MODEL + TRACE, "a store is missing"),
    "no policies": ("store_inferences = 5\n" + MODEL + TRACE, "policies are missing"),
    "no such policy": ('policies = ["shadows"]\nstore_inferences = 5\n' + MODEL + TRACE, "no policy 'shadows'"),
    "no model": (TOP + TRACE, "needs one [[model]]"),
    "no trace": (TOP + MODEL, "needs one [[trace]]"),
    "no such file": (TOP + MODEL + '[[trace]]\nfile = "moon.csv"\n', "there is no file"),
    "no such past": (TOP + MODEL + TRACE + 'train = ["moon.csv"]\n', "there is no file"),
    "no container": (TOP + MODEL.replace("kws.jlt", "ic.tflite") + TRACE, "add compile"),
    "no period": (TOP + MODEL.replace('period = "2s"', "") + TRACE, "need a period"),
    "period of whom": (TOP + MODEL + TRACE + 'period = {ic = "1s"}\n', "the models are kws"),
    "bad arrivals": ('arrivals = "{perod}"\n' + TOP + MODEL + TRACE, "{period}, {gap} and {burst}"),
    "the same model twice": (TOP + MODEL + MODEL + TRACE, "two models are called"),
    "the same trace twice": (TOP + MODEL + TRACE + TRACE, "two cells are the same"),
    "no TOML": ("policies = [", "is no TOML"),
    "a name that is a path": (TOP + MODEL.replace('"kws"', '"../kws"') + TRACE, "letters, digits"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(desk: Path, name: str) -> None:
    text, said = BAD[name]
    message = refused(desk, text)
    assert said in message
    assert "study.toml" in message or "policy" in message


def test_jobs_are_known_by_what_they_are(desk: Path) -> None:
    job = study(desk, TOP + MODEL + TRACE).jobs[0]
    known = job_id(job, Digests())
    assert job_id(replace(job, policies=("linear",), cache=desk), Digests()) == known
    assert job_id(replace(job, seed=1), Digests()) != known
    moved = desk / "moved"
    moved.mkdir()
    for name in ("kws.jlt", "eval.npz", "sun.csv"):
        (moved / name).write_bytes((desk / name).read_bytes())
    there = replace(job, model=moved / "kws.jlt", data=moved / "eval.npz", trace=str(moved / "sun.csv"))
    assert job_id(there, Digests()) == known
    (moved / "sun.csv").write_text("time_s,power_w\n0,1\n1,1\n")
    assert job_id(there, Digests()) != known


def test_larger_jobs_weigh_more(desk: Path) -> None:
    job = study(desk, TOP + MODEL + TRACE).jobs[0]
    assert events_of(job) == 1800  # an hour of a shorter recording
    assert weight(replace(job, duration_s=7200.0)) > weight(job) > weight(replace(job, policies=("shadow",)))
    assert weight(replace(job, trace="constant:1uW")) == 0.0  # endless: the job itself will say so


def test_records_survive_a_cut(tmp_path: Path) -> None:
    file = RecordsFile(tmp_path / "records.jsonl")
    assert file.read().records == {}
    one, two = make_record("shadow"), make_record("linear")
    file.append("a", {"shadow": one, "linear": two})
    assert dict(file.read().records) == {("a", "shadow"): one, ("a", "linear"): two}
    whole = file.path.read_bytes()
    for cut in (1, 30, len(whole) // 2, len(whole) - 3):
        file.path.write_bytes(whole[:cut])
        kept = file.read()
        assert kept.damaged == 1 or kept.records
        file.append("b", {"shadow": one})
        after = file.read()
        assert after.records == {**kept.records, ("b", "shadow"): one}


def test_only_what_is_missing_is_done(desk: Path) -> None:
    job = study(desk, TOP + MODEL + TRACE).jobs[0]
    kept = {("a", "shadow"): make_record(), ("b", "shadow"): make_record(), ("b", "best-fixed"): make_record()}
    assert left_to_do([("a", job), ("b", job), ("c", job)], kept) == [
        ("a", replace(job, policies=("best-fixed",))),
        ("c", job),
    ]


def test_the_study_of_the_price_is_as_large_as_it_says(tmp_path: Path) -> None:
    """Two models, eleven traces, five stores, three ratios, three processes: 990 cells."""
    text = (ROOT / "tests" / "studies" / "price.toml").read_text()
    (tmp_path / "traces").mkdir()
    for name in ("kws_fit.npz", "kws_eval.npz", "ic_fit.npz", "ic_eval.npz"):
        (tmp_path / name).touch()
    for name in ("kws_ref_model_int8.tflite", "ic_resnet8_int8.tflite"):
        (tmp_path / name).touch()
    for word in text.split('"'):
        if word.startswith("traces/"):
            (tmp_path / word).touch()
    found = study(tmp_path, text)
    assert len(found.jobs) == 990
    assert {job.family for job in found.jobs} == {"solar", "rf", "indoor"}
    for job in found.jobs:
        assert job.trace not in job.train
        assert len(job.train) == {"rf": 5}.get(job.family or "", len(job.train))
