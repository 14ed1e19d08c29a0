# SPDX-License-Identifier: Apache-2.0
"""``joulet sweep`` over real cells: in a pool of processes, on a real Dask cluster, interrupted, resumed, failing."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_fakes import make_study

from joulet.compile import compile_model
from joulet.errors import JouletError, MissingDependencyError, UsageError
from joulet.records import SimulationRecord
from joulet.simulate.study import load_study
from joulet.simulate.sweep import JobEnd, RecordsFile, run_study, weight
from joulet.tools.main import main
from joulet.tools.progress import Progress, left_over
from joulet.tools.workers import check_executor, dask_workers

ROOT = Path(__file__).resolve().parents[1]
TOP = 'policies = ["linear", "fixed", "best-fixed"]\narrivals = ["periodic", "bursty"]\ncapacitor = ["1mF", "4.7mF"]\n'
MODEL = '[[model]]\nname = "tiny"\nfile = "tiny.jlt"\ndata = "in.npz"\nperiod = "2s"\n'
TRACE = '[[trace]]\nfile = "lamp.csv"\nduration = "10min"\n'


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a container, its samples and a made-up trace."""
    folder = tmp_path_factory.mktemp("sweep")
    rng = np.random.default_rng(0)
    samples = rng.integers(-128, 128, (64, 12, 12, 2)).astype(np.int8)
    data = {"input_0": samples, "labels": rng.integers(0, 4, 64)}
    np.savez(folder / "in.npz", **data)
    source = ROOT / "tests" / "models" / "residual_int8.tflite"
    (folder / "residual_int8.tflite").write_bytes(source.read_bytes())
    (folder / "tiny.jlt").write_bytes(compile_model(source, data=data, exits=1, precisions=("w8", "w4")).container)
    time_s = np.arange(0, 600, 10)
    power_w = 2e-4 * np.maximum(np.sin(time_s / 60), 0)
    np.savetxt(folder / "lamp.csv", np.c_[time_s, power_w], delimiter=",", header="time_s,power_w", comments="")
    return folder


def write_study(folder: Path, text: str) -> Path:
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def sweep(*arguments: object) -> int:
    return main(["sweep", *(str(argument) for argument in arguments)])


def kept(folder: Path) -> dict[tuple[str, str], SimulationRecord]:
    found = RecordsFile(folder / "records.jsonl").read()
    assert found.damaged == 0
    return dict(found.records)


@pytest.fixture(scope="module")
def swept(desk: Path) -> Path:
    """Return the folder of a sweep through the pool, with a model that it compiled itself."""
    model = MODEL.replace("tiny.jlt", "residual_int8.tflite")
    model += 'compile = {data = "in.npz", exits = 1, precisions = ["w8", "w4"]}\n'
    study = write_study(desk, TOP + model + TRACE)
    out = desk / "pool"
    assert sweep(study, "--out", out, "--jobs", 2) == 0
    return out


def test_a_sweep_leaves_a_folder(swept: Path) -> None:
    records = kept(swept)
    assert len(records) == 4 * 3
    assert {record.model for record in records.values()} == {"tiny"}
    assert {record.policy for record in records.values()} == {"linear", "fixed", "best-fixed"}
    assert all(record.residual < 1e-3 and record.arrived > 100 for record in records.values())
    for name in ("comparison.html", "comparison.csv", "comparison.json", "study.toml", "models/tiny.jlt"):
        assert (swept / name).stat().st_size > 0
    assert len(json.loads((swept / "comparison.json").read_text())) == 12
    for line in (swept / "records.jsonl").read_text().splitlines():
        assert {"job", "spec", "policy", "trace", "capacitor_f", "arrivals", "score", "residual"} <= set(
            json.loads(line)
        )


