# SPDX-License-Identifier: Apache-2.0
"""``joulet build`` and ``joulet monitor``."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from board_tools import MODELS, container, need_board, samples

import joulet
from joulet.boards import board_names, board_table
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.errors import DataError, UsageError
from joulet.firmware.slots import policy_slot, samples_slot
from joulet.flash.build import read_build
from joulet.flash.image import read_file, read_hex
from joulet.link import connect, wire
from joulet.tools.main import main

HARDWARE = sorted(name for name in board_names() if "firmware" in board_table(name))


def jlt(folder: Path, data: bytes | None = None) -> Path:
    path = folder / "m.jlt"
    path.write_bytes(container() if data is None else data)
    return path


@pytest.mark.parametrize("board", HARDWARE)
def test_an_image_for_every_board(board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    out = tmp_path / "out"
    assert main(["build", str(jlt(tmp_path)), "--board", board, "-o", str(out), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    build = read_build(out)
    assert build.board == board
    assert build.model_hash == Container.from_bytes(container()).model_hash.hex()
    model = next(segment for segment in manifest["segments"] if segment["name"] == "model")
    slot = board_table(board)["slots"]["model"]
    assert model["address"] == slot["address"]
    data = build.image.part(model["address"], model["bytes"])
    # the canonical part is untouched; the board's costs came beside it
    assert Container.from_bytes(data).model_hash == Container.from_bytes(container()).model_hash
    assert board in {costs.name for costs in Container.from_bytes(data).boards}
    assert read_hex(read_file(out / "image.hex")).segments == build.image.segments
    assert ("uf2" in manifest["files"]) == ("family" in board_table(board).get("flash", {}))


def test_what_was_built_runs_with_its_policy_and_samples(tmp_path: Path) -> None:
    need_board()
    x = samples("residual_int8")
    np.savez(tmp_path / "in.npz", input_0=x[:9])
    table = _policy_table()
    (tmp_path / "p.jltp").write_bytes(table)
    out = tmp_path / "out"
    words = ["build", str(jlt(tmp_path)), "--board", "virtual_m4", "-o", str(out)]
    assert main([*words, "--policy", str(tmp_path / "p.jltp"), "--samples", str(tmp_path / "in.npz")]) == 0
    build = read_build(out)
    board = VirtualBoard("virtual_m4")
    board.core.flash[:] = 0xFF
    for address, data in build.image.segments:
        board.load(address, data)
    board.power_on()
    with connect(VirtualPort(board)) as link:
        assert link.hello.build_id == build.build_id
        assert link.hello.model_status == 0
        assert link.hello.policy_status == 0
        address, n_bytes, crc32, model_status = link.firmware()
    assert model_status == 0
    assert crc32 == zlib.crc32(bytes(board.core.flash[address : address + n_bytes]))


def _policy_table() -> bytes:
    from joulet.energy.capacitor import Capacitor
    from joulet.energy.converter import ConstantConverter
    from joulet.energy.supply import Supply
    from joulet.energy.synthetic import ConstantHarvester
    from joulet.plan.cost import board_costs, cost_table
    from joulet.policies.shadow import Shadow
    from joulet.session import policy_context

    board = joulet.load_board("virtual_m4")
    decoded = Container.from_bytes(container())
    store = Capacitor(1e-3, max_v=board.load.max_v, initial_v=board.load.on_v)
    world = Supply(ConstantHarvester(1e-3), ConstantConverter(0.8), store, board.load, 10.0)
    policy = Shadow()
    policy.reset(policy_context(world, cost_table(decoded, board_costs(decoded, board)), 1.0, 1.0, 1))
    assert policy.table is not None
    return policy.table.to_bytes()


def test_the_same_sources_give_the_same_image(tmp_path: Path) -> None:
    need_board()
    for name in ("a", "b"):
        assert main(["build", str(jlt(tmp_path)), "--board", "virtual_m0plus", "-o", str(tmp_path / name)]) == 0
    for file in ("image.hex", "image.bin", "manifest.json", "firmware.elf"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_refusals_name_the_thing_and_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    floats = joulet.compile_model(MODELS / "dense_int8.tflite", exits="off", precisions=("w8", "f32")).container
    cases = [
        ([str(tmp_path / "no.jlt"), "--board", "virtual_m4"], "no such file"),
        ([str(jlt(tmp_path)), "--board", "teapot"], "no board 'teapot'"),
        ([str(jlt(tmp_path)), "--board", "virtual_m4", "--policy", str(tmp_path / "none")], "cannot read"),
        ([str(jlt(tmp_path)), "--board", "virtual_m4", "--policy", str(jlt(tmp_path))], "no policy table"),
        ([str(jlt(tmp_path)), "--board", "virtual_m4", "-o", str(tmp_path)], "holds other files"),
    ]
    for words, expected in cases:
        assert main(["build", *words]) == 2
        error = capsys.readouterr().err
        assert expected in error
        assert len(error.splitlines()) == 1
    # a float path is left to the host; the integer ones are built
    words = [str(jlt(tmp_path, floats)), "--board", "virtual_m4", "-o", str(tmp_path / "f")]
    assert main(["build", *words]) == 0


def test_slots_are_made_for_their_model_only() -> None:
    table = bytearray(_policy_table())
    table[16:32] = b"\1" * 16
    with pytest.raises(UsageError, match="another model"):
        policy_slot(bytes(table), bytes(32))
    with pytest.raises(DataError, match="one or more"):
        samples_slot([np.zeros((0, 3), np.int8)])
    slot = samples_slot([np.array([[1, 2, 3], [4, 5, 6]], np.uint8)])
    header = np.frombuffer(slot, wire.dtype("SlotHeader"), 1)[0]
    assert int(header["crc32"]) == zlib.crc32(slot[64:])
    samples_head = np.frombuffer(slot[64:], wire.dtype("Samples"), 1)[0]
    assert (int(samples_head["count"]), int(samples_head["bytes_each"]), int(samples_head["stride"])) == (2, 3, 4)
    # what the outside calls 1 of uint8 is -127 inside
    assert slot[64 + 16 :] == bytes([0x81, 0x82, 0x83, 0, 0x84, 0x85, 0x86, 0])


def test_monitor_tells_who_is_there_and_what_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    words = ["monitor", "virtual:virtual_m4", "--model", str(jlt(tmp_path)), "--for", "0.3s", "--every", "0.1s"]
    assert main([*words, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["type"] == "hello"
    assert lines[0]["data"]["model_status"] == 0
    sensors = [line["data"] for line in lines if line["type"] == "sensors"]
    assert len(sensors) >= 2
    assert sensors[0]["store_v"] == pytest.approx(2.4, abs=2e-3)
    assert sensors[-1]["drawn_j"] >= sensors[0]["drawn_j"]
    assert main(words) == 0
    assert "virtual_m4, build" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/dev/no-such-port"], "cannot be opened"),
        (["virtual:virtual_m4", "--send", "name"], "--ascii"),
        (["virtual:virtual_m4", "--ascii"], "serial port"),
        (["/dev/ttyACM0", "--model", "m.jlt"], "joulet flash"),
        (["virtual:virtual_m4", "--every", "soon"], "--every"),
    ],
)
def test_monitor_refuses_in_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", *words]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_model_file_is_compiled_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    np.savez(tmp_path / "cal.npz", input_0=samples("residual_int8"))
    model, out = MODELS / "residual_int8.tflite", tmp_path / "out"
    words = ["build", str(model), "--board", "virtual_m4", "-o", str(out)]
    assert main([*words, "--data", str(tmp_path / "cal.npz"), "--exits", "off", "--precisions", "w8,w4", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    kept = Container.from_bytes((out / manifest["files"]["model"]).read_bytes())
    assert kept.model_hash.hex() == manifest["model_hash"] == read_build(out).model_hash
    assert [p["name"] for p in manifest["compiled"]["precisions"]] == ["w8", "w4"]
    assert manifest["compiled"]["calibration_samples"] == len(samples("residual_int8"))
    assert main(words) == 0
    assert "no calibration data" in capsys.readouterr().out


def test_wishes_for_compiling_need_something_to_compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(jlt(tmp_path)), "--board", "virtual_m4", "--exits", "2"]) == 2
    assert "is compiled already" in capsys.readouterr().err
    (tmp_path / "m.bin").write_bytes(b"nothing of the kind")
    assert main(["build", str(tmp_path / "m.bin"), "--board", "virtual_m4"]) == 2
    error = capsys.readouterr().err
    assert "m.bin" in error
    assert len(error.splitlines()) == 1
