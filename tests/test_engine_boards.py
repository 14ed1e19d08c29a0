# SPDX-License-Identifier: Apache-2.0
"""The same bytes from the C engine on this machine, on virtual boards and under QEMU."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from board_tools import MODELS, container, need_board, need_qemu, plain_container, samples

import joulet
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.engine.board import BoardEngine
from joulet.errors import DataError, LinkError, UsageError
from joulet.firmware.build import build_firmware
from joulet.tools.engines import open_engine
from joulet.tools.main import main

INPUTS = {"virtual": 32, "qemu": 6}  # tests/studies/matrix.py does all of it
VIRTUAL = ("virtual:virtual_m4", "virtual:virtual_m0plus")
QEMU = (
    "qemu:qemu_mps2_an385",
    "qemu:qemu_mps2_an386",
    "qemu:qemu_mps2_an505",
    "qemu:qemu_mps3_an547",
    "qemu:qemu_riscv32_virt",
)
SAME_IMAGE = ("qemu:virtual_m4", "qemu:virtual_m0plus")
OTHERS = sorted(path.stem for path in MODELS.glob("*.tflite") if path.stem != "residual_int8")


def need(spec: str) -> None:
    kind, _, board = spec.partition(":")
    if kind == "virtual":
        need_board()
    else:
        need_qemu(board)


def model(folder: Path, data: bytes) -> Path:
    path = folder / "m.jlt"
    path.write_bytes(data)
    return path


def assert_same(host: joulet.HostEngine, engine: BoardEngine, x: np.ndarray) -> None:
    for path in host.path_names:
        for depth in (*range(host.n_exits), "auto"):
            ours, theirs = host.infer([x], path=path, depth=depth), engine.infer([x], path=path, depth=depth)
            for a, b in zip(ours.outputs, theirs.outputs, strict=True):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b)
            assert np.array_equal(ours.exit, theirs.exit)
            assert np.array_equal(ours.confidence_q15, theirs.confidence_q15)
            assert np.array_equal(ours.macs, theirs.macs)


@pytest.mark.parametrize("spec", [*VIRTUAL, *QEMU, *SAME_IMAGE])
def test_every_path_and_exit_gives_the_hosts_bytes(spec: str, tmp_path: Path) -> None:
    need(spec)
    path = model(tmp_path, container())
    with open_engine(path, spec) as engine:
        assert isinstance(engine, BoardEngine)
        assert_same(joulet.HostEngine(path), engine, samples("residual_int8")[: INPUTS[spec.partition(":")[0]]])


def _random(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
    rng = np.random.default_rng(5)
    if dtype.kind == "f":
        return rng.standard_normal((4, *shape)).astype(dtype)
    limit = np.iinfo(np.dtype(dtype.str))
    return rng.integers(limit.min, limit.max, (4, *shape), dtype.str, endpoint=True)


@pytest.mark.parametrize("spec", ["virtual:virtual_m0plus", "qemu:qemu_mps3_an547", "qemu:qemu_riscv32_virt"])
@pytest.mark.parametrize("name", OTHERS)
def test_every_operator_gives_the_hosts_bytes(name: str, spec: str, tmp_path: Path) -> None:
    need(spec)
    path = model(tmp_path, plain_container(name))
    host = joulet.HostEngine(path)
    inputs = [_random(info.shape, info.dtype) for info in host.inputs]
    with open_engine(path, spec) as engine:
        for precision in engine.path_names:
            ours, theirs = host.infer(inputs, path=precision), engine.infer(inputs, path=precision)
            for a, b in zip(ours.outputs, theirs.outputs, strict=True):
                assert np.array_equal(a, b), precision


@pytest.mark.parametrize("board", ["virtual_m4", "virtual_m0plus"])
def test_qemu_and_the_virtual_board_count_the_same_instructions(board: str, tmp_path: Path) -> None:
    need_qemu()
    path = model(tmp_path, container())
    x = samples("residual_int8")[:8]
    gaps = {}
    counts = {}
    for kind in ("virtual", "qemu"):
        with open_engine(path, f"{kind}:{board}") as engine:
            for exit in range(len(engine.exit_names)):
                counts[kind, exit] = engine.infer([x], path="w8", depth=exit).instructions
    for exit in range(3):
        a, b = counts["virtual", exit], counts["qemu", exit]
        assert a is not None
        assert b is not None
        gap = b.astype(np.int64) - a.astype(np.int64)
        # the image asks another clock there: the same few instructions more for every op, whatever the input
        assert len(set(gap.tolist())) == 1
        gaps[exit] = int(gap[0])
        assert len(set(a.tolist())) > 1
    assert 0 < gaps[0] < gaps[2] < 600


def test_stepping_and_switching_on_a_board(tmp_path: Path) -> None:
    need_board()
    path = model(tmp_path, container())
    host = joulet.HostEngine(path)
    x = [samples("residual_int8")[3]]
    switched = host.path_names.index("w4>w8@0")
    with open_engine(path, "virtual:virtual_m4") as engine:
        assert isinstance(engine, BoardEngine)
        for stepped in (host, engine):
            stepped.start(x, host.path_names.index("w4"))
        for exit in range(host.n_exits):
            a, b = host.run_to_exit(exit), engine.run_to_exit(exit)
            assert (a.exit, a.confidence_q15, a.macs) == (b.exit, b.confidence_q15, b.macs)
            assert b.instructions > 0
            assert np.array_equal(host.answer(), engine.answer())
            if exit == 0:
                host.switch(switched)
                engine.switch(switched)
        with pytest.raises(LinkError, match="refuses STEP"):
            engine.run_to_exit(0)


def test_a_board_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    need_board()
    floats = joulet.compile_model(MODELS / "dense_int8.tflite", exits="off", precisions=("w8", "f32")).container
    with open_engine(model(tmp_path, floats), "virtual:virtual_m4") as engine:
        x = np.zeros((1, *engine.inputs[0].shape), engine.inputs[0].dtype)
        engine.infer([x], path="w8")
        with pytest.raises(LinkError, match="refuses INFER"):
            engine.infer([x], path="f32")
        with pytest.raises(DataError, match="dtype"):
            engine.infer([x.astype(np.float32)])
        engine.infer([x], path="w8")


def test_a_model_too_large_for_the_board_is_refused_before_anything_runs(tmp_path: Path) -> None:
    need_board()
    data = container()
    parts = []
    for section in read_table(data).sections:
        content = data[section.offset : section.offset + section.size_bytes]
        if section.name == "META":
            content = json.dumps({**json.loads(content), "note": "x" * (2 << 20)}).encode()
        parts.append(PartSection(section.name, content, section.part))
    big = model(tmp_path, assemble(parts))
    with pytest.raises(UsageError, match="model slot"), open_engine(big, "virtual:virtual_m4"):
        pass


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("virtual", "virtual:BOARD"),
        ("host:x", "there are: REF"),
        ("virtual:nucleo_l4r5zi", "virtual_m4"),
        ("virtual:no_such", "no board"),
        ("serial:/dev/no-such-port", "cannot be opened"),
        ("teapot:1", "give host"),
    ],
)
def test_engines_are_refused_in_one_line(
    spec: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model(tmp_path, container())
    np.savez(tmp_path / "in.npz", input_0=samples("residual_int8")[:2])
    code = main(
        ["infer", str(path), "--engine", spec, "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "o.npz")]
    )
    error = capsys.readouterr().err
    assert code == 2
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("spec", ["virtual:virtual_m4", "qemu:qemu_mps2_an386"])
def test_bench_prints_exact_instructions(spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need(spec)
    path = model(tmp_path, container())
    results = []
    for _ in range(2):
        assert main(["bench", str(path), "--engine", spec, "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    result = results[0]
    assert isinstance(result["instructions_per_inference"], int)
    assert result["deterministic"] is True
    assert result["cycles"] > result["instructions_per_inference"]
    assert result["energy_j"] == pytest.approx(result["cycles"] * 278e-12)
    assert {row["path"] for row in result["rows"]} >= {"w8", "w4", "mix"}
    w8 = [row["instructions_per_inference"] for row in result["rows"] if row["path"] == "w8"]
    assert w8 == sorted(w8)
    assert main(["bench", str(path), "--engine", spec]) == 0
    assert f"{result['instructions_per_inference']:,}" in capsys.readouterr().out


def test_bench_measures_time_on_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(model(tmp_path, container())), "--json", "--precision", "w4"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["time_s"] > 0
    assert "instructions_per_inference" not in result
    assert {row["path"] for row in result["rows"]} == {"w4"}


def test_a_board_on_a_serial_port_takes_the_model_and_runs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """QEMU behind a pseudo-terminal, for pyserial a port like any other; its model slot is empty at first."""
    need_qemu()
    firmware = build_firmware("qemu_mps2_an386")
    command = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "pty"]
    process = subprocess.Popen(
        [*command, "-kernel", str(firmware.elf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        port = re.search(r"/dev/pts/\d+", process.stdout.readline())
        assert port is not None
        path = model(tmp_path, container())
        x = samples("residual_int8")[:3]
        host = joulet.HostEngine(path)
        for _ in range(2):  # the second time the board has the model already
            with open_engine(path, f"serial:{port.group()}") as engine:
                theirs = engine.infer([x], path="w4")
            assert np.array_equal(theirs.outputs[0], host.infer([x], path="w4").outputs[0])
        assert main(["monitor", port.group(), "--for", "0.2s", "--json"]) == 0
        hello = json.loads(capsys.readouterr().out.splitlines()[0])["data"]
        assert hello["board"] == "qemu_mps2_an386"
        assert hello["model_hash"] == host.model_hash
        assert main(["monitor", port.group(), "--ascii", "--send", "name"]) == 0
        assert "m-name-dut-[joulet]" in capsys.readouterr().out
        assert main(["doctor", "--serial", port.group(), "--job", "infer", "--json"]) == 0
    finally:
        process.kill()
        process.wait()
