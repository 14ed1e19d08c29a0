# SPDX-License-Identifier: Apache-2.0
"""Compile the firmware of a board: from source, kept by what went into it, never relinked for a model."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from joulet.boards import core_source, firmware_source
from joulet.errors import UsageError
from joulet.firmware.board_files import FirmwareFacts, board_header, firmware_facts, linker_script
from joulet.firmware.toolchain import Toolchain, find_toolchain, warnings

# rooms of csrc that a board needs; csrc/sim and csrc/host stay on the host
_ROOMS = ("core", "kernels", "link", "front")
_FIRMWARE = (
    "start.c", "main.c", "config.c", "clock.c", "console.c", "runner.c", "link.c", "model.c", "transfer.c", "journal.c",
    "session.c", "libc/string.c",
)  # fmt: skip
_DEFINES = ("-DJLT_WITH_F32=0", "-DNDEBUG")
_OPTIMISE = {"csrc": "-O2", "firmware": "-Os"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A built firmware.

    ``elf`` is the linked file, ``folder`` holds it with objects, stack usage and call graphs. ``build_id`` names all
    that went in: 8 bytes.
    """

    board: str
    build_id: bytes
    elf: Path
    folder: Path
    toolchain: Toolchain


def cache_folder() -> Path:
    """Return where built firmware is kept; ``JOULET_CACHE`` or the user's cache."""
    root = os.environ.get("JOULET_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulet"


def build_firmware(board: str, *, toolchain: str | None = None, energy_mode: bool = False) -> Firmware:
    """Build the firmware of a board, or return it from the cache when nothing has changed.

    Parameters
    ----------
    board : str
        Name of a board with a [firmware] table.
    toolchain : str, optional
        gcc or zig.
    energy_mode : bool
        Boot in the MLPerf runner's energy mode: time stamps are pulses on a pin, nothing is printed for them.

    Raises
    ------
    UsageError
        If there is no such board, no compiler, or the compiler fails.
    """
    facts = firmware_facts(board)
    compiler = find_toolchain(toolchain)
    with resources.as_file(core_source()) as core, resources.as_file(firmware_source()) as firmware:
        units = tuple(_units(facts, core, firmware))
        build_id = _build_id(facts, compiler, units, core, firmware, energy_mode)
        folder = cache_folder() / "firmware" / f"{board}-{build_id.hex()}"
        elf = folder / "firmware.elf"
        if not elf.is_file():
            _make(facts, compiler, units, (core, firmware), build_id, folder, energy_mode)
    return Firmware(board=board, build_id=build_id, elf=elf, folder=folder, toolchain=compiler)


def work_bytes(firmware: Firmware) -> int:
    """Return the RAM that a firmware leaves to arena and input [bytes]."""
    text = (firmware.folder / "firmware.map").read_text(encoding="utf-8", errors="replace")
    found = {}
    for name in ("jlt_work_start", "jlt_work_end"):
        match = re.search(rf"^\s*(0x[0-9a-f]+)\s.*\b{name}\b", text, re.MULTILINE) or re.search(
            rf"^\s*([0-9a-f]+)\s+[0-9a-f]+\s.*\b{name}\b", text, re.MULTILINE
        )
        if match is None:
            raise UsageError(f"{firmware.folder}: the link map lacks {name}; remove the folder and build again")
        found[name] = int(match.group(1), 16)
    return (found["jlt_work_end"] - found["jlt_work_start"]) & ~15


@dataclass(frozen=True, slots=True)
class Unit:
    """One file to compile; ``name`` is unique and says where it comes from."""

    name: str
    path: Path
    room: str


def _units(facts: FirmwareFacts, core: Path, firmware: Path) -> Iterator[Unit]:
    for room in _ROOMS:
        for path in sorted((core / room).rglob("*.c")):
            if not path.stem.endswith("_f32"):
                yield Unit(f"csrc/{path.relative_to(core)}", path, "csrc")
    for name in (*_FIRMWARE, *facts.sources):
        yield Unit(f"firmware/{name}", firmware / name, "firmware")
    for name in facts.board_sources:
        yield Unit(f"firmware/boards/{facts.name}/{name}", firmware / "boards" / facts.name / name, "firmware")


def _build_id(
    facts: FirmwareFacts, compiler: Toolchain, units: tuple[Unit, ...], core: Path, firmware: Path, energy_mode: bool
) -> bytes:
    digest = hashlib.sha256()
    for part in (
        facts.name,
        compiler.version,
        *compiler.compile_flags(facts.flags, facts.zig_flags),
        *_DEFINES,
        *_OPTIMISE.values(),
        board_header(facts, bytes(8), energy_mode=energy_mode),
        linker_script(facts),
    ):
        digest.update(part.encode() + b"\0")
    headers = [*core.rglob("*.h"), *core.rglob("*.def"), *firmware.rglob("*.h")]
    for path in [*(unit.path for unit in units), *sorted(headers)]:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()[:8]


def _make(
    facts: FirmwareFacts,
    compiler: Toolchain,
    units: tuple[Unit, ...],
    roots: tuple[Path, Path],
    build_id: bytes,
    folder: Path,
    energy_mode: bool,
) -> None:
    """Build beside the final place, then move there whole: two builders at once do no harm."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (part / "board.h").write_text(board_header(facts, build_id, energy_mode=energy_mode), encoding="utf-8")
        script = part / "link.ld"
        script.write_text(linker_script(facts), encoding="utf-8")
        core, firmware = roots
        includes = [
            f"-I{part}",
            f"-I{firmware}",
            f"-I{firmware / 'drivers'}",
            f"-I{core}",
            f"-isystem{firmware / 'libc'}",
        ]
        common = [*compiler.compile_flags(facts.flags, facts.zig_flags), *_DEFINES, *includes]

        def compile_one(unit: Unit) -> str:
            out = part / f"{unit.name.replace('/', '_')}.o"
            strict = warnings() if unit.room == "firmware" and compiler.kind == "gcc" else ()
            compiler.run([*common, _OPTIMISE[unit.room], *strict, "-c", str(unit.path), "-o", str(out)])
            return str(out)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, units))
        machine = facts.flags if compiler.kind == "gcc" else facts.zig_flags
        link = [*machine, "-mthumb", *objects, *compiler.link_flags(script), f"-Wl,-Map={part / 'firmware.map'}"]
        compiler.run([*link, "-o", str(part / "firmware.elf")])
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except FileExistsError:
        pass  # somebody else was faster with the same bytes
    finally:
        shutil.rmtree(part, ignore_errors=True)
