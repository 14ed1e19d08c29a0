# SPDX-License-Identifier: Apache-2.0
"""The ways onto a board that need no probe: volumes, the UART of an STM32, programs on the search path; and their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from an3155_device import Faults, Rom, on_pty
from flash_machines import Time, add_program, add_volume, machine, without_parity
from outside import complaint

from joulet.boards import board_names, board_table
from joulet.errors import FlashError, JouletError, UsageError
from joulet.flash.choose import choose_flasher, make_flasher
from joulet.flash.facts import WAYS, FlashFacts, flash_facts
from joulet.flash.flasher import Options, check_fits
from joulet.flash.image import Image, read_hex, write_hex
from joulet.flash.surroundings import Surroundings
from joulet.flash.uf2 import read_uf2, write_uf2

PICO, NUCLEO = flash_facts("pico"), flash_facts("nucleo_f446re")
PICO_IMAGE = Image.of([(0x1000_0000, bytes(range(256)) * 3), (0x1001_0000, b"model" * 50)])
NUCLEO_IMAGE = Image.of([(0x0800_0000, b"firmware" * 40), (0x0801_0004, b"model" * 100)])
INFO = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"


class Events(list[dict[str, Any]]):
    """Events heard."""

    def __call__(self, event: dict[str, object]) -> None:
        self.append(event)

    def tasks(self) -> dict[str, bool]:
        return {e["data"]["task"]: e["data"]["ok"] for e in self if e["type"] == "task_end"}

    def logs(self) -> str:
        return "\n".join(e["data"]["message"] for e in self if e["type"] == "log")


def test_uf2_is_copied_and_the_volume_goes_away(tmp_path: Path) -> None:
    path = add_volume(tmp_path, "RPI-RP2", {"INFO_UF2.TXT": INFO, "INDEX.HTM": ""})
    add_volume(tmp_path, "OTHER UF2", {"INFO_UF2.TXT": INFO.replace("RPI-RP2", "SAMD21G18A")})
    add_volume(tmp_path, "disk", {"INFO_UF2.TXT": INFO}, kind="ext4")
    taken: list[bytes] = []

    def at(now_s: float) -> None:
        if now_s > 1.0 and (path / "JOULET.UF2").exists():
            taken.append((path / "JOULET.UF2").read_bytes())
            (path / "INFO_UF2.TXT").unlink()
            (path / "JOULET.UF2").unlink()

    flasher = make_flasher("uf2", PICO, Options(), machine(tmp_path, time=Time(at)))
    assert [(device.id, device.description) for device in flasher.probe()] == [(str(path), "Raspberry Pi RP2")]
    events = Events()
    result = flasher.flash(PICO_IMAGE, events)
    assert (result.bytes_written, result.read_back, result.verified) == (PICO_IMAGE.size_bytes, False, False)
    assert events.tasks() == {"program": True, "restart": True}
    assert read_uf2(taken[0]).family == PICO.family
    assert taken[0] == write_uf2(PICO_IMAGE, 0xE48BFF56)


def test_a_uf2_volume_that_stays_ignored_the_blocks(tmp_path: Path) -> None:
    add_volume(tmp_path, "RPI-RP2", {"INFO_UF2.TXT": INFO})
    time, events = Time(), Events()
    with pytest.raises(FlashError, match=r"still there after 15 s.*RP2040"):
        make_flasher("uf2", PICO, Options(), machine(tmp_path, time=time)).flash(PICO_IMAGE, events)
    assert 15.0 <= time.now_s < 16.0
    assert events.tasks() == {"program": True, "restart": False}


def test_a_uf2_volume_of_another_board_is_refused(tmp_path: Path) -> None:
    add_volume(tmp_path, "RPI-RP2", {"INFO_UF2.TXT": INFO})
    other = add_volume(tmp_path, "FEATHER", {"INFO_UF2.TXT": INFO.replace("RPI-RP2", "nRF52840-Feather")})
    around = machine(tmp_path)
    with pytest.raises(UsageError, match=r"nRF52840-Feather.*not of pico"):
        make_flasher("uf2", PICO, Options(mount=other), around).flash(PICO_IMAGE, Events())
    with pytest.raises(UsageError, match=r"--mount.*no INFO_UF2\.TXT"):
        make_flasher("uf2", PICO, Options(mount=tmp_path), around).flash(PICO_IMAGE, Events())
    # the same Board-ID, but what runs there is of another family
    current = write_uf2(Image.of([(0x2000, b"x" * 700)]), 0xADA52840)
    (tmp_path / "media/me/RPI-RP2/CURRENT.UF2").write_bytes(current)
    with pytest.raises(FlashError, match=r"nRF52840.*nothing written"):
        make_flasher("uf2", PICO, Options(), around).flash(PICO_IMAGE, Events())
    assert not (tmp_path / "media/me/RPI-RP2/JOULET.UF2").exists()


def test_two_volumes_ask_which(tmp_path: Path) -> None:
    for name in ("RPI-RP2", "RPI-RP21"):
        add_volume(tmp_path, name, {"INFO_UF2.TXT": INFO})
    with pytest.raises(UsageError, match="--mount"):
        make_flasher("uf2", PICO, Options(), machine(tmp_path)).flash(PICO_IMAGE, Events())


def _debugger(root: Path, details: str = "Version: 0221\nBuild: Apr 24 2018\n", name: str = "NODE_F446RE") -> Path:
    return add_volume(root, name, {"DETAILS.TXT": details, "MBED.HTM": ""})


@pytest.mark.parametrize(("details", "file"), [("Version: 0221\n", "JOULET.BIN"), ("DAPLink Firmware\n", "JOULET.HEX")])
def test_a_debugger_takes_its_kind_of_file(tmp_path: Path, details: str, file: str) -> None:
    path = _debugger(tmp_path, details)
    taken: dict[str, bytes] = {}

    def at(now_s: float) -> None:
        if (path / file).exists():
            taken[file] = (path / file).read_bytes()
            (path / file).unlink()

    events = Events()
    make_flasher("volume", NUCLEO, Options(), machine(tmp_path, time=Time(at))).flash(NUCLEO_IMAGE, events)
    if file == "JOULET.BIN":
        assert taken[file] == NUCLEO_IMAGE.to_bytes(0x0800_0000)
    else:
        assert read_hex(taken[file]) == NUCLEO_IMAGE
    assert events.tasks() == {"program": True, "restart": True}
    assert events.logs() == ""


def test_fail_txt_is_the_error(tmp_path: Path) -> None:
    path = _debugger(tmp_path)
    (path / "FAIL.TXT").write_text("an old failure\n")

    def at(now_s: float) -> None:
        (path / "FAIL.TXT").write_text("error: The interface firmware FAILED to reset\r\ntype: target\r\n")

    with pytest.raises(FlashError, match="FAILED to reset type: target"):
        make_flasher("volume", NUCLEO, Options(), machine(tmp_path, time=Time(at))).flash(NUCLEO_IMAGE, Events())


def test_a_debugger_that_says_nothing_is_left_to_the_handshake(tmp_path: Path) -> None:
    path = _debugger(tmp_path)
    (path / "FAIL.TXT").write_text("an old failure\n")
    events = Events()
    result = make_flasher("volume", NUCLEO, Options(), machine(tmp_path)).flash(NUCLEO_IMAGE, events)
    assert not result.verified
    assert "only the handshake can tell" in events.logs()


def test_only_the_volume_of_this_board_is_taken(tmp_path: Path) -> None:
    _debugger(tmp_path, name="NODE_L476RG")
    assert make_flasher("volume", NUCLEO, Options(), machine(tmp_path)).probe() == []
    by_hand = Options(mount=tmp_path / "media/me/NODE_L476RG")
    assert len(make_flasher("volume", NUCLEO, by_hand, machine(tmp_path)).probe()) == 1


def test_a_volume_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = _debugger(tmp_path)
    (path / "JOULET.BIN").mkdir()
    with pytest.raises(FlashError, match=r"cannot write .*JOULET\.BIN.*0 of"):
        make_flasher("volume", NUCLEO, Options(), machine(tmp_path)).flash(NUCLEO_IMAGE, Events())


def _uart(rom_name: str | None, **changes: Any) -> Any:
    return make_flasher(
        "stm32-uart", NUCLEO, Options(port=rom_name), Surroundings(path="", load=without_parity, **changes)
    )


def test_the_uart_of_an_stm32(tmp_path: Path) -> None:
    rom, events = Rom(), Events()
    with on_pty(rom) as name:
        flasher = _uart(name)
        assert [device.id for device in flasher.probe()] == [name]
        result = flasher.flash(NUCLEO_IMAGE, events)
    assert (result.device, result.bytes_written, result.read_back) == (name, NUCLEO_IMAGE.size_bytes, True)
    assert rom.erased == [0, 4]  # only what the image touches
    for address, data in NUCLEO_IMAGE.segments:
        at = address - 0x0800_0000
        assert rom.flash[at : at + len(data)] == data
    assert rom.flash[0x4000] == 0x5A
    assert rom.started_at == 0x0800_0000
    assert events.tasks() == {"erase": True, "program": True, "verify": True}
    assert "boot loader 3.1" in events.logs()
    plan = "\n".join(flasher.plan(NUCLEO_IMAGE))
    assert "erase sectors 0, 4" in plan
    assert "0x421" in plan


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"product_id": 0x433}, "0x433, nucleo_f446re has 0x421: wrong board"),
        ({"faults": Faults(silent=True)}, "no answer.*BOOT0.*does not listen to"),
        ({"faults": Faults(hole=0x0801_0100)}, "flash at 0x08010100 does not hold"),
    ],
)
def test_a_failing_stm32_gives_one_line(changes: dict[str, Any], word: str) -> None:
    rom = Rom(**changes)
    with on_pty(rom) as name, pytest.raises(FlashError, match=word):
        _uart(name).flash(NUCLEO_IMAGE, Events())
    assert rom.started_at is None
    if "product_id" in changes:
        assert not rom.erased


def test_ports_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match=r"none0.*no such port"):
        _uart(str(tmp_path / "none0")).flash(NUCLEO_IMAGE, Events())
    with pytest.raises(UsageError, match="--port"):
        _uart(None).probe()
    with pytest.raises(JouletError, match="pip install pyserial"):
        make_flasher("stm32-uart", NUCLEO, Options(port="x"), machine(tmp_path, packages_missing=["serial"])).probe()


OPENOCD = """
assert "board/st_nucleo_f4.cfg" in args
image = args[-1].split("{")[1].split("}")[0]
pathlib.Path(__file__).with_name("copy.hex").write_bytes(pathlib.Path(image).read_bytes())
for line in ("Open On-Chip Debugger 0.12.0", "** Programming Started **", "** Programming Finished **", "** Verify Started **",
             "** Verified OK **", "** Resetting Target **"):
    print(line, file=sys.stderr, flush=True)
