# SPDX-License-Identifier: Apache-2.0
"""Flashing through pyOCD itself: its flash routines run as Thumb code on a chip that is not there."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flash_machines import add_program, machine
from outside import complaint, need_package
from thumb import need_tools

from joulet.errors import FlashError, MissingDependencyError, UsageError
from joulet.flash.build import read_build
from joulet.flash.choose import choose_flasher
from joulet.flash.facts import FlashFacts, flash_facts
from joulet.flash.flasher import Options
from joulet.flash.image import Image
from joulet.flash.surroundings import Surroundings
from joulet.flash.swd import PyocdFlasher, list_probes
from joulet.tools import main

NRF = flash_facts("nrf52840_dk")
_random = random.Random(7)
IMAGE = Image.of([(0, _random.randbytes(9_001)), (0x2_0000, _random.randbytes(5_000)), (0x4_0800, b"tail")])


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Plug test probes into pyOCD, and nothing else; the fixture maps their ids to chips."""
    need_package("pyocd", "pyocd")
    need_package("unicorn", "unicorn")
    aggregator = importlib.import_module("pyocd.probe.aggregator")
    simulated = importlib.import_module("nrf52840_probe")
    chips: dict[str, Any] = {}
    monkeypatch.setattr(simulated.ChipProbe, "chips", chips)
    monkeypatch.setattr(aggregator, "PROBE_CLASSES", {"test": simulated.ChipProbe})
    return chips


def _chip(**changes: Any) -> Any:
    return importlib.import_module("nrf52840_probe").Chip(**changes)


def _flasher(**options: Any) -> PyocdFlasher:
    return PyocdFlasher(facts=NRF, options=Options(**options), around=Surroundings(path=""))


def test_pyocd_programs_and_we_read_back(probes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    chip = probes["P1"] = _chip()
    chip.flash[:] = b"\xa5" * len(chip.flash)  # what lay there before
    chip.cpu.mem_write(0, bytes(chip.flash))
    events: list[dict[str, Any]] = []
    result = _flasher().flash(IMAGE, events.append)
    assert (result.via, result.device, result.bytes_written, result.read_back) == ("pyocd", "P1", 14_005, True)
    for address, data in IMAGE.segments:
        assert chip.flash[address : address + len(data)] == data
    assert chip.flash[0x3000:0x2_0000] == b"\xa5" * (0x2_0000 - 0x3000)  # sectors beside the image are as they were
    assert chip.resets > 0
    ended = [event["data"] for event in events if event["type"] == "task_end"]
    assert [data["task"] for data in ended if data["task"] in ("erase", "program", "verify")][-1] == "verify"
    assert {"erase", "program"} <= {data["task"] for data in ended}
    assert all(data["ok"] for data in ended)
    progress = [e["data"] for e in events if e["type"] == "task_progress" and e["data"]["task"] == "verify"]
    assert progress[-1]["done"] == progress[-1]["total"] == 14_005
    assert capsys.readouterr() == ("", "")  # nothing but events


def test_flashing_the_same_again_is_no_error(probes: dict[str, Any]) -> None:
    probes["P1"] = _chip()
    for _ in range(2):
        assert _flasher().flash(IMAGE, lambda event: None).read_back


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"fail_program": True}, "FlashProgramFailure"),
        ({"fail_erase": True}, "FlashEraseFailure"),
        ({"hole": 0x2_1000}, "flash at 0x00021000 does not hold what was written"),
        ({"part": 0x5_2833}, "wrong board, nothing erased"),
    ],
)
def test_a_failing_chip_gives_one_line(probes: dict[str, Any], changes: dict[str, Any], word: str) -> None:
    chip = probes["P1"] = _chip(**changes)
    if "fail_erase" in changes:
        chip.flash[:] = bytes(len(chip.flash))
        chip.cpu.mem_write(0, bytes(chip.flash))
    events: list[dict[str, Any]] = []
    said = complaint(lambda: _flasher().flash(IMAGE, events.append))
    assert word in said
    assert "\n" not in said
    if "part" in changes:
        assert chip.flash == b"\xff" * len(chip.flash)
    else:
        assert not [e for e in events if e["type"] == "task_end"][-1]["data"]["ok"]


