# SPDX-License-Identifier: Apache-2.0
"""From a .tflite file to a container on the C engine, by Python and by command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tflite_build import ModelBuilder

from joulet.compile import compile_model
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.errors import DataError, UsageError
from joulet.exits.attach import as_classifier, attach_exits
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph, with_exit
from joulet.quant.on_engine import execute_on_engine
from joulet.tools.main import main


def data(n: int = 160) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    x = rng.normal(0, 50, (n, 12, 12, 2)) + np.array([-90, -30, 30, 90])[np.arange(n) % 4, None, None, None]
    return {"input_0": np.clip(x, -128, 127).astype(np.int8), "labels": np.arange(n) % 4}


@pytest.fixture(scope="module")
def residual(models: Path) -> Path:
    return models / "residual_int8.tflite"


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(6)
    net = ModelBuilder("float fully_connected, softmax")
    x, hidden, logits, y = (
        net.tensor(name, (1, width), "FLOAT32") for name, width in zip("xhly", (6, 8, 3, 3), strict=True)
    )
    first = net.tensor("w0", (8, 6), "FLOAT32", data=rng.normal(0, 1, (8, 6)).astype(np.float32))
    second = net.tensor("w1", (3, 8), "FLOAT32", data=rng.normal(0, 1, (3, 8)).astype(np.float32))
    net.op("FULLY_CONNECTED", (x, first, -1), (hidden,), "FullyConnectedOptions", FusedActivationFunction=1)
    net.op("FULLY_CONNECTED", (hidden, second, -1), (logits,), "FullyConnectedOptions", FusedActivationFunction=0)
    net.op("SOFTMAX", (logits,), (y,), "SoftmaxOptions", Beta=1.0)
    path = tmp_path / "float.tflite"
    path.write_bytes(net.finish((x,), (y,)))
    return path


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


def test_labels_make_a_classifier_of_a_plain_vector(models: Path) -> None:
    rng = np.random.default_rng(0)
    graph = load_tflite(models / "dense_int8.tflite")
    plain = replace(graph, ops=graph.ops[:-1], outputs=(graph.ops[-1].inputs[0],))
    assert as_classifier(with_exit(plain)).exits[-1].n_classes == 10
    x = rng.integers(-128, 128, (200, 24), dtype=np.int8)
    attached = attach_exits(execute_on_engine, plain, {plain.inputs[0]: x}, np.arange(200) % 10, exits=1)
    own = plain.tensors[plain.outputs[0]].quant
    assert [e.n_classes for e in attached.graph.exits] == [10, 10, 10]
    assert all(attached.graph.tensors[e.output].quant == own for e in attached.graph.exits)


def test_a_float_model_is_quantised_and_keeps_its_borders(float_model: Path) -> None:
    x = np.random.default_rng(0).normal(0, 1, (64, 6)).astype(np.float32)
    result = compile_model(float_model, data={"input_0": x}, exits="off")
    answers = HostEngine(result.container).infer([x], path="w8").outputs[0]
    assert answers.dtype == np.float32
    assert any("quantised to int8 here" in note for note in result.report.notes)
    with pytest.raises(UsageError, match="is float"):
        compile_model(float_model)


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


def test_groups_of_the_wrong_length_are_refused(models: Path) -> None:
    data = {"input_0": np.zeros((4, 12, 12, 2), np.int8), "labels": np.zeros(4, np.int64), "groups": np.arange(3)}
    with pytest.raises(DataError, match="groups"):
        compile_model(models / "residual_int8.tflite", data=data)
