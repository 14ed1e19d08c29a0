# SPDX-License-Identifier: Apache-2.0
"""``joulet doctor``: everything missing is named with its fix, on machines made up for it; the name-flood test."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flash_machines import LinePort, Time, add_program, machine

from joulet.doctor.checks import UDEV_FIX, UDEV_RULE, examine
from joulet.doctor.flood import name_flood
from joulet.doctor.machine import JOBS, Check, Machine
from joulet.tools import doctor, main

ROOT = Path(__file__).resolve().parents[1]
PRESENT = ("numpy", "_cffi_backend", "flatbuffers", "tflite", "serial", "joulet._core")


def _load(*present: str) -> Any:
    """Return an importer that finds only some packages."""

    def load(name: str) -> Any:
        if name not in present:
            raise ModuleNotFoundError(name, name=name)
        return SimpleNamespace(__version__="1.2")

    return load


def _machine(root: Path, *, packages: tuple[str, ...] = PRESENT, load: Any = None, **changes: Any) -> Machine:
    settings: dict[str, Any] = {"python": (3, 12, 1), "in_environment": True, "stdlib": root, **changes}
    return Machine(around=machine(root, load=load or _load(*packages)), **settings)


def _checks(found: Machine, *jobs: str) -> dict[str, Check]:
    return {check.name: check for check in examine(found, ["infer", *jobs])}


def _args(*words: str) -> argparse.Namespace:
    return main.build_parser("doctor").parse_args(["doctor", *words])


def test_a_machine_with_the_core_can_infer_and_all_else_is_optional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.report(_args("--job", "infer"), _machine(tmp_path)) == 0
    text = capsys.readouterr().out
    assert "MISSING" not in text
    assert "optional  arm-none-eabi-gcc" in text
    assert "all that the stated jobs need is here" in text


def test_without_a_stated_job_firmware_and_virtual_board_are_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.report(_args(), _machine(tmp_path)) == 1
    text = capsys.readouterr().out
    assert "MISSING   arm-none-eabi-gcc" in text
    assert "MISSING   unicorn" in text
    assert "something needed is missing" in text


@pytest.mark.parametrize("package", PRESENT)
def test_each_missing_package_is_named_with_its_fix(
    tmp_path: Path, package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packages = tuple(name for name in PRESENT if name != package)
    assert doctor.report(_args("--json", "--job", "serial"), _machine(tmp_path, packages=packages)) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    (missing,) = [check for check in told["checks"] if check["status"] == "missing"]
    assert "pip install" in missing["fix"]


def test_a_package_that_breaks_on_loading_says_how(tmp_path: Path) -> None:
    def load(name: str) -> Any:
        if name == "tflite":
            raise AttributeError("_ARRAY_API not found\nmore")
        if name == "serial":
            raise ModuleNotFoundError("No module named 'termios'", name="termios")
        return _load(*PRESENT)(name)

    checks = _checks(_machine(tmp_path, load=load))
    assert checks["tflite"].found == "does not load: _ARRAY_API not found (reading .tflite)"
    assert checks["pyserial"].found == "needs termios (serial ports)"


def test_what_is_missing_depends_on_the_job(tmp_path: Path) -> None:
    for job, names in {
        "infer": set(),
        "serial": set(),
        "flash": set(),
        "build": {"arm-none-eabi-gcc"},
        "emulate": {"unicorn", "pyelftools"},
    }.items():
        checks = _checks(_machine(tmp_path), job)
        assert {name for name, check in checks.items() if check.status == "missing"} == names
    assert set(JOBS) == {"infer", "serial", "flash", "build", "emulate"}


def test_one_compiler_is_enough(tmp_path: Path) -> None:
    assert _checks(_machine(tmp_path), "build")["arm-none-eabi-gcc"].fix.startswith(
        "sudo apt install gcc-arm-none-eabi"
    )
    with_zig = _checks(_machine(tmp_path, packages=(*PRESENT, "ziglang")), "build")
    assert with_zig["arm-none-eabi-gcc"].status == "optional"
    add_program(tmp_path, "arm-none-eabi-gcc", "")
    with_gcc = _checks(_machine(tmp_path), "build")
    assert (with_gcc["arm-none-eabi-gcc"].status, with_gcc["ziglang"].status) == ("ok", "optional")


def test_what_riscv_boards_need_is_optional(tmp_path: Path) -> None:
    checks = _checks(_machine(tmp_path), "build")
    for program, package in (
        ("riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf"),
        ("qemu-system-riscv32", "qemu-system-misc"),
    ):
        assert checks[program].status == "optional"
        assert checks[program].fix == f"sudo apt install {package}"
        add_program(tmp_path, program, "")
        assert _checks(_machine(tmp_path))[program].status == "ok"


def test_python_and_its_environment(tmp_path: Path) -> None:
    assert _checks(_machine(tmp_path, python=(3, 9, 2)))["Python"].status == "missing"
    (tmp_path / "EXTERNALLY-MANAGED").write_text("")
    outside = _checks(_machine(tmp_path, in_environment=False))["virtual environment"]
    assert outside.status == "warning"
    assert "python3 -m venv" in outside.fix
    assert "virtual environment" not in _checks(_machine(tmp_path, in_environment=True))


def test_ports_that_may_not_be_opened_name_their_group(tmp_path: Path) -> None:
    assert _checks(_machine(tmp_path))["serial ports"].found == "none plugged in"
    (tmp_path / "dev").mkdir()
    port = tmp_path / "dev" / "ttyACM0"
    port.write_text("")
    (tmp_path / "etc").mkdir()
    number = port.stat().st_gid
    (tmp_path / "etc" / "group").write_text(f"bad line\nuucp:x:{number}:\n")
    denied = _machine(tmp_path, can_open=lambda path: False)
    assert _checks(denied)["serial ports"].status == "warning"
    check = _checks(denied, "serial")["serial ports"]
    assert (check.status, check.fix) == ("missing", "sudo usermod -aG uucp $USER, then log in again")
    (tmp_path / "etc" / "group").unlink()
    assert "dialout" in _checks(denied, "flash")["serial ports"].fix
    assert _checks(_machine(tmp_path, can_open=lambda path: True))["serial ports"].status == "ok"


def test_the_udev_rule_is_looked_for_and_printed(tmp_path: Path) -> None:
    assert "udev rule" not in _checks(_machine(tmp_path))  # no udev, no rule
    rules = tmp_path / "etc" / "udev" / "rules.d"
    rules.mkdir(parents=True)
    (rules / "70-other.rules").write_text('ATTRS{idVendor}=="1209"\n')
    check = _checks(_machine(tmp_path))["udev rule"]
    assert (check.status, check.fix) == ("optional", UDEV_FIX)
    # the command writes exactly the rule, which is then found
    assert shlex.split(UDEV_FIX)[:2] == ["echo", UDEV_RULE]
    (rules / "60-joulet.rules").write_text(UDEV_RULE)
    assert _checks(_machine(tmp_path))["udev rule"].status == "ok"


def test_modem_manager_is_warned_of(tmp_path: Path) -> None:
    for number, name in (("1", "init"), ("77", "ModemManager")):
        (tmp_path / "proc" / number).mkdir(parents=True)
        (tmp_path / "proc" / number / "comm").write_text(f"{name}\n")
    check = _checks(_machine(tmp_path))["ModemManager"]
    assert check.status == "warning"
    assert "systemctl disable --now ModemManager" in check.fix


def test_packs_that_pyocd_lacks_are_named(tmp_path: Path) -> None:
    packs = SimpleNamespace(get_installed_targets=list)
    modules = {
        "pyocd": SimpleNamespace(__version__="0.46"),
        "pyocd.target": SimpleNamespace(TARGET={"nrf52840": None}),
        "pyocd.target.pack.pack_target": SimpleNamespace(ManagedPacks=packs),
    }

    def load(name: str) -> Any:
        return modules[name] if name in modules else _load(*PRESENT)(name)

    check = _checks(_machine(tmp_path, load=load))["CMSIS pack of nucleo_l4r5zi"]
    assert check.status == "optional"
    assert "pyocd pack install stm32l4r5zitx" in check.fix
    packs.get_installed_targets = lambda: [SimpleNamespace(part_number="STM32L4R5ZITx")]
    assert "CMSIS pack of nucleo_l4r5zi" not in _checks(_machine(tmp_path, load=load))
    packs.get_installed_targets = lambda: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):  # a defect is not hidden
        _checks(_machine(tmp_path, load=load))


def test_everything_not_ok_has_a_fix_and_a_job(tmp_path: Path) -> None:
    (tmp_path / "etc" / "udev" / "rules.d").mkdir(parents=True)
    for check in examine(_machine(tmp_path, packages=()), list(JOBS)):
        assert set(check.jobs) <= set(JOBS)
        assert check.jobs
        assert check.fix or check.status == "ok"
        assert "\n" not in check.found + check.fix


BARE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top.startswith("_sysconfigdata"):
            return
        if name == "joulet._core" or top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
ALLOWED = {"joulet", "__editable___joulet_0_1_0_finder"}
sys.meta_path.insert(0, Block())
from joulet.tools.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("jobs", [(), ("--job", "build", "--job", "flash", "--job", "emulate", "--json")])
def test_a_bare_machine_gets_no_traceback(jobs: tuple[str, ...]) -> None:
    """Nothing on the search path, and no package but this one: not even numpy."""
    command = [sys.executable, "-c", BARE, "doctor", *jobs]
    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stderr == ""
    assert done.returncode == 1
    for word in ("numpy", "compiled core", "arm-none-eabi-gcc", "pyOCD", "pip install"):
        assert word in done.stdout


def _runner(commands: bytes) -> bytes:
    return b"m-name-dut-[joulet]\r\nm-ready\r\n" * commands.count(b"name%")


@pytest.mark.parametrize(
    ("answer", "ok", "names", "word"),
    [
        (_runner, True, 3, ""),
        (lambda commands: b"", False, 0, "nothing answers"),
        (lambda commands: b"m-name-dut-[joulet]\r\nm-ready\r\n", False, 1, "only 1 of 3 commands"),
        (lambda commands: b"m-name-dut-[joulet]\r\n" * 3, False, 3, "lack their line m-ready"),
        (lambda commands: b"\xfe\x8c\xff\x00\xe0" * 8, False, 0, "baud rate is wrong"),
        (lambda commands: commands, False, 0, "echoes"),
        (lambda commands: b"e-[Unknown command]\r\nm-ready\r\n" * 3, False, 0, "answers with errors"),
        (lambda commands: b"Hello from Zephyr\r\n", False, 0, "another firmware"),
        (lambda commands: _runner(commands) * 2, False, 6, "another firmware"),
    ],
)
def test_the_name_flood(tmp_path: Path, answer: Any, ok: bool, names: int, word: str) -> None:
    virtual = Time()
    port = LinePort(answer, virtual, before=b"m-ready\r\nm-name-dut-[old]\r\n")
    flood = name_flood(port, machine(tmp_path, time=virtual))
    assert (flood.ok, flood.names) == (ok, names)
    assert word in flood.remedy
    assert virtual.now_s < 6.0


@pytest.mark.parametrize(("loses", "code"), [(False, 0), (True, 1)])
def test_the_flood_through_a_real_port(
    tmp_path: Path, loses: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board on a pseudo terminal: one reads all it is sent, one loses what comes while it answers."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)

    def serve() -> None:
        heard = os.read(ours, 256)
        while heard.count(b"%") < 3:
            heard += os.read(ours, 256)
        os.write(ours, _runner(b"name%" if loses else heard))

    threading.Thread(target=serve, daemon=True).start()
    real = Machine(around=machine(tmp_path, clock=time.monotonic))
    try:
        assert doctor.report(_args("--serial", os.ttyname(theirs)), real) == code
    finally:
        os.close(theirs)
        os.close(ours)
    text = capsys.readouterr().out
    assert ("1 names and 1 readies" if loses else "3 names and 3 readies") in text
    assert ("FAILED" in text) is loses


def test_a_port_that_cannot_be_opened_is_a_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Machine(around=machine(tmp_path))
    assert doctor.report(_args("--serial", str(tmp_path / "none"), "--json"), found) == 1
    assert "no such port" in json.loads(capsys.readouterr().out)["serial"]["remedy"]


def test_the_real_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--job", "infer", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
