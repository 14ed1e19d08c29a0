# SPDX-License-Identifier: Apache-2.0
"""``joulet devices``: what is plugged in, on machines made up for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flash_machines import add_volume, machine

from joulet.flash.devices import KNOWN_USB, list_serial_ports, pick_port
from joulet.flash.facts import flash_facts
from joulet.flash.volumes import find_volumes
from joulet.tools import devices, main


def _port(device: str, vid: int | None = None, pid: int | None = None, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, pid=pid, hwid="n/a" if vid is None else f"USB {vid:04x}", **more)


PORTS = [
    _port("/dev/ttyUSB0", 0x1A86, 0x7523, serial_number=None, description="USB Serial"),
    _port("/dev/ttyACM0", 0x0483, 0x374B, serial_number="066BFF", product="STM32 STLink"),
    _port("/dev/ttyS0", description="n/a"),
    _port("/dev/ttyACM1", 0x1234, 0x5678, product="Strange thing"),
]


def _machine(root: Path, ports: list[SimpleNamespace] = PORTS, probes: list[Any] | Exception | None = None) -> Any:
    """Return a machine with ports, and with a pyOCD that sees some probes (None: it is not installed)."""

    class Broken(RuntimeError):
        pass

    class Helper:
        @staticmethod
        def get_all_connected_probes(**options: Any) -> list[Any]:
            assert options["blocking"] is False
            if isinstance(probes, Exception):
                raise probes
            assert probes is not None
            return probes

    modules: dict[str, Any] = {"serial.tools.list_ports": SimpleNamespace(comports=lambda: ports)}
    if probes is not None:
        modules["pyocd"] = SimpleNamespace(__version__="0")
        modules["pyocd.core.exceptions"] = SimpleNamespace(Error=Broken)
        modules["pyocd.core.helpers"] = SimpleNamespace(ConnectHelper=Helper)

    def load(name: str) -> Any:
        if name not in modules:
            raise ImportError(name)
        return modules[name]

    return machine(root, load=load)


def _args(*words: str) -> argparse.Namespace:
    return main.build_parser("devices").parse_args(["devices", *words])


def test_everything_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_volume(tmp_path, "RPI-RP2", {"INFO_UF2.TXT": "Model: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"})
    add_volume(tmp_path, "MY STICK", {"holiday.jpg": ""})
    add_volume(tmp_path, "DAPLINK", {"DETAILS.TXT": "# DAPLink Firmware\nUnique ID: 0240\n"})
    add_volume(tmp_path, "JLINK", {"MBED.HTM": '<meta url="http://www.segger.com/jlink-ob.html">'})
    around = _machine(tmp_path, probes=[SimpleNamespace(unique_id="E661", description="Raspberry Pi Debug Probe")])
    assert devices.report(_args("--json"), around) == 0
    found = json.loads(capsys.readouterr().out)
    ports = {port["device"]: port for port in found["ports"]}
    assert list(ports) == ["/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyUSB0"]  # a PC's ttyS0 is no news
    assert ports["/dev/ttyACM0"]["usb"] == "0483:374b"
    assert ports["/dev/ttyACM0"]["what"].startswith("ST-LINK V2-1")
    assert ports["/dev/ttyACM0"]["serial_number"] == "066BFF"
    assert "nucleo_l4r5zi" in ports["/dev/ttyACM0"]["boards"]
    assert ports["/dev/ttyACM1"] == {
        "device": "/dev/ttyACM1", "usb": "1234:5678", "serial_number": None, "what": "Strange thing", "boards": [],
    }  # fmt: skip
    assert ports["/dev/ttyUSB0"]["what"] == "WCH CH340 USB to UART"
    volumes = {Path(volume["path"]).name: volume for volume in found["volumes"]}
    assert set(volumes) == {"RPI-RP2", "DAPLINK", "JLINK"}
    assert (volumes["RPI-RP2"]["kind"], volumes["RPI-RP2"]["board_id"]) == ("uf2", "RPI-RP2")
    assert (volumes["DAPLINK"]["model"], volumes["DAPLINK"]["board_id"]) == ("DAPLink", "0240")
    assert volumes["JLINK"]["model"] == "J-Link"
    assert found["probes"] == [{"id": "E661", "description": "Raspberry Pi Debug Probe"}]
    assert found["notes"] == []
    assert devices.report(_args(), around) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert "boards: " in lines[0]


def test_a_bare_machine_is_told_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def load(name: str) -> Any:
        raise ImportError(name)

    assert devices.report(_args(), machine(tmp_path, load=load)) == 0
    text = capsys.readouterr().out
    assert "nothing is plugged in" in text
    assert "pip install pyserial" in text
    assert "pip install 'joulet[swd]'" in text


def test_usb_that_cannot_be_asked_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert devices.report(_args("--json"), _machine(tmp_path, [], ValueError("No backend available"))) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert "No backend available" in note
    assert "udev" in note


def test_a_board_is_found_by_its_debugger(tmp_path: Path) -> None:
    facts = flash_facts("nucleo_l4r5zi")
    assert pick_port(list_serial_ports(_machine(tmp_path)), facts) == "/dev/ttyACM0"
    twice = [*PORTS, _port("/dev/ttyACM9", 0x0483, 0x374B)]
    assert pick_port(list_serial_ports(_machine(tmp_path, twice)), facts) is None
    assert pick_port(list_serial_ports(_machine(tmp_path, PORTS[:1])), facts) is None


def test_volumes_where_there_is_no_proc(tmp_path: Path) -> None:
    assert find_volumes(machine(tmp_path)) == []
    (tmp_path / "Volumes" / "RPI-RP2").mkdir(parents=True)
    (tmp_path / "Volumes" / "RPI-RP2" / "INFO_UF2.TXT").write_bytes(b"Board-ID: RPI-RP2\r\n\xff\xfe")
    assert [volume.board_id for volume in find_volumes(machine(tmp_path))] == ["RPI-RP2"]


def test_the_real_machine_is_looked_at_without_harm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["devices", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"ports", "volumes", "probes", "notes"}


def test_known_ids_are_ids() -> None:
    assert all(0 < vendor < 1 << 16 and 0 <= product < 1 << 16 for vendor, product in KNOWN_USB)
