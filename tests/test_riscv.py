# SPDX-License-Identifier: Apache-2.0
"""The firmware on RV32IMC under QEMU: interrupts, alarm, and starting over; that it computes is tested with the other boards."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from board_tools import container, need_qemu, samples

from joulet.boards import load_board
from joulet.emulator import qemu
from joulet.emulator.qemu import QemuBoard, SocketPort
from joulet.errors import MissingDependencyError
from joulet.firmware.architecture import RISCV, architecture_of
from joulet.firmware.build import Firmware, build_firmware
from joulet.firmware.linked import Linked
from joulet.firmware.slots import samples_slot, session_slot
from joulet.link import connect, wire
from joulet.link.frames import Frame
from joulet.tools.main import main

NAME = "qemu_riscv32_virt"
PERIOD_US, END_US = 500_000, 3_000_000


def test_the_core_takes_the_plans_of_cores_without_simd() -> None:
    assert load_board(NAME).isa == "ARMV6M"
    assert architecture_of("rv32imc") is RISCV


def test_the_session_wakes_for_every_event() -> None:
    """Nothing but the alarm ends a sleep here, and nothing but the interrupt of the line one between requests."""
    need_qemu(NAME)
    plan = {"period_us": PERIOD_US, "deadline_us": PERIOD_US, "end_us": END_US, "capacity_nf": 10_000_000}
    plan |= {"off_mv": 1800, "full_mv": 3600, "on_mv": 2400, "sleep_nw": 8400, "energy_fj_per_cycle": 278_000}
    session = session_slot(**plan, dearness_q16=65_536, fixed_path=0, fixed_exit=1)
    slots = {"model": container(), "samples": samples_slot([samples("residual_int8")]), "session": session}
    told: list[Frame] = []
    with QemuBoard(NAME, slots) as machine, connect(machine.port, timeout_s=20.0) as board:
        board.events = told.append
        board.run(True)
        end_s = time.monotonic() + 30.0
        while len(told) < 5 and time.monotonic() < end_s:
            board.pump(1.0)
    size = wire.dtype("EventRecord").itemsize
    records = [
        np.frombuffer(frame.payload, wire.dtype("EventRecord"))[0] for frame in told if len(frame.payload) == size
    ]
    assert len(records) >= 4
    for record in records:
        assert record["status"] == wire.CODES["EventStatus"]["ANSWERED"]
        late_us = int(record["start_us"]) - PERIOD_US * int(record["index"])
        assert 0 <= late_us < PERIOD_US // 4


def _broken(firmware: Firmware, function: str, folder: Path) -> Path:
    """Return the image with an illegal instruction where a function begins."""
    from elftools.elf.elffile import ELFFile

    address = Linked(firmware).symbols[function].address
    data = bytearray(firmware.elf.read_bytes())
    with firmware.elf.open("rb") as file:
        (at,) = [
            section["sh_offset"] + address - section["sh_addr"]
            for section in ELFFile(file).iter_sections()
            if section["sh_type"] == "SHT_PROGBITS" and 0 <= address - section["sh_addr"] < section["sh_size"]
        ]
    data[at : at + 4] = bytes(4)
    path = folder / "broken.elf"
    path.write_bytes(data)
    return path


def test_an_illegal_instruction_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_qemu(NAME)
    elf = _broken(build_firmware(NAME, toolchain="gcc"), "jlt_console_idle", tmp_path)
    monkeypatch.setattr(qemu, "build_firmware", lambda name: SimpleNamespace(elf=elf))
    said, end_s = "", time.monotonic() + 20.0
    with QemuBoard(NAME) as machine:
        assert isinstance(machine.port, SocketPort)
        while said.count("m-ready") < 3 and time.monotonic() < end_s:
            said += machine.port.read(4096, 1.0).decode("ascii", "replace")
    assert said.count("m-ready") >= 3  # once a start


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match="qemu-system-misc"):
        QemuBoard(NAME)
    with pytest.raises(MissingDependencyError, match="apt install gcc-riscv64-unknown-elf"):
        build_firmware(NAME, toolchain="gcc")


def test_what_the_board_cannot_do_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.jlt"
    model.write_bytes(container())
    for arguments, said in (
        (["bench", str(model), "--engine", f"virtual:{NAME}"], "is no virtual board"),
        (["flash", "--board", NAME, str(model)], "is not flashed"),
        (["profile", str(model), "--engine", f"qemu:{NAME}"], "QEMU tells neither"),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