"""


def test_openocd_is_called_and_believed_when_it_verified(tmp_path: Path) -> None:
    add_program(tmp_path, "openocd", OPENOCD)
    flasher, events = make_flasher("openocd", NUCLEO, Options(probe="066A"), machine(tmp_path)), Events()
    result = flasher.flash(NUCLEO_IMAGE, events)
    assert result.read_back
    assert read_hex((tmp_path / "bin/copy.hex").read_bytes()) == NUCLEO_IMAGE
    called = json.loads((tmp_path / "openocd.log").read_text())
    assert called[:4] == ["-f", "board/st_nucleo_f4.cfg", "-c", "adapter serial 066A"]
    assert called[-1].endswith("verify reset exit")
    assert "Verified OK" in events.logs()
    assert "openocd -f board/st_nucleo_f4.cfg" in flasher.plan(NUCLEO_IMAGE)[0]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        # as OpenOCD 0.12.0 says them
        (
            "print('Error: open failed'); print('bye'); sys.exit(1)",
            "ended with 1: Error: open failed; plug the debugger in",
        ),
        ("print('Error: No J-Link device found'); sys.exit(1)", "No J-Link device found; plug"),
        (
            'print("embedded:startup.tcl:28: Error: Can\'t find board/none.cfg"); print(\'at file "x", line 28\'); sys.exit(1)',
            "ended with 1: Error: Can't find board/none.cfg",
        ),
        ("print('** Programming Finished **')", r"without '\*\* Verified OK"),
        ("sys.exit(3)", "ended with 3: it said nothing"),
        ("print('waiting', flush=True); time.sleep(60)", r"ended after 1 s; it said last: waiting"),
    ],
)
def test_a_failing_openocd_gives_one_line(tmp_path: Path, body: str, word: str) -> None:
    add_program(tmp_path, "openocd", body)
    flasher: Any = make_flasher("openocd", NUCLEO, Options(), machine(tmp_path))
    flasher = type(flasher)(facts=NUCLEO, options=Options(), around=flasher.around, within_s=1.0)
    events = Events()
    with pytest.raises(FlashError, match=word):
        flasher.flash(NUCLEO_IMAGE, events)
    assert events.tasks() == {"program": False}


def test_probe_rs_downloads_and_resets(tmp_path: Path) -> None:
    body = "print('Erasing   10%\\rErasing 100%\\rProgramming  40%\\rProgramming 100%\\n     Finished in 1.2s')"
    add_program(tmp_path, "probe-rs", body)
    events = Events()
    make_flasher("probe-rs", NUCLEO, Options(probe="0483:374b"), machine(tmp_path)).flash(NUCLEO_IMAGE, events)
    first, second = (json.loads(line) for line in (tmp_path / "probe-rs.log").read_text().splitlines())
    assert first[:5] == ["download", "--chip", "STM32F446RETx", "--probe", "0483:374b"]
    assert first[5:8] == ["--binary-format", "hex", "--verify"]
    assert second == ["reset", "--chip", "STM32F446RETx", "--probe", "0483:374b"]
    assert [e["data"]["done"] for e in events if e["type"] == "task_progress"] == [40, 100]
    add_program(
        tmp_path, "probe-rs", "print('WARN x'); print(' Error: No probe was found.'); print('hint'); sys.exit(1)"
    )
    with pytest.raises(FlashError, match=r"probe-rs download ended with 1: Error: No probe was found\.; plug"):
        make_flasher("probe-rs", NUCLEO, Options(), machine(tmp_path)).flash(NUCLEO_IMAGE, Events())


def test_the_order_of_preference(tmp_path: Path) -> None:
    """Add ways from the last to the first; each must win as soon as it is there."""
    around, rom = machine(tmp_path), Rom()
    options, heard = Options(), Events()
    with pytest.raises(FlashError) as caught:
        choose_flasher(NUCLEO, options, around, heard)
    for word in (
        "pyocd: pyOCD is not installed",
        "volume: no debugger's volume",
        "stm32-uart: ",
        "openocd is not on",
        "probe-rs",
    ):
        assert word in str(caught.value)
    add_program(tmp_path, "probe-rs", "")
    assert choose_flasher(NUCLEO, options, around, heard).via == "probe-rs"
    add_program(tmp_path, "openocd", "")
    assert choose_flasher(NUCLEO, options, around, heard).via == "openocd"

    def load(module: str) -> Any:
        return around.load(module) if module == "pyocd" else without_parity(module)

    with on_pty(rom) as name:
        with_port = Surroundings(path=around.path, load=load)
        assert choose_flasher(NUCLEO, Options(port=name), with_port, heard).via == "stm32-uart"
    _debugger(tmp_path)
    assert choose_flasher(NUCLEO, options, around, heard).via == "volume"
    assert "flashing via volume" in heard.logs()
    add_volume(tmp_path, "RPI-RP2", {"INFO_UF2.TXT": INFO})
    assert choose_flasher(PICO, options, around, heard).via == "uf2"


def test_a_way_without_facts_is_refused(tmp_path: Path) -> None:
    bare = FlashFacts(board="bare", title="Bare", base=0, flash_bytes=1024)
    for via in WAYS:
        around = machine(tmp_path, packages_missing=["nothing"])
        assert "bare has no" in complaint(
            lambda via=via, around=around: make_flasher(via, bare, Options(port="x"), around).probe()
        )
    with pytest.raises(FlashError, match="names no way"):
        choose_flasher(bare, Options(), machine(tmp_path), Events())
    with pytest.raises(UsageError, match="there are pyocd"):
        make_flasher("carrier-pigeon", bare, Options(), machine(tmp_path))


@pytest.mark.parametrize("address", [0x0800_0000 - 1, 0x0807_FFFF])
def test_an_image_beside_the_flash_is_refused(address: int) -> None:
    with pytest.raises(UsageError, match=r"nucleo_f446re.*0x08000000 to 0x0807ffff"):
        check_fits(Image.of([(address, b"ab")]), NUCLEO)


def test_the_boards_facts_hold_together() -> None:
    for name in board_names():
        if "flash" in board_table(name):
            facts = flash_facts(name)
            assert facts.ways
            assert facts.flash_bytes > 0
            assert sum(count * size for count, size in facts.sectors) in (0, facts.flash_bytes)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("[flash]\n", "[flush]\n", "has no [flash] table"),
        ("base = 0x0800_0000", "", "'base'"),
        ("base = 0x0800_0000", 'base = "low"', "base is 'low'"),
        ("base = 0x0800_0000", "base = 0x2000_0000", "in no memory called flash"),
        ("base = 0x0800_0000", "base = 0x0800_0000\nfoo = 1", "unknown entry 'foo'"),
        ('"0483:374b"', '"0483-374b"', "is no USB id"),
        ("stm32_product_id = 0x470", "stm32_product_id = -1", "stm32_product_id"),
        ("[0xe004_2000, 0xfff, 0x470]", "[1, 2]", "chip_id"),
        ("stm32_product_id = 0x470", "sectors = [[0, 4]]", "sectors"),
        ('pyocd_target = "stm32l4r5zitx"', "pyocd_target = 3", "pyocd_target"),
    ],
)
def test_a_bad_flash_table_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    root = Path(__file__).resolve().parents[1]
    text = (root / "firmware/boards/nucleo_l4r5zi/board.toml").read_text()
    assert old in text
    path = tmp_path / "board.toml"
    path.write_text(text.replace(old, new))
    said = complaint(lambda: flash_facts(str(path)))
    assert word in said
    assert "\n" not in said


def test_hex_for_programs_is_what_we_hold(tmp_path: Path) -> None:
    assert read_hex(write_hex(NUCLEO_IMAGE)) == NUCLEO_IMAGE