def test_an_image_beside_the_flash_is_an_error(probes: dict[str, Any]) -> None:
    probes["P1"] = _chip()
    with pytest.raises(FlashError, match="no memory region"):
        _flasher().flash(Image.of([(0x3000_0000, b"abcd")]), lambda event: None)


def test_no_probe_is_no_wait_and_several_are_a_question(probes: dict[str, Any]) -> None:
    assert _flasher().probe() == []
    with pytest.raises(UsageError, match="no device is there"):
        _flasher().flash(IMAGE, lambda event: None)
    probes["AB1"], probes["CD2"] = _chip(), _chip()
    assert [device.id for device in _flasher().probe()] == ["AB1", "CD2"]
    with pytest.raises(UsageError, match=r"AB1.*CD2.*--probe"):
        _flasher().flash(IMAGE, lambda event: None)
    assert _flasher(probe="cd2").flash(Image.of([(0, b"ab")]), lambda event: None).device == "CD2"
    with pytest.raises(UsageError, match="fits 'xy'"):
        _flasher(probe="xy").flash(IMAGE, lambda event: None)


def test_an_unknown_chip_names_the_pack(probes: dict[str, Any], tmp_path: Path) -> None:
    facts = FlashFacts(board="b", title="B", base=0, flash_bytes=1, pyocd_target="stm32zz9")
    around = Surroundings(path="")
    with pytest.raises(UsageError, match=r"stm32zz9.*--pack FILE.*pyocd pack install"):
        PyocdFlasher(facts=facts, options=Options(), around=around).probe()
    with pytest.raises(UsageError, match=r"none\.pack: no such file"):
        PyocdFlasher(facts=facts, options=Options(pack=tmp_path / "none.pack"), around=around).probe()
    probes["P1"] = _chip()
    (tmp_path / "bad.pack").write_bytes(b"no zip")
    bad = PyocdFlasher(facts=facts, options=Options(pack=tmp_path / "bad.pack"), around=around)
    said = complaint(lambda: bad.flash(IMAGE, lambda event: None))
    assert "P1" in said
    assert "\n" not in said


def test_without_pyocd_the_extra_is_named() -> None:
    def load(name: str) -> ModuleType:
        raise ImportError(name)

    around = Surroundings(path="", load=load)
    with pytest.raises(MissingDependencyError, match=r"joulet\[swd\]"):
        list_probes(around)
    with pytest.raises(MissingDependencyError, match=r"joulet\[swd\]"):
        PyocdFlasher(facts=NRF, options=Options(), around=around).probe()


def test_the_plan_says_what_will_happen() -> None:
    plan = "\n".join(_flasher(probe="P1").plan(IMAGE))
    for word in ("P1", "nrf52840", "0x52840", "9001 bytes at 0x00000000", "read all of it back"):
        assert word in plan


def test_a_probe_is_preferred_to_all_else(probes: dict[str, Any], tmp_path: Path) -> None:
    add_program(tmp_path, "openocd", "")
    around = machine(tmp_path, packages_missing=["nothing"])
    assert choose_flasher(NRF, Options(), around, lambda event: None).via == "openocd"
    probes["P1"] = _chip()
    assert choose_flasher(NRF, Options(), around, lambda event: None).via == "pyocd"


def test_from_a_container_to_a_chip_in_one_command(
    probes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``joulet flash --board nrf52840_dk tiny.jlt``: the real build, the real pyOCD, and what the chip then holds."""
    need_tools()
    monkeypatch.chdir(tmp_path)
    chip = probes["P1"] = _chip()
    model = Path(__file__).resolve().parent / "golden" / "containers" / "v1" / "tiny.jlt"
    words = ["flash", "--board", "nrf52840_dk", str(model), "--via", "pyocd", "--no-verify", "--json"]
    assert main.main(words) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]
    assert (last["ok"], last["read_back"], last["verified"]) == (True, True, False)
    build = read_build(tmp_path / "joulet-build" / "nrf52840_dk")
    assert last["build_id"] == build.build_id.hex()
    for address, data in build.image.segments:
        assert chip.flash[address : address + len(data)] == data
