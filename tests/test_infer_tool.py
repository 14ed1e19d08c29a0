# SPDX-License-Identifier: Apache-2.0
"""``joulet inspect`` and ``joulet infer``: answers, one clear line for bad input, nothing written half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_inputs

from joulet.container.assemble import without_low_planes
from joulet.tools.main import main

GOLDEN = Path(__file__).resolve().parent / "golden" / "containers" / "v1"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    path = tmp_path / "in.npz"
    np.savez(path, input_0=tiny_inputs(), labels=np.zeros(8, np.int64))
    return path


def _infer(model: Path, source: Path, target: Path, *more: str) -> int:
    return main(["infer", str(model), "--input", str(source), "--output", str(target), *more])


@pytest.mark.parametrize(
    ("precision", "depth", "key"), [("w8", "last", "w8/1"), ("w4", "0", "w4/0"), ("w4>w8@0", "final", "w4>w8@0/1")]
)
def test_infer_answers_like_the_golden_run(
    clips: Path, tmp_path: Path, precision: str, depth: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.npz"
    assert _infer(GOLDEN / "tiny.jlt", clips, out, "--precision", precision, "--depth", depth, "--json") == 0
    expected, found = np.load(GOLDEN / "tiny.npz"), np.load(out)
    for name in ("output_0", "confidence_q15", "macs"):
        np.testing.assert_array_equal(found[name], expected[f"{key}/{name}"])
    assert found["exit"].dtype == np.uint8
    assert json.loads(capsys.readouterr().out)["samples"] == 8


def test_auto_stops_somewhere(clips: Path, tmp_path: Path) -> None:
    assert _infer(GOLDEN / "tiny.jlt", clips, tmp_path / "o.npz", "--depth", "auto") == 0
    assert set(np.load(tmp_path / "o.npz")["exit"]) <= {0, 1}


def _bad_inputs() -> dict[str, dict[str, np.ndarray]]:
    good = tiny_inputs()
    return {
        "shape": {"input_0": good[:, :3]},
        "dtype": {"input_0": good.astype(np.float32)},
        "empty": {"input_0": good[:0]},
        "missing": {"clips": good},
        "scalar": {"input_0": np.int8(3)},  # type: ignore[dict-item]
    }


@pytest.mark.parametrize("case", _bad_inputs())
def test_bad_arrays_give_one_line_and_no_file(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "bad.npz"
    np.savez(source, **_bad_inputs()[case])
    assert _infer(GOLDEN / "tiny.jlt", source, tmp_path / "out.npz") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "input_0" in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.npz"]


def _broken_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    model, source = GOLDEN / "tiny.jlt", folder / "in.npz"
    cut, flipped, noise, text = (folder / name for name in ("cut.jlt", "flipped.jlt", "noise.npz", "a.tflite"))
    cut.write_bytes(model.read_bytes()[:5000])
    flipped.write_bytes(model.read_bytes()[:4100] + b"\xff" + model.read_bytes()[4101:])
    noise.write_bytes(b"PK\x03\x04 no archive")
    text.write_bytes(b"TFL3")
    return {
        "cut.jlt": (cut, source),
        "flipped.jlt": (flipped, source),
        "noise.npz": (model, noise),
        "a.tflite": (text, source),
        "none.jlt": (folder / "none.jlt", source),
        "none.npz": (model, folder / "none.npz"),
    }


@pytest.mark.parametrize("case", ["cut.jlt", "noise.npz", "a.tflite", "none.jlt", "none.npz"])
def test_broken_files_are_named(case: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, source = _broken_files(tmp_path)[case]
    assert _infer(model, source, tmp_path / "out.npz") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert case in lines[0] or "container" in lines[0]
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(("option", "value"), [("--precision", "w2"), ("--depth", "7"), ("--depth", "deep")])
def test_unknown_choices_list_what_there_is(
    option: str, value: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _infer(GOLDEN / "tiny.jlt", clips, tmp_path / "out.npz", option, value) == 2
    assert "w4" in capsys.readouterr().err or option == "--depth"


def test_a_failing_write_leaves_nothing(clips: Path, tmp_path: Path) -> None:
    assert _infer(GOLDEN / "tiny.jlt", clips, tmp_path / "nowhere" / "out.npz") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz"]


def test_without_low_planes_only_w4_runs(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.jlt"
    small.write_bytes(without_low_planes((GOLDEN / "tiny.jlt").read_bytes()))
    assert _infer(small, clips, tmp_path / "w4.npz", "--precision", "w4") == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "w4.npz")["output_0"], np.load(GOLDEN / "tiny.npz")["w4/1/output_0"]
    )
    assert _infer(small, clips, tmp_path / "w8.npz", "--precision", "w8") == 2
    assert "low planes" in capsys.readouterr().err


def test_inspect_shows_layers_exits_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(GOLDEN / "tiny.jlt")]) == 0
    text = capsys.readouterr().out
    for word in ("depthwise", "nested", "early", "imported", "w4>w8@0", "PLANE_LOW", "bench", "arena"):
        assert word in text
    assert main(["inspect", str(GOLDEN / "tiny.jlt"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [layer["bits"] for layer in content["layers"] if layer["bits"]] == [[8, 4]] * 4
    assert [point["macs"] for point in content["paths"][0]["points"]] == [1164, 1308]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "joulet.tools.main", "inspect", str(GOLDEN / "tiny.jlt")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_inspect_refuses_what_is_no_container(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jlt").write_bytes(b"hello")
    assert main(["inspect", str(tmp_path / "x.jlt")]) == 2
    assert "x.jlt" in capsys.readouterr().err