def test_the_manifest_says_what_it_was_made_of(swept: Path) -> None:
    manifest = json.loads((swept / "manifest.json").read_text())
    assert (manifest["format"], manifest["status"], manifest["records"]) == ("joulet sweep folder 1", "complete", 12)
    digests = [manifest["study"], manifest["models"][0], manifest["models"][0]["data"], manifest["traces"][0]]
    assert all(len(each["sha256"]) == 64 for each in digests)
    assert manifest["models"][0]["compile"]["exits"] == 1
    assert (manifest["seeds"], manifest["options"]["jobs"], manifest["failed"]) == ([0], 2, [])
    assert [len(each) for each in manifest["code_sha256"]] == [64]


def test_records_of_other_code_are_kept_with_a_warning(
    swept: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("joulet.tools.sweep.code_sha256", lambda: "0" * 64)
    monkeypatch.setattr("joulet.tools.sweep._finish", lambda *_, **__: 0)
    (desk / "again.toml").write_text((swept / "study.toml").read_text())
    before = (swept / "manifest.json").read_bytes()
    assert sweep(desk / "again.toml", "--out", swept, "--resume", "--jobs", 1) == 0
    assert "may come of other code" in capsys.readouterr().err
    assert len(json.loads((swept / "manifest.json").read_text())["code_sha256"]) == 2
    (swept / "manifest.json").write_bytes(before)


def test_events_tell_every_cell(swept: Path) -> None:
    events = [json.loads(line) for line in (swept / "events.jsonl").read_text().splitlines()]
    assert {event["event"] for event in events} <= {"task_begin", "task_progress", "task_end", "log"}
    cells = [event for event in events if event["event"] == "task_progress" and event["task"] == "cells"]
    assert [event["done"] for event in cells] == [1, 2, 3, 4]
    assert all(event["total"] == 4 and event["seconds"] > 0.0 and event["eta_s"] >= 0.0 for event in cells)


def test_a_folder_is_not_overwritten(swept: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(desk / "study.toml", "--out", swept) == 2
    assert "--resume" in capsys.readouterr().err
    assert sweep(desk / "study.toml", "--out", desk) == 2
    assert "holds other files" in capsys.readouterr().err


def test_resuming_does_only_what_is_missing(swept: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (swept / "records.jsonl").read_bytes()
    longer = (desk / "study.toml").read_text().replace('"fixed", ', '"fixed", "threshold", ')
    (desk / "longer.toml").write_text(longer)
    assert sweep(desk / "longer.toml", "--out", swept, "--resume", "--jobs", 1, "--json") == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert (result["records"], result["resumed"], result["failed"]) == (16, 12, [])
    assert set(result["policies"]) == {"linear", "fixed", "threshold", "best-fixed"}
    assert all('"task": "compile' not in line for line in output.err.splitlines())
    after = (swept / "records.jsonl").read_bytes()
    assert after.startswith(before)
    added = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert [record["spec"] for record in added] == ["threshold"] * 4


def test_a_dask_cluster_gives_the_same_records(swept: Path, desk: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the package 'distributed' is not installed")
    before = {key: record for key, record in kept(swept).items() if key[1] != "threshold"}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        where = cluster.scheduler_address.replace("tcp://", "dask://")
        (desk / "same.toml").write_text((desk / "study.toml").read_text())
        assert sweep(desk / "same.toml", "--out", desk / "dask", "--executor", where) == 0
    assert kept(desk / "dask") == before


def test_slices_share_a_folder(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(desk, TOP.replace('"linear", "fixed", "best-fixed"', '"fixed"') + MODEL + TRACE)
    for part in (1, 2):
        assert sweep(study, "--out", tmp_path / "out", "--slice", f"{part}/2", "--resume", "--jobs", 1, "--json") == 0
        result = json.loads(capsys.readouterr().out)
        assert result["chosen"] == 2
    assert result["records"] == len(kept(tmp_path / "out")) == 4


def test_a_failed_cell_does_not_take_the_others_with_it(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    top = 'policies = ["fixed", "linear"]\ncapacitor = "1mF"\nstart_v = ["3V", "99V"]\n'
    study = write_study(desk, top + MODEL + TRACE)
    assert sweep(study, "--out", tmp_path / "out", "--jobs", 1, "--json") == 1
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["records"] == 2
    assert [failure["fields"]["start_v"] for failure in result["failed"]] == [99.0]
    assert "99" in result["failed"][0]["error"]
    logs = [json.loads(line) for line in output.err.splitlines() if '"log"' in line]
    assert any(log["level"] == "error" and log["fields"]["start_v"] == 99.0 for log in logs)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "failed"
    study = write_study(desk, top.replace('["3V", "99V"]', '"3V"') + MODEL + TRACE)
    assert sweep(study, "--out", tmp_path / "out", "--jobs", 1, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["records"] == 2


def start(study: Path, out: Path) -> subprocess.Popen[str]:
    """Return a sweep in a process group of its own, once it has kept a record."""
    command = [sys.executable, "-m", "joulet.tools.main", "sweep", str(study), "--out", str(out), "--jobs", "1"]
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell that started these tests in the background has told them to ignore interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    records = out / "records.jsonl"
    for _ in range(1200):
        if records.is_file() and records.stat().st_size:
            return running
        time.sleep(0.05)
    running.kill()
    raise AssertionError(f"no record after 60 s: {running.communicate()[1]}")


def alive(group: int) -> list[str]:
    """Return the processes of a group that run; given a moment to end."""
    found: list[str] = []
    for _ in range(100):
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # gone meanwhile
            if int(pgrp) == group and state != "Z":
                found.append(stat.parent.name)
        if not found:
            break
        time.sleep(0.05)
    return found


MANY = "capacitor = [" + ", ".join(f'"{size}mF"' for size in range(1, 41)) + "]\n"


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_killed_outright_it_leaves_no_worker(desk: Path, tmp_path: Path) -> None:
    study = write_study(desk, 'policies = ["fixed", "linear", "best-fixed"]\n' + MANY + MODEL + TRACE)
    running = start(study, tmp_path / "out")
    running.kill()
    running.communicate(timeout=60)
    assert not alive(running.pid), "a worker was left behind"
    assert RecordsFile(tmp_path / "out" / "records.jsonl").read().records


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_loses_nothing_that_ended(desk: Path, tmp_path: Path, how: signal.Signals) -> None:
    top = 'policies = ["fixed", "linear", "best-fixed"]\n'
    study = write_study(desk, top + MANY + MODEL + TRACE)
    out = tmp_path / "out"
    running = start(study, out)
    os.kill(running.pid, how)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert "--resume goes on" in said
    found = kept(out)
    assert 0 < len(found) < 120
    assert len(found) % 3 == 0
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    assert not alive(running.pid), "a worker was left behind"
    write_study(desk, top + 'capacitor = ["1mF", "2mF"]\n' + MODEL + TRACE)
    assert sweep(study, "--out", out, "--jobs", 1, "--resume") == 0


def test_the_dry_run_touches_nothing(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(desk, TOP + MODEL + TRACE)
    assert sweep(study, "--out", tmp_path / "out", "--dry-run") == 0
    assert "4 of 4 cells, 12 records, 1,200 events" in capsys.readouterr().out
    assert sweep(study, "--out", tmp_path / "out", "--dry-run", "--json", "--slice", "1/2") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["cells"], plan["of"], plan["jobs"][0]["events"]) == (2, 4, 300)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--slice", "0/3"], ["--slice", "4/3"], ["--slice", "9/9"], ["--jobs", "0"], ["--executor", "dask://here"]],
)
def test_wrong_options_are_usage_errors(desk: Path, tmp_path: Path, arguments: list[str]) -> None:
    study = write_study(desk, TOP + MODEL + TRACE)
    assert sweep(study, "--out", tmp_path / "out", *arguments) == 2
    assert not (tmp_path / "out").exists()


def test_executors_are_checked() -> None:
    assert check_executor("local") is None
    assert check_executor("dask://10.0.0.1:8786") == "tcp://10.0.0.1:8786"
    assert check_executor("dask://[::1]:8786") == "tcp://[::1]:8786"
    for spec in ("dask", "dask://:1", "ray://here:1", "dask://host:port"):
        with pytest.raises(UsageError, match="dask://HOST:PORT"):
            check_executor(spec)


def test_a_cluster_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"joulet\[cluster\]"), dask_workers("tcp://127.0.0.1:1"):
        pass


class Recording(ThreadPoolExecutor):
    """Any executor will do; this one remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[float] = []

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.given.append(weight(args[0]))
        return super().submit(fn, *args, **kwargs)


def test_any_executor_runs_a_study_the_largest_job_first(desk: Path) -> None:
    study = write_study(desk, 'policies = ["fixed"]\ncapacitor = "1mF"\nduration = ["5min", "10min"]\n' + MODEL)
    with study.open("a") as file:
        file.write('[[trace]]\nfile = "lamp.csv"\n')
    jobs = load_study(study, models_folder=desk).jobs
    ends: list[JobEnd] = []
    with Recording() as executor:
        records = run_study(jobs, executor, ends.append)
    assert executor.given == sorted(executor.given, reverse=True)
    assert [record.arrived for record in records] == [150, 300]
    assert [end.index for end in ends] == [1, 0]


def test_without_anyone_to_tell_a_failure_is_raised(desk: Path) -> None:
    job = load_study(write_study(desk, TOP + MODEL + TRACE), models_folder=desk).jobs[0]
    jobs = [replace(job, policies=("fixed",)), replace(job, policies=("fixed",), trace="nowhere.csv")]
    with Recording() as executor, pytest.raises(JouletError, match=r"1 of 2 jobs failed.*nowhere\.csv"):
        run_study(jobs, executor)


class Broken(Executor):
    """Loses its worker at once."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        future.set_exception(RuntimeError("the worker is gone"))
        return future


def test_a_lost_worker_is_a_failed_job(desk: Path) -> None:
    jobs = load_study(write_study(desk, TOP + MODEL + TRACE), models_folder=desk).jobs
    ends: list[JobEnd] = []
    assert run_study(jobs, Broken(), ends.append) == []
    assert [dict(end.errors) for end in ends] == [{"": "RuntimeError: the worker is gone"}] * 4


def test_the_summary_of_the_price_judges_every_target(tmp_path: Path) -> None:
    file = RecordsFile(tmp_path / "records.jsonl")
    for record in make_study(days=3, stores=(1.0, 20.0), arrivals=("periodic:6min",), models=("kws",)):
        file.append("old", {record.policy: record})
        key = f"{record.trace} {record.store_inferences} {record.harvest_ratio}"
        file.append(key, {record.policy: replace(record, residual=1e-4)})
    spec = importlib.util.spec_from_file_location("price_summary", ROOT / "tests" / "studies" / "price_summary.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    found = tool.summarise(tool.newest(file.read().records.values()))
    assert (found["cells"], found["largest_residual"]) == (5 * 2 * 3, 1e-4)
    assert set(found["pct_of_oracle_energy"]) == {"solar", "rf", "indoor"}
    judged = {target: met for target, met in found["met"].items() if met is not None}
    assert "shadow >= 97 % of oracle-energy, solar, stores >= 5" in judged
    assert sum("ahead of" in target for target in judged) == 8
    assert json.loads(json.dumps(found)) == found
    said = tool.text(found)
    assert "PASS" in said
    assert all(target in said for target in found["met"])


def test_progress_on_a_terminal_is_one_line() -> None:
    stream, now = io.StringIO(), iter(np.arange(0.0, 100.0, 0.4))
    with Progress(stream, live=True, clock=lambda: float(next(now))) as progress:
        progress.begin("cells", 10)
        for done in range(1, 11):
            progress.advance("cells", done, 10)
        progress.log("warning", "a line of its own")
    said = stream.getvalue()
    assert "\rcells" not in said.replace("\r\x1b[K", "")
    assert said.count("\n") == 1
    assert said.count("cells ") < 10  # not at every step


def test_what_is_left_is_told_when_something_was_done() -> None:
    assert left_over(10.0, 0.0, 5.0) == (None, "")
    assert left_over(10.0, 1.0, 5.0) == (40.0, ", about 40 s left")
    assert left_over(50.0, 5.0, 5.0) == (0.0, "")
