# SPDX-License-Identifier: Apache-2.0
"""Compile the firmware of a board: from source, kept by what went into it; for any model, or with the kernels of one."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from joulet.boards import core_source, firmware_source, load_board
from joulet.container.kernel_use import KernelUse, kernel_use
from joulet.errors import MissingDependencyError
from joulet.firmware.board_files import FirmwareFacts, board_header, firmware_facts, linker_script
from joulet.firmware.monocypher import monocypher_source
from joulet.firmware.toolchain import Toolchain, find_toolchain, warnings

# rooms of csrc that a board needs; csrc/sim and csrc/host stay on the host
_ROOMS = ("core", "kernels", "link", "front")
_FIRMWARE = (
    "main.c", "config.c", "clock.c", "console.c", "runner.c", "link.c", "sender.c", "model.c", "transfer.c",
    "journal.c", "session.c", "energy.c", "survive.c", "store.c", "input.c", "pcm.c", "trust.c", "progress.c", "ring.c",
    "activation.c", "signature.c", "libc/string.c",
)  # fmt: skip
_DEFINES = ("-DJLT_WITH_F32=0", "-DNDEBUG")
# reference kernels are what remains where an instruction set's own take an op not
_OPTIMISE = {"csrc": "-Os", "kernels": "-O2", "front": "-O2", "firmware": "-Os", "monocypher": "-Os"}
# what names a file that is not the same for every selection of kernels
_OF_A_SELECTION = ("kernels/selection.h", "core/bands.h", "core/call.h", "BOARD_BUILD_ID")
# of csrc and firmware; left out unless asked for
_REFIT = ("head.c", "rls.c", "prequential.c", "refit.c")
_SMALL = ("kernels/armv7em/fc_s8.c", "kernels/armv7em/requantise.c")  # their loops are assembly, or run rarely
_MONOCYPHER_DEFINES = ("-DBLAKE2_NO_UNROLLING",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A built firmware.

    ``elf`` is the linked file, ``folder`` holds it with objects, stack usage and call graphs. ``build_id`` names all
    that went in: 8 bytes. ``kernels`` are all it has, where it was made for one model.
    """

    board: str
    build_id: bytes
    elf: Path
    folder: Path
    toolchain: Toolchain
    kernels: KernelUse | None = None


