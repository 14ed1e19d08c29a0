# SPDX-License-Identifier: Apache-2.0
"""``joulet run`` from files to a run folder, and one clear line for every mistake."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from joulet.compile import compile_model
from joulet.report import read
from joulet.tools.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled model, samples and a trace."""
    folder = tmp_path_factory.mktemp("run")
    model = (resources.files("joulet.demo") / "watch_int8.tflite").read_bytes()
    result = compile_model(model, exits="off", precisions=("w8", "w4"))
    (folder / "m.jlt").write_bytes(result.container)
    from joulet.engine.host import HostEngine

    shape = HostEngine(result.container).inputs[0].shape[1:]
    samples = np.random.default_rng(0).integers(-128, 128, (5, *shape), dtype=np.int8)
    np.savez(folder / "in.npz", input_0=samples, labels=np.arange(5))
    np.savez(folder / "plain.npz", input_0=samples)
    np.savez(folder / "odd.npz", input_0=samples, labels=np.arange(4))
    rows = "".join(f"{t},{0.002 if t < 40 else 0}\n" for t in range(60))
    (folder / "t.csv").write_text("time_s,power_w\n" + rows)
    (folder / "nan.csv").write_text("time_s,power_w\n0,1\n1,nan\n")
    return folder


def command(files: Path, out: Path, *more: str, trace: str = "t.csv", samples: str = "in.npz") -> list[str]:
    return ["run", str(files / "m.jlt"), "--input", str(files / samples), "--trace", str(files / trace),
            "--out", str(out), *more]  # fmt: skip


def test_leaves_a_whole_run_folder(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r"
    assert main(command(files, out, "--policy", "linear", "--json", "--seed", "3")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["summary"]["arrived"] == 60
    assert result["summary"]["served"] > 0
    assert result["ledger_closes"] is True
    names = {path.name for path in out.iterdir()}
    assert names == {"manifest.json", "events.jsonl", "ledger.json", "summary.json", "run.json.gz", "report.html"}
    about = json.loads((out / "manifest.json").read_text())
    for name, digest in about["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [event["index"] for event in events] == list(range(60))
    assert read(out / "run.json.gz").summary.arrived == 60
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_the_same_command_gives_the_same_bytes(files: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(command(files, tmp_path / name, "--policy", "threshold", "--capacitor", "1mF")) == 0
    for name in ("events.jsonl", "ledger.json", "run.json.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_replaces_an_earlier_run_but_nothing_else(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    for policy in ("fixed", "linear"):
        assert main(command(files, out, "--policy", policy, samples="plain.npz")) == 0
    assert json.loads((out / "summary.json").read_text())["policy"] == "linear"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert main(command(files, mine, "--policy", "fixed")) == 2
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--policy", "nope"], "no policy 'nope'"),
        (["--policy", "fixed:w9"], "no path 'w9'"),
        (["--policy", "fixed", "--capacitor", "4.7mV"], "--capacitor"),
        (["--policy", "fixed", "--board", "arduino"], "no board 'arduino'"),
        (["--policy", "fixed", "--period", "0s"], "--period"),
        (["--policy", "fixed", "--period", "1us"], "at most"),
        (["--policy", "fixed", "--queue", "0"], "queue"),
        (["--policy", "fixed", "--efficiency", "1.5"], "efficiency"),
        (["--policy", "fixed", "--loop"], "--duration"),
        (["--policy", "fixed", "--scale", "nan"], "scale"),
        (["--policy", "fixed", "--start-voltage", "9V"], "initial voltage"),
        (["--policy", "fixed", "--seed", "-1"], "--seed"),
        (["--policy", "fixed", "--converter", "spv1050"], "no converter 'spv1050'"),
        (["--policy", "fixed", "--converter", "bq25570", "--efficiency", "0.9"], "the constant converter"),
        (["--policy", "fixed", "--converter", "bq25570:parts.zip"], "output voltage"),
        (["--policy", "fixed", "--converter", "bq25570:parts.zip@1.8V"], "parts.zip"),
        (["--policy", "fixed", "--battery", "4mF"], "--battery"),
        (["--policy", "fixed", "--battery", "4J", "--leakage", "1Mohm"], "leakage belongs to a capacitor"),
        (["--policy", "fixed", "--esr", "1V"], "--esr"),
        (["--policy", "fixed", "--esr", "100kohm"], "cannot bear the running board"),
    ],
)
def test_mistakes_in_options(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], word: str
) -> None:
    assert main(command(files, tmp_path / "r", *more)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("joulet: error: ")
    assert word in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("constant:2mW", ["--duration", "20s", "--converter", "bq25570", "--esr", "5ohm"]),
        ("markov:levels=0W/5mW,stay=0.9,step=1s,duration=1min,seed=1", ["--battery", "200mJ"]),
        ("solar:lat=0,lon=0,date=2024-03-20,area=1cm2,step=1h", ["--period", "1h", "--converter", "bq25570"]),
    ],
)
def test_other_sources_converters_and_stores(files: Path, tmp_path: Path, source: str, more: list[str]) -> None:
    words = command(files, tmp_path / "r", "--policy", "fixed", *more)
    words[words.index("--trace") + 1] = source
    assert main(words) == 0
    record, about = read(tmp_path / "r" / "run.json.gz"), json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert record.ledger.residual_fraction < 1e-6
    assert record.summary.served > 0
    assert about["options"]["trace"] == source
    assert about["trace"]["span_s"] is None or about["trace"]["span_s"] > 0.0
    assert ("BQ25570" in record.provenance["converter"]) == ("bq25570" in more)
    assert ("battery" in record.ledger.provenance["stored"]) == ("--battery" in more)


def test_a_battery_and_a_capacitor_exclude_each_other(files: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command(files, tmp_path / "r", "--policy", "fixed", "--capacitor", "1mF", "--battery", "1J"))


def test_mistakes_in_files(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = ((command(files, tmp_path / "r", "--policy", "fixed", trace="nan.csv"), "nan.csv: line 3"),
             (command(files, tmp_path / "r", "--policy", "fixed", samples="odd.npz"), "labels"),
             (command(files, tmp_path / "r", "--policy", "fixed", samples="none.npz"), "none.npz"),
             (command(files, tmp_path / "no" / "r", "--policy", "fixed"), "no folder"))  # fmt: skip
    for words, expected in cases:
        assert main(words) == 2
        assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
