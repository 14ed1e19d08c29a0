# SPDX-License-Identifier: Apache-2.0
"""From a .tflite file to a container on the C engine, by Python and by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from joulet.compile import compile_model
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.errors import DataError, UsageError
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph
from joulet.tools.main import main


def data(n: int = 160) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    x = rng.normal(0, 50, (n, 12, 12, 2)) + np.array([-90, -30, 30, 90])[np.arange(n) % 4, None, None, None]
    return {"input_0": np.clip(x, -128, 127).astype(np.int8), "labels": np.arange(n) % 4}


@pytest.fixture(scope="module")
def residual(models: Path) -> Path:
    return models / "residual_int8.tflite"


@pytest.fixture(scope="module")
def compiled(residual: Path):
    return compile_model(residual, data=data(), exits=2, board="nucleo_l4r5zi")


def test_the_last_exit_answers_as_the_imported_model(residual: Path, compiled) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (50, 12, 12, 2), dtype=np.int8)
    plain = HostEngine(write_container(bare_quant_graph(load_tflite(residual))))
    ours = HostEngine(compiled.container)
    np.testing.assert_array_equal(ours.infer([x], path="w8").outputs[0], plain.infer([x]).outputs[0])


def test_early_exits_and_paths_run(compiled) -> None:
    engine = HostEngine(compiled.container)
    x, labels = data()["input_0"], data()["labels"]
    assert engine.exit_names == ("exit0", "exit1", "refit", "final")
    assert {"w8", "w4", "mix", "w4>w8@0"} <= set(engine.path_names)
    for path in engine.path_names:
        answers = engine.infer([x], path=path, depth=0)
        assert (answers.exit == 0).all()
        assert (answers.outputs[0].reshape(len(x), -1).argmax(axis=1) == labels).mean() > 0.5
    shallow, deep = (int(engine.infer([x], path="w8", depth=d).macs[0]) for d in (0, "last"))
    assert shallow == compiled.report.exits[0].macs
    assert deep == compiled.report.exits[-1].macs


def test_auto_depth_spends_what_the_report_says(compiled) -> None:
    engine = HostEngine(compiled.container)
    auto = engine.infer([data()["input_0"]], path="w8", depth="auto")
    said = next(p for p in compiled.report.paths if p.name == "w8")
    assert float(auto.macs.mean()) / compiled.report.macs == pytest.approx(said.auto_macs_share, abs=0.15)


def test_the_same_input_gives_the_same_bytes(residual: Path, compiled) -> None:
    again = compile_model(residual, data=data(), exits=2, board="nucleo_l4r5zi")
    assert again.container == compiled.container


def test_without_data_the_report_says_what_is_bare(residual: Path) -> None:
    result = compile_model(residual)
    assert [e.name for e in result.report.exits] == ["final"]
    assert any("w4 and mix are bare" in note for note in result.report.notes)
    assert any("no exits attached" in note for note in result.report.notes)


def test_what_needs_data_is_refused_without(residual: Path) -> None:
    with pytest.raises(UsageError, match="need calibration data"):
        compile_model(residual, exits=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_0": np.zeros((4, 12, 12, 3), np.int8)}, "has shape"),
        ({"input_0": np.zeros((4, 12, 12, 2), np.float32)}, "float32; the model takes int8"),
        ({"input_0": np.zeros((0, 12, 12, 2), np.int8)}, "no samples"),
        ({"labels": np.zeros(3, np.int64)}, "one class a sample"),
        ({"labels": np.zeros(160)}, "one class a sample"),
        ({"labels": np.full(160, -1)}, "classes start at 0"),
        ({"labels": np.full(160, 4)}, "labels must be"),
    ],
)
def test_data_that_does_not_fit_is_named(residual: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        compile_model(residual, data={**data(), **change}, exits=1, precisions=("w8",))
    with pytest.raises(DataError, match="input_0 is missing"):
        compile_model(residual, data={"x": data()["input_0"]})


def test_the_command_writes_a_container_and_one_object(residual: Path, tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "cal.npz", **data())
    target = tmp_path / "model.jlt"
    options = ["--data", str(tmp_path / "cal.npz"), "--exits", "1", "--precisions", "w8,w4", "--json"]
    assert main(["compile", str(residual), *options, "-o", str(target)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["container_bytes"] == target.stat().st_size
    assert HostEngine(target).model_hash == report["model_hash"]
    assert main(["compile", str(residual), "-o", str(target)]) == 0
    assert "note: no calibration data" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--exits", "many"],
        ["--precisions", "w8,w3"],
        ["--precisions", ""],
        ["--board", "no-such-board"],
        ["--data", "/no/such/file.npz"],
    ],
)
def test_wrong_options_are_one_line_and_leave_nothing(residual: Path, tmp_path: Path, capsys, options) -> None:
    assert main(["compile", str(residual), *options, "-o", str(tmp_path / "m.jlt")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("joulet: error: ")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_the_work(residual: Path, tmp_path: Path, capsys) -> None:
    assert main(["compile", str(residual), "-o", str(tmp_path / "no" / "m.jlt")]) == 2
    assert "make it first" in capsys.readouterr().err
    assert main(["compile", str(residual), "-o", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_damaged_archive_is_one_line(residual: Path, tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"):
        (tmp_path / "cal.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"cal\.npz"):
            compile_model(residual, data=tmp_path / "cal.npz")
