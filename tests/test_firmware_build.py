# SPDX-License-Identifier: Apache-2.0
"""The firmware of every board: it builds, it keeps its limits, its stack has a bound, and CMake makes the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from thumb import need_tools

from joulet.boards import board_names, board_table, load_board
from joulet.engine.host import HostEngine
from joulet.errors import DataError
from joulet.firmware.architecture import ARM
from joulet.firmware.board_files import firmware_facts
from joulet.firmware.build import Firmware, build_firmware
from joulet.firmware.linked import Linked
from joulet.firmware.sizes import firmware_sizes
from joulet.firmware.stack import stack_bound
from joulet.flash.facts import flash_facts
from joulet.flash.image import read_elf
from joulet.tools.boot2 import boot2_source, crc32_mpeg2
from joulet.tools.firmware import boards_with_firmware

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "tests" / "golden" / "containers" / "v1" / "tiny.jlt"
BOARDS = boards_with_firmware()
REAL = ("nucleo_l4r5zi", "nucleo_f446re", "pico", "nrf52840_dk")
SLOTS = ("firmware", "model", "policy", "session", "samples")


def need_programs(**packages: str) -> None:
    """Skip where a program is missing; in CI that is a failure."""
    missing = [f"{program.replace('_', '-')} (Debian: {package})" for program, package in packages.items()
               if shutil.which(program.replace("_", "-")) is None]  # fmt: skip
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI lacks {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def built(board: str) -> Firmware:
    need_tools()
    cpu = firmware_facts(board).architecture
    need_programs(**{cpu.gcc.replace("-", "_"): cpu.gcc_packages})
    return build_firmware(board, toolchain="gcc")


# board.toml


def test_every_board_has_a_firmware() -> None:
    assert set(REAL) <= set(BOARDS)
    assert {name for name in board_names() if name.startswith(("virtual_", "qemu_"))} <= set(BOARDS)


@pytest.mark.parametrize("board", BOARDS)
def test_slots_lie_apart_on_whole_pages(board: str) -> None:
    facts, memory = firmware_facts(board), board_table(board)["memory"]
    slots = {name: slot for name, slot in facts.slots.items() if slot.size}
    assert set(SLOTS) <= set(slots)
    ends = 0
    for slot in sorted(slots.values(), key=lambda slot: slot.address):
        assert slot.address >= ends
        ends = slot.address + slot.size
    # a model is checked where it lies; low planes start at multiples of 4 KiB of it
    assert slots["model"].address % 4096 == 0
    for name, slot in slots.items():
        if name != "firmware":
            assert slot.page > 0
            assert slot.address % slot.page == slot.size % slot.page == 0
            assert slot.page % int(facts.table["firmware"]["flash"]["granule_bytes"]) == 0
    if board in REAL:
        flash = memory["flash"]
        assert ends <= flash["address"] + flash["bytes"]
        assert all(slot.address >= flash["address"] for slot in slots.values())
        assert slots["firmware"].address == flash["address"] == flash_facts(board).base


@pytest.mark.parametrize("board", REAL)
def test_real_boards_say_that_they_are_not_seen(board: str) -> None:
    table, part = board_table(board), board_table(board)["firmware"]
    assert load_board(board).seen == "simulated"
    assert int(part["uart"]["baud"]) == int(table["uart"]["baud"]) == 115_200
    assert 0 <= int(part["uart"]["irq"]) < int(part["irqs"])
    assert 0 <= int(part["timer"]["irq"]) < int(part["irqs"])
    assert flash_facts(board).ways


def test_erase_pages_are_sectors_of_the_f446() -> None:
    starts, at = {}, 0x0800_0000
    for count, size in flash_facts("nucleo_f446re").sectors:
        for _ in range(count):
            starts[at] = size
            at += size
    for name, slot in firmware_facts("nucleo_f446re").slots.items():
        for page in range(slot.address, slot.address + slot.size, slot.page or slot.size or 1):
            assert name == "firmware" or starts[page] == slot.page


# what is built


@pytest.mark.parametrize("board", BOARDS)
def test_limits_hold(board: str) -> None:
    sizes = firmware_sizes(built(board))
    assert sizes.broken == ()
    assert sizes.csrc_ram == 0
    assert 0 < sizes.engine_flash < sizes.csrc_flash < sizes.flash
    assert sizes.beside_arena <= 4096
    assert 500 < sizes.stack_bound <= sizes.stack_reserved
    # the engine, or a check of the container that ends in a write to memory
    assert any(step.split()[0] in ("jlt_engine_tile", "jlt_model_recheck") for step in sizes.stack_path)


@pytest.mark.parametrize("board", BOARDS)
def test_the_image_lies_in_its_slot(board: str) -> None:
    check_extent(built(board))


def check_extent(firmware: Firmware) -> None:
    """Hold the image against its slot, and against what the firmware takes for itself when it sums itself up."""
    from elftools.elf.elffile import ELFFile

    image, slot = read_elf(firmware.elf), firmware_facts(firmware.board).slots["firmware"]
    with firmware.elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        start, end = (table.get_symbol_by_name(f"jlt_image_{name}")[0]["st_value"] for name in ("start", "end"))
    assert start == slot.address == min(address for address, _ in image.segments)
    assert end == max(address + len(data) for address, data in image.segments)
    assert end <= slot.address + slot.size


@pytest.mark.parametrize("board", [board for board in BOARDS if firmware_facts(board).architecture is ARM])
def test_vectors_lead_to_the_reset_and_to_the_line(board: str) -> None:
    firmware, facts = built(board), firmware_facts(board)
    linked = Linked(firmware)
    at = next(section.address for section in linked.sections if section.name == ".vectors")
    irqs = int(facts.table["firmware"]["irqs"])
    table = np.frombuffer(read_elf(firmware.elf).part(at, 4 * (16 + irqs)), "<u4")
    assert at % max(128, 1 << (4 * (16 + irqs) - 1).bit_length()) == 0
    assert table[0] == facts.ram.address + int(facts.table["firmware"]["stack_bytes"])
    assert table[1] == linked.symbols["jlt_reset"].address | 1
    assert table[16 + int(facts.table["firmware"]["uart"]["irq"])] == linked.symbols["jlt_console_irq"].address | 1


def test_a_riscv_image_begins_with_the_reset() -> None:
    linked = Linked(built("qemu_riscv32_virt"))
    assert linked.symbols["jlt_reset"].address == firmware_facts("qemu_riscv32_virt").slots["firmware"].address
    assert linked.handlers() == {linked.symbols["jlt_trap"].address}


# the bound on the stack


def stack_taken(firmware: Firmware) -> int:
    """Return how deep the stack of a virtual board got: at the link, inferring, and taking a model [bytes]."""
    from joulet.emulator.board import VirtualBoard, VirtualPort
    from joulet.link import connect

    container = TINY.read_bytes()
    machine = VirtualBoard(firmware.board, firmware=firmware)
    machine.load(machine.facts.slots["model"].address, container)
    reserved = int(machine.facts.table["firmware"]["stack_bytes"])
    machine.power_on()  # fills RAM with 0xAA
    engine = HostEngine(container)
    x = np.zeros((1, *engine.inputs[0].shape[1:]), np.int8)
    with connect(VirtualPort(machine)) as link:
        link.upload("INPUT", x.tobytes())
        for path in range(len(engine.path_names)):
            link.infer(path, len(engine.exit_names) - 1)
            link.answer()
        link.upload("MODEL", container)
    return reserved - int(np.argmax(machine.core.ram[:reserved] != 0xAA))


@pytest.mark.parametrize("board", ["virtual_m4", "virtual_m0plus"])
def test_no_run_takes_more_stack_than_the_bound(board: str) -> None:
    firmware = built(board)
    assert 400 < stack_taken(firmware) <= firmware_sizes(firmware).stack_bound


def _with_graph(firmware: Firmware, folder: Path, unit: str, change: tuple[str, str]) -> Firmware:
    """Return a copy of a build whose call graph says something else."""
    copy = folder / "copy"
    shutil.copytree(firmware.folder, copy)
    path = copy / unit
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    return Firmware(
        board=firmware.board,
        build_id=firmware.build_id,
        elf=copy / "firmware.elf",
        folder=copy,
        toolchain=firmware.toolchain,
    )


NO_BOUND = [
    ("csrc_core_engine.c.ci", ('targetname: "jlt_choose"', 'targetname: "jlt_engine_tile"'), "recursion"),
    ("firmware_clock.c.ci", ("bytes (static)", "bytes (dynamic)"), "no bound"),
    ("firmware_console.c.ci", ("firmware/console.c:", "firmware/other.c:"), "targets are not known"),
    ("firmware_console.c.ci", ("firmware/console.c:", "firmware/clock.c:"), "none of jlt_timer_virtual"),
]


@pytest.mark.parametrize(
    ("board", "unit", "change", "word"),
    # the last needs a board with all the drivers
    [("virtual_m4", *case) for case in NO_BOUND] + [("qemu_riscv32_virt", *case) for case in NO_BOUND[:3]],
)
def test_what_has_no_bound_is_an_error(
    tmp_path: Path, board: str, unit: str, change: tuple[str, str], word: str
) -> None:
    firmware = _with_graph(built(board), tmp_path, unit, change)
    facts = firmware_facts(board)
    with pytest.raises(DataError, match=word):
        stack_bound(Linked(firmware), facts)


def test_a_deeper_frame_makes_a_deeper_stack(tmp_path: Path) -> None:
    firmware, facts = built("virtual_m4"), firmware_facts("virtual_m4")
    unit = "csrc_core_engine.c.ci"
    frame = next(step for step in stack_bound(Linked(firmware), facts).path if step.startswith("jlt_engine_tile "))
    size = int(frame.split()[1])
    changed = _with_graph(firmware, tmp_path, unit, (f"{size} bytes (static)", f"{size + 800} bytes (static)"))
    assert stack_bound(Linked(changed), facts).bytes == stack_bound(Linked(firmware), facts).bytes + 800


# boot2 of the RP2040


def test_the_crc_is_that_of_the_catalogue() -> None:
    assert crc32_mpeg2(b"123456789") == 0x0376_E6E7  # CRC-32/MPEG-2


def test_boot2_is_what_its_source_says() -> None:
    need_tools()
    assert (ROOT / "firmware" / "boards" / "pico" / "boot2.c").read_text() == boot2_source()


def test_the_pico_image_begins_with_boot2() -> None:
    image = read_elf(built("pico").elf)
    boot2 = image.part(0x1000_0000, 256)
    assert crc32_mpeg2(boot2[:252]) == int.from_bytes(boot2[252:], "little")
    stack, entry = np.frombuffer(image.part(0x1000_0100, 8), "<u4")
    assert 0x2000_0000 < stack <= 0x2004_2000
    assert 0x1000_0100 < entry < 0x1002_0000


# CMake


def test_presets_name_the_boards() -> None:
    presets = json.loads((ROOT / "firmware" / "CMakePresets.json").read_text())
    assert [preset["name"] for preset in presets["configurePresets"] if not preset.get("hidden")] == BOARDS
    assert [preset["name"] for preset in presets["buildPresets"]] == BOARDS


@pytest.mark.parametrize("board", ["pico", "qemu_riscv32_virt"])
def test_cmake_makes_the_same_bytes(tmp_path: Path, board: str) -> None:
    firmware = built(board)
    need_programs(cmake="cmake", ninja="ninja-build")
    command = ["cmake", "--preset", board, "-B", str(tmp_path), f"-DJLT_PYTHON={sys.executable}"]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT / "firmware")
    subprocess.run(["cmake", "--build", str(tmp_path), "-j", "2"], check=True, capture_output=True)
    assert read_elf(tmp_path / "firmware.elf").segments == read_elf(firmware.elf).segments
    assert (tmp_path / "firmware.hex").stat().st_size > 0


# QEMU


def test_the_f446_answers_on_an_stm32f405(tmp_path: Path) -> None:
    firmware = built("nucleo_f446re")
    need_programs(qemu_system_arm="qemu-system-arm")
    from joulet.emulator.qemu import SocketPort

    # its USART2 is QEMU's second line; RCC is not modelled, so that every wait for a clock runs into its bound
    path = tmp_path / "line"
    model = tmp_path / "model.jlt"
    model.write_bytes(TINY.read_bytes())
    slot = firmware_facts("nucleo_f446re").slots["model"].address
    command = ["qemu-system-arm", "-M", "netduinoplus2", "-nographic", "-monitor", "none", "-kernel", str(firmware.elf)]
    command += ["-device", f"loader,file={model},addr=0x{slot:x},force-raw=on", "-serial", "null"]
    command += ["-chardev", f"socket,id=uart,path={path},server=on,wait=on", "-serial", "chardev:uart"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        port = SocketPort(path, time.monotonic() + 10.0)
        said = _heard(port, 1)
        assert said.startswith("m-timestamp-mode-performance\r\n")
        port.write(b"name%")
        assert _heard(port, 1) == "m-name-dut-[joulet]\r\nm-ready\r\n"
        port.write(b"infer 1 0%")
        assert "m-results-[" in _heard(port, 1)
        port.close()
    finally:
        process.terminate()
        process.communicate(timeout=10.0)


def _heard(port: object, replies: int) -> str:
    """Return what comes until so many replies are complete."""
    from joulet.emulator.qemu import SocketPort

    assert isinstance(port, SocketPort)
    text, end_s = "", time.monotonic() + 30.0
    while text.count("m-ready\r\n") < replies and time.monotonic() < end_s:
        text += port.read(4096, 1.0).decode("ascii")
    return text


# zig


def test_the_stack_of_a_build_by_zig_fits() -> None:
    """No bound is computed for it, so it is measured, with a margin."""
    need_tools()
    pytest.importorskip("ziglang", reason="needs ziglang (pip install 'joulet[zig]')")
    reserved = int(firmware_facts("virtual_m4").table["firmware"]["stack_bytes"])
    assert stack_taken(build_firmware("virtual_m4", toolchain="zig")) <= reserved - 200


@pytest.mark.parametrize("board", ["virtual_m4", "qemu_mps3_an547", "qemu_riscv32_virt"])
def test_zig_builds_what_gives_the_same_integers(board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ziglang", reason="needs ziglang (pip install 'joulet[zig]')")  # 411 MB; .ci/run installs it
    cpu = firmware_facts(board).architecture
    need_programs(**{cpu.qemu.replace("-", "_"): cpu.qemu_package})
    from joulet.emulator.qemu import QemuBoard
    from joulet.link import connect

    monkeypatch.setenv("JOULET_TOOLCHAIN", "zig")
    container = TINY.read_bytes()
    engine = HostEngine(container)
    x = np.random.default_rng(5).integers(-128, 128, (1, *engine.inputs[0].shape[1:]), dtype=np.int8)
    with QemuBoard(board, {"model": container}) as machine, connect(machine.port, timeout_s=20.0) as link:
        assert machine.firmware.toolchain.kind == "zig"
        check_extent(machine.firmware)
        link.upload("INPUT", x.tobytes())
        for path, name in enumerate(engine.path_names):
            for depth in range(len(engine.exit_names)):
                link.infer(path, depth)
                assert link.answer() == engine.infer([x], path=name, depth=depth).outputs[0].tobytes()
