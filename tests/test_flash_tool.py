# SPDX-License-Identifier: Apache-2.0
"""``joulet flash`` and ``joulet boards``: events, exit codes, and the handshake that finds copies with holes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flash_machines import Time, add_program, add_volume, machine
from test_flash_image import make_build

from joulet.errors import DataError, JouletError, MissingDependencyError, UsageError
from joulet.flash.build import read_build
from joulet.flash.facts import flash_facts
from joulet.flash.flasher import Result
from joulet.flash.image import Image
from joulet.flash.verify import verify
from joulet.tools import flash, main

BUILD_ID = bytes.fromhex("0011223344556677")
IMAGE = Image.of([(0x0800_0000, b"firmware" * 100), (0x0810_0000, b"model" * 100)])
OPENOCD = "print('** Programming Started **'); print('** Verified OK **')"
RESULT = Result(via="volume", device="d", bytes_written=1, read_back=False)


def board(
    build_id: bytes = BUILD_ID,
    *,
    model: str = "ab" * 32,
    status: int = 0,
    fails: int = 0,
    error: Exception | None = None,
) -> Callable[[], Any]:
    """Return what stands for the link: a board that runs a build, after failing to answer a few times."""
    asked: list[tuple[str, int]] = []

    @contextlib.contextmanager
    def connect(port: str, *, baud: int, timeout_s: float) -> Iterator[SimpleNamespace]:
        asked.append((port, baud))
        if error is not None:
            raise error
        if len(asked) <= fails:
            raise DataError("no HELLO within 5 s")
        hello = {"build_id": build_id, "board": "nucleo_l4r5zi", "model_hash": model, "model_status": status}
        hello["model_side"] = "A"
        # the sum over no bytes at all: nothing to differ
        yield SimpleNamespace(hello=SimpleNamespace(**hello), firmware=lambda: (0, 0, 0, 0))

    return lambda: connect


def _args(*words: str) -> argparse.Namespace:
    return main.build_parser("flash").parse_args(["flash", "--board", "nucleo_l4r5zi", *words])


def _run(root: Path, *words: str, connect: Callable[[], Any] | None = None) -> int:
    """Flash on a made-up machine, in whose root the build folder lies."""
    return flash.flash_board(_args("--image", str(root / "build"), *words), machine(root), connect or board())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a machine with OpenOCD and a build."""
    add_program(tmp_path, "openocd", OPENOCD)
    make_build(tmp_path / "build", IMAGE)
    return tmp_path


