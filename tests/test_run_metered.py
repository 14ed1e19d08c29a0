# SPDX-License-Identifier: Apache-2.0
"""``joulet run --meter``: options, run folder, exit codes; the machine around it is a program, the engines are real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edge_world import World
from meter_trees import plant
from test_knobs import BOOT, PI5, clocks
from test_litert_ladder import rung, samples

import joulet
from joulet.tools.main import build_parser, main
from joulet.tools.run_metered import run_metered

ROOT = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with two exits and three precisions, and inputs beside it."""
    folder = tmp_path_factory.mktemp("metered")
    source = ROOT / "models" / "residual_int8.tflite"
    plain = joulet.HostEngine(joulet.compile_model(source, exits="off").container)
    shape = plain.inputs[0].shape[1:]
    x = np.random.default_rng(1).integers(-128, 128, (40, *shape)).astype(np.int8)
    np.savez(folder / "in.npz", input_0=x, labels=np.zeros(40, np.int64))
    path = folder / "m.jlt"
    path.write_bytes(joulet.compile_model(source, exits="off").container)
    return path


def go(model: Path, world: World, out: Path, *words: str) -> int:
    args = build_parser("run").parse_args(
        ["run", str(model), "--input", str(model.parent / "in.npz"), "--out", str(out), "--rate", "5", *words]
    )
    return run_metered(args, world.machine())


def test_a_cap_is_kept_and_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path / "root", {}, idle_w=2.0)
    words = ("--meter", "rapl", "--power-cap", "3W", "--duration", "20s", "--window", "5s", "--period", "500ms")
    assert go(model, world, tmp_path / "out", *words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cap"]["steps"] == [[0.0, 3.0]]
    assert told["cap"]["mean_w"] == pytest.approx(2.0, rel=1e-3)
    assert told["cap"]["over_j"] == 0.0
    assert told["kept"] is True
    assert told["measured_j"] == pytest.approx(40.0, rel=1e-3)
    assert told["estimated_j"] == 0.0
    assert told["provenance"] == ["measured: RAPL of the processor (on some a model of its maker)"]
    assert sum(point["chosen"] for point in told["points"]) == told["answered"] == 40
    assert {point["name"] for point in told["points"]} >= {"w8@last", "w4@last"} or len(told["points"]) >= 2
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert len(events) == 40
    assert {event["status"] for event in events} == {"on_time"}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["measured_j"] == told["measured_j"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["options"]["power_cap"] == "3W"
    # another run may take the folder, and text says the same
    assert go(model, world, tmp_path / "out", *words) == 0
    assert "3 W over 5 s: kept" in capsys.readouterr().out


def test_a_cap_that_cannot_be_kept_is_exit_code_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path / "root", {}, idle_w=2.0)
    assert go(model, world, tmp_path / "out", "--meter", "rapl", "--power-cap", "1W", "--duration", "15s") == 1
    said = capsys.readouterr().out
    assert "NOT KEPT" in said
    assert "idle power alone is above the cap" in said


def test_the_clock_is_turned_and_put_back(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path / "root", {}, idle_w=2.0)
    plant(world.root, {**PI5, **BOOT})
    words = ("--meter", "rapl", "--power-cap", "3W", "--duration", "5s", "--window", "2s", "--dvfs", "--json")
    assert go(model, world, tmp_path / "out", *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["knob"] == "cpufreq"
    assert any(point["name"].endswith("/1500MHz") and point["chosen"] for point in told["points"])
    assert clocks(world.root) == {"policy0": "2400000"}


def test_a_ladder_and_its_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs joulet[tflite]")
    small, large = rung(tmp_path, "small", 4), rung(tmp_path, "large", 64)
    np.savez(tmp_path / "in.npz", input_0=samples(9))
    words = ["run", str(small), "--engine", f"litert:{large}", "--input", str(tmp_path / "in.npz"), "--out", str(tmp_path / "o"),
             "--meter", "simulated:5W", "--power-cap", "6W", "--period", "20ms", "--duration", "1500ms", "--window", "1s",
             "--idle", "100ms", "--threads", "1,2"]  # fmt: skip
    assert main([*words, "--accuracy", "0.7,0.9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [point["name"] for point in told["points"]] == ["small/1t", "small/2t", "large/1t", "large/2t"]
    assert [point["value"] for point in told["points"]] == [0.7, 0.7, 0.9, 0.9]
    assert sum(point["chosen"] for point in told["points"][2:]) > 40
    assert main([*words, "--accuracy", "0.7"]) == 2
    assert "one number above 0 and up to 1 for each of the 2 files" in capsys.readouterr().err


def test_a_meter_that_is_lost_leaves_what_was_done(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path / "root", {}, idle_w=2.0)
    world.at[10.0] = lambda: setattr(world, "gone", True)
    words = ("--meter", "rapl", "--power-cap", "3W", "--duration", "20s", "--window", "5s", "--period", "500ms")
    assert go(model, world, tmp_path / "out", *words) == 1
    said = capsys.readouterr()
    assert "was lost" in said.err
    assert f"What was done until then is in {tmp_path / 'out'}" in said.err
    assert "joules" in said.out or " J" in said.out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert 14 <= summary["arrived"] < 25
    assert summary["ended"] in said.err
    assert "was lost" in (tmp_path / "out" / "report.html").read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["files"]) == {"events.jsonl", "ledger.json", "report.html", "run.json.gz", "summary.json"}


def test_what_does_not_go_together(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["run", str(model), "--input", str(model.parent / "in.npz"), "--out", str(tmp_path / "out")]
    cap = ["--power-cap", "3W"]
    for words, reason in (
        ([], "give --trace and --policy, or --meter"),
        (["--trace", "constant:1mW", "--policy", "linear", *cap], "--power-cap goes with --meter"),
        (["--meter", "simulated:1W", *cap, "--trace", "constant:1mW"], "--trace belongs to a run without --meter"),
        (["--meter", "simulated:1W"], "say what to keep to"),
        (["--meter", "simulated:1W", *cap, "--engine", "virtual:virtual_m4"], "goes with host and litert"),
        (["--meter", "simulated:1W", *cap, "--threads", "2"], "belong to --engine litert"),
        (["--meter", "simulated:1W", "--budget-j", "5"], "--budget-j and --horizon belong together"),
        (["--meter", "hwmon:none", *cap], "no hwmon device of that name"),
        (["--meter", "simulated:1W", *cap, "--threads", "0"], "--threads 0"),
    ):
        assert main([*base, *words]) == 2, words
        assert reason in capsys.readouterr().err, words
    assert not (tmp_path / "out").exists()
