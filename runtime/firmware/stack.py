# SPDX-License-Identifier: Apache-2.0
"""How deep the stack of a firmware can get: a bound over all call paths, from what compiler and linker wrote down.

Frames come from GCC (``-fcallgraph-info=su``), direct calls from GCC and from the disassembly together, indirect calls
from a table of who calls which drivers, and from the source line, which names the member. What has no frame of GCC's,
the compiler's own library, is read from the disassembly: all that its instructions take off the stack, as if none gave
it back. A call into a ROM is assumed to need :data:`ROM_BYTES`. Recursion, a frame without a bound and an indirect call
that is not in the table are errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from joulet.boards import firmware_source
from joulet.errors import DataError
from joulet.firmware.board_files import FirmwareFacts
from joulet.firmware.disassembly import Function, disassembled
from joulet.firmware.linked import Linked

ROM_BYTES = 256  # assumed: what the RP2040's flash functions need; their source pushes a few registers a call

# source file: what its indirect calls may reach: a driver by its table in board.toml, a driver by name, or one of _PLAIN
_INDIRECT: Mapping[str, tuple[str, ...]] = {
    "csrc/core/check_params.c": ("checks",),
    "csrc/core/check_plan.c": ("asks",),
    "csrc/core/engine.c": ("kernels", "asks"),
    "csrc/core/run_bands.c": ("row kernels", "asks"),
    "csrc/kernels/sparse.c": ("asks",),
    "csrc/kernels/table.c": ("asks",),
    "csrc/kernels/variants.c": ("asks",),
    "firmware/main.c": ("init",),
    "firmware/clock.c": ("timer", "marker"),
    "firmware/console.c": ("uart",),
    "firmware/activation.c": ("nvm", "flash"),
    "firmware/journal.c": ("nvm",),
    "firmware/progress.c": ("nvm",),
    "firmware/refit.c": ("nvm",),
    "firmware/ring.c": ("flash",),
    "firmware/session.c": ("jlt_input_flash", "jlt_input_link"),
    "firmware/store.c": ("counter", "store"),
    "firmware/survive.c": ("jlt_input_flash", "jlt_input_link"),
    "firmware/transfer.c": ("flash",),
    "firmware/drivers/flash_rp2040.c": ("rom",),
    "firmware/drivers/flash_virtual.c": ("jlt_flash_memory",),
    "firmware/drivers/i2c_soft.c": ("i2c",),
    "firmware/drivers/nvm_flash.c": ("flash",),
    "firmware/drivers/nvm_fram.c": ("spi",),
    "firmware/drivers/power_ina228.c": ("i2c",),
    "firmware/drivers/timer_virtual.c": ("jlt_timer_cmsdk",),
}
_PLAIN = ("checks", "kernels", "row kernels", "asks", "init")  # no drivers
_KERNELS = r"jlt_\w+(?<!_takes)(?<!_sound)(?<!_bytes)__(ref|armv\w+|mve)"
_ROW_KERNELS = r"jlt_(conv|conv_sparse|dwconv|avgpool|maxpool|add|sub|mul|lut)_s8__(ref|armv\w+|mve)"
_ASKS = r"jlt_(?!op_|chosen_)\w+_(scratch_bytes|unit_elements|(takes|sound|scratch_bytes|packed_bytes)__\w+)"
_FRAME = re.compile(r"\\n(\d+) bytes \(([a-z,]+)\)")
_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]*)")?', re.MULTILINE)
_VENEER = re.compile(r"^__(.+)_veneer$")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackBound:
    """``bytes`` = deepest path of the program + one exception frame + deepest path of a handler; ``path`` names it."""

    bytes: int
    main_bytes: int
    frame_bytes: int
    handler_bytes: int
    path: tuple[str, ...]
    library_bytes: int


def stack_bound(linked: Linked, facts: FirmwareFacts) -> StackBound:
    """Return the bound on the stack of a firmware that GCC built.

    Raises
    ------
    DataError
        If there is none: recursion, an unbounded frame, or an indirect call whose targets are not known.
    """
    functions = {f.address: f for f in disassembled(linked)}
    graph = _Graph(linked, facts, functions)
    for file in sorted(linked.folder.glob("*.ci")):
        graph.read(file)
    for function in functions.values():
        graph.close(function)
    handlers = sorted(linked.handlers() & set(functions))
    reset = linked.symbols["jlt_reset"].address
    handlers = [address for address in handlers if address != reset]
    main_bytes, path = graph.depth(reset)
    nothing: tuple[int, tuple[str, ...]] = (0, ())
    handler_bytes, in_handler = max((graph.depth(address) for address in handlers), default=nothing)
    frame_bytes = facts.architecture.frame_bytes[bool(facts.table.get("fpu"))]
    library = [graph.depth(f.address)[0] for f in functions.values() if f.frame is None]
    return StackBound(
        bytes=main_bytes + frame_bytes + handler_bytes,
        main_bytes=main_bytes,
        frame_bytes=frame_bytes,
        handler_bytes=handler_bytes,
        path=(*path, "exception", *in_handler),
        library_bytes=max(library, default=0),
    )


class _Graph:
    """Functions by address, with the calls that compiler, linker and the table of drivers know of."""

    def __init__(self, linked: Linked, facts: FirmwareFacts, functions: dict[int, Function]) -> None:
        self._linked = linked
        self._facts = facts
        self._functions = functions
        self._done: dict[int, tuple[int, tuple[str, ...]]] = {}
        self._active: list[int] = []

    def read(self, path: Path) -> None:
        """Take in one file of GCC's call graph."""
        unit = path.name.removesuffix(".ci")
        text = path.read_text(encoding="utf-8")
        for title, label in _NODE.findall(text):
            function = self._find(unit, title)
            frame = _FRAME.search(label)
            if function is None or frame is None:
                continue
            if frame[2] not in ("static", "dynamic,bounded"):
                raise DataError(f"{function.name}: its stack frame has no bound")
            function.frame = int(frame[1])
        for source, target, label in _EDGE.findall(text):
            caller = self._find(unit, source)
            if caller is None:
                continue
            if target == "__indirect_call":
                caller.explained = True
                self._reach(caller, label)
            else:
                callee = self._find(unit, target)
                if callee is not None:
                    caller.calls.add(callee.address)

    def close(self, function: Function) -> None:
        """Follow a veneer of the linker's, and refuse jumps that nothing explains."""
        veneer = _VENEER.match(function.name)
        if veneer:
            function.calls.add(self._linked.only(veneer[1]))
        elif function.jumps and not function.explained:
            raise DataError(f"{function.name}: jumps through a register, and its targets are not known")

    def _find(self, unit: str, title: str) -> Function | None:
        # a static function has its file before its name
        name = title.rsplit(":", 1)[-1]
        address = self._linked.function(unit, name, static=":" in title)
        return None if address is None else self._functions.get(address)

    def _reach(self, caller: Function, label: str) -> None:
        """Add what an indirect call at file:line:column may reach."""
        file, line, column = label.rsplit(":", 2)
        source = next((source for source in _INDIRECT if file.endswith("/" + source)), None)
        if source is None:
            raise DataError(f"{caller.name}: an indirect call at {label} whose targets are not known")
        if source == "firmware/drivers/flash_rp2040.c":
            caller.rom = True
            return
        plain = [kind for kind in _INDIRECT[source] if kind in _PLAIN]
        drivers = [self._driver(kind) for kind in _INDIRECT[source] if kind not in _PLAIN]
        member = "" if plain else _member(source, int(line), int(column))
        targets = {address for kind in plain for address in self._plain(kind)}
        known = [driver for driver in drivers if driver and member in self._fields[driver.split("_")[1]]]
        # a board without one of the drivers does not come to the calls of it
        if drivers and not known and None not in drivers:
            raise DataError(
                f"{caller.name}: calls '{member}' at {label}, which is none of {', '.join(map(str, drivers))}"
            )
        for driver in known:
            targets.add(self._linked.words(driver)[self._fields[driver.split("_")[1]].index(member)])
        caller.calls |= targets & set(self._functions)

    def _driver(self, kind: str) -> str | None:
        part = self._facts.table["firmware"].get(kind)
        return kind if kind.startswith("jlt_") else str(part["driver"]) if part else None

    def _plain(self, kind: str) -> set[int]:
        symbols = self._linked.symbols
        if kind == "checks":  # a static table
            return set(self._linked.words(kind))
        if kind == "kernels":
            return {s.address for name, s in symbols.items() if re.fullmatch(_KERNELS, name)}
        if kind == "row kernels":  # of codes that csrc/core/bands.c knows
            return {s.address for name, s in symbols.items() if re.fullmatch(_ROW_KERNELS, name)}
        if kind == "asks":  # what a kernel takes and needs
            return {s.address for name, s in symbols.items() if re.fullmatch(_ASKS, name)}
        init = self._facts.table["firmware"].get("init")
        return {symbols[init].address} if init else set()

    @cached_property
    def _fields(self) -> dict[str, tuple[str, ...]]:
        """Members of each kind of driver, in their order."""
        found = {}
        for entry in sorted(firmware_source().iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".h"):
                text = entry.read_text(encoding="utf-8")
                for body, kind in re.findall(r"typedef struct \{([^{}]*)\} jlt_(\w+)_driver_t;", text):
                    found[kind] = tuple(re.findall(r"\(\*(\w+)\)", body))
        return found

    def depth(self, address: int) -> tuple[int, tuple[str, ...]]:
        """Return the most that a function and all it calls take, and the path [bytes]."""
        if address in self._done:
            return self._done[address]
        function = self._functions[address]
        if address in self._active:
            cycle = [self._functions[a].name for a in self._active[self._active.index(address) :]]
            raise DataError(f"recursion: {' > '.join([*cycle, function.name])}")
        self._active.append(address)
        most: tuple[int, tuple[str, ...]] = (ROM_BYTES, ("ROM",)) if function.rom else (0, ())
        for callee in sorted(function.calls):
            most = max(most, self.depth(callee))
        self._active.pop()
        own = function.taken if function.frame is None else function.frame
        self._done[address] = (own + most[0], (f"{function.name} {own}", *most[1]))
        return self._done[address]


def _member(source: str, line: int, column: int) -> str:
    """Return the member of a driver that is called at a place of the firmware's sources."""
    text = (firmware_source() / source.removeprefix("firmware/")).read_text(encoding="utf-8").splitlines()
    # the place is that of the call's first word, or of its parenthesis
    before, after = text[line - 1][: column - 1], text[line - 1][column - 1 :]
    member = re.search(r"(?:->|\.)(\w+)\(", after) or re.search(r"(?:->|\.)(\w+)$", before)
    return member[1] if member else ""