def cache_folder() -> Path:
    """Return where built firmware is kept; ``JOULET_CACHE`` or the user's cache."""
    root = os.environ.get("JOULET_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulet"


@dataclass(frozen=True, slots=True)
class Unit:
    """One file to compile; ``name`` is unique and says where it comes from."""

    name: str
    path: Path
    room: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a board's firmware is made: what this module does itself, and what CMake is told.

    ``units`` are linked in their order. ``header`` and ``script`` are board.h and link.ld; ``monocypher`` is the folder of
    what checks signatures, where there is a key. ``kernels`` are all that is linked, where the firmware is for one model.
    """

    facts: FirmwareFacts
    toolchain: Toolchain
    units: tuple[Unit, ...]
    core: Path
    firmware: Path
    build_id: bytes
    header: str
    script: str
    monocypher: Path | None = None
    kernels: KernelUse | None = None

    @property
    def defines(self) -> tuple[str, ...]:
        """Definitions for all files."""
        if self.kernels is None:
            return _DEFINES
        chosen = {"OPS": self.kernels.ops, "REF_OPS": self.kernels.reference, "ISA_KERNELS": self.kernels.isa}
        selection = (f"-DJLT_{name}=0x{bits:X}u" for name, bits in chosen.items())
        switches = {"BANDS": self.kernels.bands, "SHARED": self.kernels.shared, "SPARSE": self.kernels.sparse}
        return (*_DEFINES, *selection, *(f"-DJLT_{name}={int(there)}" for name, there in switches.items()))

    @property
    def machine(self) -> list[str]:
        """Options that compiler and linker take."""
        flags = self.facts.flags if self.toolchain.kind == "gcc" else self.facts.zig_flags
        return [*flags, *self.toolchain.architecture.flags]

    def options(self, room: str) -> list[str]:
        """Return the options to compile the files of a room with, but for the folders of headers."""
        strict = warnings() if room == "firmware" and self.toolchain.kind == "gcc" else ()
        flags = self.toolchain.compile_flags(self.facts.flags, self.facts.zig_flags)
        defines = _MONOCYPHER_DEFINES if room == "monocypher" else ()
        return [*flags, *self.defines, *defines, _OPTIMISE[room], *strict]

    def includes(self, folder: Path) -> list[Path]:
        """Return the folders of headers; ``folder`` holds board.h."""
        foreign = [self.monocypher] if self.monocypher is not None else []
        cpu = self.firmware / "cpu" / self.toolchain.architecture.name
        return [folder, self.firmware, self.firmware / "drivers", cpu, self.core, *foreign]

    @property
    def system_include(self) -> Path:
        """Folder of the C library's headers."""
        return self.firmware / "libc"

    @property
    def depends(self) -> list[Path]:
        """All files that the build id covers."""
        headers = [*self.core.rglob("*.h"), *self.core.rglob("*.def"), *self.firmware.rglob("*.h")]
        return [*(unit.path for unit in self.units), *sorted(headers)]

    def write(self, folder: Path) -> Path:
        """Write board.h and link.ld; return the path of the latter."""
        (folder / "board.h").write_text(self.header, encoding="utf-8")
        script = folder / "link.ld"
        script.write_text(self.script, encoding="utf-8")
        return script


@contextmanager
def firmware_recipe(
    board: str,
    *,
    toolchain: str | None = None,
    energy_mode: bool = False,
    key: bytes | None = None,
    broken_commit: bool = False,
    refit: bool = False,
    model: bytes | None = None,
) -> Iterator[Recipe]:
    """Give how a board's firmware is made; its paths hold as long as the context. The arguments are :func:`build_firmware`'s.

    Raises
    ------
    UsageError
        If there is no such board.
    MissingDependencyError
        If there is no compiler.
    """
    facts = with_refit(firmware_facts(board)) if refit else firmware_facts(board)
    compiler = find_toolchain(toolchain, facts.architecture)
    monocypher = monocypher_source(cache_folder()) if key is not None else None
    with resources.as_file(core_source()) as core, resources.as_file(firmware_source()) as firmware:
        recipe = Recipe(
            facts=facts,
            toolchain=compiler,
            units=tuple(sorted(_units(facts, core, firmware, monocypher), key=lambda unit: unit.room)),
            core=core,
            firmware=firmware,
            build_id=bytes(8),
            header=board_header(facts, bytes(8), energy_mode=energy_mode, key=key, broken_commit=broken_commit),
            script=linker_script(facts, signed=key is not None),
            monocypher=monocypher,
            kernels=None if model is None else kernel_use(model, _isa_of(facts, compiler)),
        )
        build_id = _build_id(recipe)
        header = board_header(facts, build_id, energy_mode=energy_mode, key=key, broken_commit=broken_commit)
        yield replace(recipe, build_id=build_id, header=header)


def build_firmware(
    board: str,
    *,
    toolchain: str | None = None,
    energy_mode: bool = False,
    key: bytes | None = None,
    broken_commit: bool = False,
    refit: bool = False,
    model: bytes | None = None,
) -> Firmware:
    """Build the firmware of a board, or return it from the cache when nothing has changed.

    Parameters
    ----------
    board : str
        Name of a board with a [firmware] table.
    toolchain : str, optional
        gcc or zig.
    energy_mode : bool
        Boot in the MLPerf runner's energy mode: time stamps are pulses on a pin, nothing is printed for them.
    key : bytes, optional
        Public key, 32 bytes: models and policies that come over the link are taken only when signed with its other half.
    broken_commit : bool
        A firmware that commits progress before what it stands for: a fixture for the tests of the power-cut runner.
    refit : bool
        With what fits an exit's head again on the board.
    model : bytes, optional
        A container as it will lie on the board, with its plan part: no kernels are linked but those that it runs. The firmware
        refuses models that need others.

    Raises
    ------
    UsageError
        If there is no such board, or the compiler fails.
    MissingDependencyError
        If there is no compiler.
    ContainerError, PlanError
        For a model that is no container, or one that the engine refuses.
    """
    whole = None
    if model is not None:
        whole = build_firmware(
            board, toolchain=toolchain, energy_mode=energy_mode, key=key, broken_commit=broken_commit, refit=refit
        ).folder
    with firmware_recipe(
        board,
        toolchain=toolchain,
        energy_mode=energy_mode,
        key=key,
        broken_commit=broken_commit,
        refit=refit,
        model=model,
    ) as recipe:
        folder = cache_folder() / "firmware" / f"{board}-{recipe.build_id.hex()}"
        elf = folder / "firmware.elf"
        if not elf.is_file():
            _make(recipe, folder, whole)
    return Firmware(
        board=board,
        build_id=recipe.build_id,
        elf=elf,
        folder=folder,
        toolchain=recipe.toolchain,
        kernels=recipe.kernels,
    )


def _isa_of(facts: FirmwareFacts, compiler: Toolchain) -> str:
    """Return the instruction set whose kernels a build has; see JLT_REFERENCE_KERNELS."""
    only_reference = compiler.kind == "zig" or facts.table["firmware"].get("reference_kernels", False)
    return "REF" if only_reference else load_board(facts.name).isa


def with_refit(facts: FirmwareFacts) -> FirmwareFacts:
    """Return a board whose firmware can fit a head again, with the options that takes."""
    # float32 with one rounding an operation, on every compiler: csrc/core/rls.h
    extra = ("-DJLT_WITH_REFIT=1", "-ffp-contract=off")
    return replace(facts, flags=(*facts.flags, *extra), zig_flags=(*facts.zig_flags, *extra), refit=True)


def work_bytes(firmware: Firmware) -> int:
    """Return the RAM that a firmware leaves to arena and input [bytes].

    Raises
    ------
    MissingDependencyError
        Without pyelftools.
    """
    try:
        elffile: Any = importlib.import_module("elftools.elf.elffile")
    except ImportError as error:
        raise MissingDependencyError(
            f"reading '{firmware.elf}' needs pyelftools: pip install 'joulet[emulator]'"
        ) from error
    with firmware.elf.open("rb") as file:
        table = elffile.ELFFile(file).get_section_by_name(".symtab")
        start, end = (int(table.get_symbol_by_name(name)[0]["st_value"]) for name in ("jlt_work_start", "jlt_work_end"))
    return (end - start) & ~15


def _units(facts: FirmwareFacts, core: Path, firmware: Path, monocypher: Path | None) -> Iterator[Unit]:
    without = ("kernels",) if facts.table["firmware"].get("reference_kernels", False) else ()
    for folder in _ROOMS:
        for path in sorted((core / folder).rglob("*.c")):
            room = _room(path.relative_to(core))
            if folder == "core" and path.name in _REFIT and not facts.refit:
                continue
            if not path.stem.endswith("_f32") and room not in without:
                yield Unit(f"csrc/{path.relative_to(core)}", path, room)
    start = f"cpu/{facts.architecture.name}/start.c"
    for name in (start, *_FIRMWARE, *(("refit.c", "surplus.c") if facts.refit else ()), *facts.sources):
        yield Unit(f"firmware/{name}", firmware / name, "firmware")
    for name in facts.board_sources:
        yield Unit(f"firmware/boards/{facts.name}/{name}", firmware / "boards" / facts.name / name, "firmware")
    if monocypher is not None:
        yield Unit("monocypher/monocypher.c", monocypher / "monocypher.c", "monocypher")


def _room(path: Path) -> str:
    """Return how a file of csrc is optimised, as a key of _OPTIMISE."""
    if path.parts[0] == "front":
        return "front"
    is_variant = path.parts[0] == "kernels" and len(path.parts) > 2 and path.parts[1] != "ref"
    is_small = path.name == "needs.c" or path.as_posix() in _SMALL
    return "kernels" if is_variant and not is_small else "csrc"


def _build_id(recipe: Recipe) -> bytes:
    digest = hashlib.sha256()
    for part in (
        recipe.facts.name,
        recipe.toolchain.version,
        *recipe.toolchain.compile_flags(recipe.facts.flags, recipe.facts.zig_flags),
        *recipe.defines,
        *_OPTIMISE.values(),
        *_MONOCYPHER_DEFINES,
        recipe.header,
        recipe.script,
    ):
        digest.update(part.encode() + b"\0")
    for path in recipe.depends:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()[:8]


def _is_own(unit: Unit) -> bool:
    """Tell whether the object of a file depends on the selection of kernels."""
    text = unit.path.read_text(encoding="utf-8")
    return any(word in text for word in _OF_A_SELECTION)


def _make(recipe: Recipe, folder: Path, whole: Path | None) -> None:
    """Build beside the final place, then move there whole: two builders at once do no harm.

    ``whole`` holds the same firmware for any model, most of whose objects will do for one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        script = recipe.write(part)
        includes = [*(f"-I{path}" for path in recipe.includes(part)), f"-isystem{recipe.system_include}"]

        def compile_one(unit: Unit) -> str:
            out = part / f"{unit.name.replace('/', '_')}.o"
            if whole is not None and not _is_own(unit):
                for file in whole.glob(f"{out.stem}.*"):
                    shutil.copyfile(file, part / file.name)
                return str(out)
            recipe.toolchain.run([*recipe.options(unit.room), *includes, "-c", str(unit.path), "-o", str(out)])
            return str(out)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, recipe.units))
        options = [*recipe.machine, *recipe.toolchain.link_options(script)]
        if recipe.toolchain.kind == "gcc":  # zig's linker driver knows no map
            options.append(f"-Wl,-Map={part / 'firmware.map'}")
        libraries = [f"-l{name}" for name in recipe.toolchain.libraries]
        recipe.toolchain.run([*options, *objects, *libraries, "-o", str(part / "firmware.elf")])
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except FileExistsError:
        pass  # somebody else was faster with the same bytes
    finally:
        shutil.rmtree(part, ignore_errors=True)