def test_json_is_lines_of_events(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(root, "--port", "/dev/ttyX", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    events = [json.loads(line) for line in out.splitlines()]
    assert {frozenset(event) for event in events} == {frozenset({"type", "data"})}
    assert {event["type"] for event in events} == {"task_begin", "task_end", "log"}
    assert events[0] == {
        "type": "task_begin",
        "data": {"task": "flash", "title": "flashing nucleo_l4r5zi", "total": 1},
    }
    assert events[-1] == {
        "type": "task_end",
        "data": {
            "task": "flash",
            "ok": True,
            "via": "openocd",
            "device": str(root / "bin" / "openocd"),
            "bytes": 1300,
            "read_back": True,
            "verified": True,
            "reason": "",
            "build_id": "0011223344556677",
            "model_hash": "ab" * 32,
        },
    }
    begun = [event["data"]["task"] for event in events if event["type"] == "task_begin"]
    assert begun == ["flash", "program", "handshake"]


def test_people_get_one_closing_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(root, "--port", "/dev/ttyX") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"nucleo_l4r5zi: 1,300 bytes via openocd ({root}/bin/openocd), read back; the board runs build 0011223344556677"
    ]
    assert "programming with OpenOCD" in err


@pytest.mark.parametrize(
    ("words", "connect", "code", "reason"),
    [
        (["--port", "P"], board(b"\xff" * 8), 1, "runs build ffffffffffffffff (nucleo_l4r5zi), not 0011223344556677"),
        (["--port", "P"], board(status=-7), 1, "refuses the model (status -7)"),
        (["--port", "P"], board(model="cd" * 32), 1, "has model cdcdcdcdcdcdcdcd…, not abababababababab…"),
        (["--port", "P"], board(fails=999), 1, "no handshake on P: no HELLO within 5 s"),
        (["--port", "P"], board(fails=3), 0, ""),
        (["--port", "P"], board(error=OSError(5, "Input/output error")), 1, "Input/output error"),
        ([], board(), 1, "no serial port is known: give --port"),
        (["--no-verify"], board(fails=999), 0, "not asked (--no-verify)"),
    ],
)
def test_the_handshake_decides(
    root: Path, words: list[str], connect: Any, code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(root, "--json", *words, connect=connect) == code
    data = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]
    assert data["ok"] is (code == 0)
    assert reason in data["reason"]
    assert data["verified"] is (code == 0 and "--no-verify" not in words)


def test_waiting_for_a_board_that_never_answers_is_bounded(root: Path) -> None:
    time = Time()
    build = read_build(root / "build")
    result = verify(RESULT, build, "P", machine(root, time=time), lambda event: None, connect=board(fails=999))
    assert not result.verified
    assert 15.0 <= time.now_s <= 16.0


def test_firmware_alone_has_no_model_to_compare(root: Path) -> None:
    build = dataclasses.replace(read_build(root / "build"), model_hash="0" * 64)
    result = verify(RESULT, build, "P", machine(root), lambda event: None, connect=board(model="", status=-7))
    assert result.verified


def test_without_a_link_the_result_says_so(root: Path) -> None:
    def no_link() -> Any:
        raise MissingDependencyError("this installation cannot talk to boards (No module named 'joulet.link')")

    build = read_build(root / "build")
    result = verify(RESULT, build, "P", machine(root), lambda event: None, connect=no_link)
    assert not result.verified
    assert "cannot talk to boards" in result.reason


def test_an_image_file_has_nothing_to_compare(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = _args("--image", str(root / "build" / "image.hex"), "--port", "P", "--json")
    assert flash.flash_board(args, machine(root), board()) == 1
    assert "no build id" in json.loads(capsys.readouterr().out.splitlines()[-1])["data"]["reason"]


def test_the_debuggers_port_is_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usb = flash_facts("nucleo_l4r5zi").usb_ids[0]
    ports = [SimpleNamespace(device=f"/dev/ttyACM{i}", vid=v, pid=p) for i, (v, p) in enumerate([(1, 2), usb])]
    around = machine(root)

    def load(name: str) -> Any:
        return SimpleNamespace(comports=lambda: ports) if name == "serial.tools.list_ports" else around.load(name)

    args = _args("--image", str(root / "build"), "--json")
    assert flash.flash_board(args, dataclasses.replace(around, load=load), board()) == 0
    assert "asking /dev/ttyACM1" in capsys.readouterr().out
    ports.append(SimpleNamespace(device="/dev/ttyACM2", vid=usb[0], pid=usb[1]))  # two such boards: which?
    assert flash.flash_board(args, dataclasses.replace(around, load=load), board()) == 1


def test_a_failure_ends_the_task_with_its_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_program(root, "openocd", "print('Error: open failed'); sys.exit(1)")
    assert _run(root, "--json") == 1
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert last["type"] == "task_end"
    assert last["data"]["ok"] is False
    assert "open failed" in last["data"]["error"]
    assert len(err.splitlines()) == 1


def test_a_dry_run_does_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(root, "--dry-run") == 0
    assert "would flash" in capsys.readouterr().out
    for via in ("openocd", "pyocd", "volume", "stm32-uart", "probe-rs"):
        assert _run(root, "--dry-run", "--json", "--via", via) == 0
        (line,) = capsys.readouterr().out.splitlines()
        data = json.loads(line)["data"]
        assert data["via"] == via
        assert data["steps"]
    assert not (root / "openocd.log").exists()


@pytest.mark.parametrize(
    ("words", "error", "word"),
    [
        (["--board", "toaster"], UsageError, "no board 'toaster'"),
        (["--via", "uf2"], UsageError, "no UF2 boot loader"),
        (["--via", "stm32-uart"], UsageError, "--port"),
        (["m.jlt"], UsageError, "not both"),
        (["--image", "/nowhere"], UsageError, "/nowhere"),
    ],
)
def test_wrong_usage_is_named(root: Path, words: list[str], error: type[JouletError], word: str) -> None:
    with pytest.raises(error, match=word):
        _run(root, *words)


def test_an_image_of_another_board_is_refused(root: Path) -> None:
    make_build(root / "build", IMAGE, board="pico")
    with pytest.raises(UsageError, match="built for pico, not for nucleo_l4r5zi"):
        _run(root)
    make_build(root / "build", Image.of([(0x1000_0000, b"x")]))
    with pytest.raises(UsageError, match="built for another board"):
        _run(root)


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["flash", "--board", "nucleo_l4r5zi", "--image", "/nowhere"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(SystemExit) as caught:
        main.main(["flash", "--board", "nucleo_l4r5zi", "--via", "pigeon"])
    assert caught.value.code == 2


def test_a_container_is_built_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    asked: list[list[str]] = []

    def build(argv: list[str]) -> int:
        asked.append(argv)
        print("built", file=sys.stdout)
        make_build(root / "joulet-build" / "nucleo_l4r5zi", IMAGE)
        return 0 if argv[1] == "good.jlt" else 1

    monkeypatch.setattr(main, "main", build)
    monkeypatch.setitem(main.COMMANDS, "build", "build")
    assert flash.flash_board(_args("good.jlt", "--port", "P", "--json"), machine(root), board()) == 0
    assert asked == [["build", "good.jlt", "--board", "nucleo_l4r5zi"]]
    out = capsys.readouterr().out
    assert all(json.loads(line) for line in out.splitlines())  # what the build prints is not among the events
    with pytest.raises(UsageError, match=r"joulet build 'bad\.jlt'.*ended with 1"):
        flash.flash_board(_args("bad.jlt"), machine(root), board())
    monkeypatch.delitem(main.COMMANDS, "build")
    with pytest.raises(MissingDependencyError, match="no joulet build"):
        flash.flash_board(_args("good.jlt"), machine(root), board())


def test_boards_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["boards"]) == 0
    text = capsys.readouterr().out
    assert "nucleo_l4r5zi" in text
    assert "120 MHz" in text
    assert "simulated" in text
    assert main.main(["boards", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["boards"]}
    row = rows["nucleo_l4r5zi"]
    assert (row["core"], row["flash_bytes"], row["ram_bytes"]) == ("cortex-m4", 1 << 21, 640 << 10)
    assert row["flash_via"] == ["pyocd", "volume", "stm32-uart", "openocd", "probe-rs"]


@pytest.mark.parametrize("command", ["flash", "devices", "doctor", "boards"])
def test_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([command, "--help"])
    assert caught.value.code == 0
    assert f"joulet {command}" in capsys.readouterr().out.split("options:")[1]


def test_a_copy_with_holes_is_found_by_the_handshake(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The debugger takes the file and complains of nothing; the board still runs what it ran before."""
    volume = add_volume(root, "NODE_L4R5ZI", {"DETAILS.TXT": "Version: 0221\n"})

    def at(now_s: float) -> None:
        (volume / "JOULET.BIN").unlink(missing_ok=True)

    args = _args("--image", str(root / "build"), "--port", "P", "--via", "volume")
    around = machine(root, time=Time(at))
    assert flash.flash_board(args, around, board(b"\x01" * 8)) == 1
    said = capsys.readouterr().out
    assert "via volume" in said
    assert "not verified: the board at P runs build 0101010101010101" in said
    assert "flash again" in said
