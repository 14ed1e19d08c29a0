# SPDX-License-Identifier: Apache-2.0
"""A linked firmware as GNU's tools describe it: symbols, and which object each section came from."""

from __future__ import annotations

import re
import struct
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from joulet.errors import DataError, UsageError
from joulet.firmware.build import Firmware
from joulet.flash.image import Image, read_elf

_SECTION = re.compile(r"^ (\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE)
_SYMBOL = re.compile(r"^([0-9a-f]{8})(?: ([0-9a-f]{8}))? (\w) (\S+)$")


@dataclass(frozen=True, slots=True)
class Symbol:
    """``address`` without the Thumb bit, ``size`` [bytes]."""

    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section that went into the image: ``unit`` is the object it came from, without its suffix."""

    name: str
    address: int
    size: int
    unit: str


class Linked:
    """What is in the ELF file and the link map of a firmware that GCC built."""

    def __init__(self, firmware: Firmware) -> None:
        if firmware.toolchain.kind != "gcc":
            raise UsageError("sizes are read from what GCC writes: build with gcc")
        self._gcc = firmware.toolchain.command[0]
        self.architecture = firmware.toolchain.architecture
        self.elf = firmware.elf
        self.folder = firmware.folder

    def tool(self, name: str) -> str:
        """Return a program of GCC's family."""
        return self._gcc.removesuffix("gcc") + name

    @cached_property
    def _all_symbols(self) -> tuple[tuple[str, str, Symbol], ...]:
        text = subprocess.run(
            [self.tool("nm"), "-S", str(self.elf)], capture_output=True, text=True, check=True, timeout=60.0
        ).stdout
        found = []
        for line in text.splitlines():
            match = _SYMBOL.match(line)
            if match:
                found.append((match[4], match[3], Symbol(int(match[1], 16) & ~1, int(match[2] or "0", 16))))
        return tuple(found)

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        """Global symbols by name."""
        return {name: symbol for name, kind, symbol in self._all_symbols if kind.isupper()}

    def only(self, name: str) -> int:
        """Return the address of the one function of a name, static or not.

        Raises
        ------
        DataError
            If there are several.
        """
        found = {symbol.address for other, kind, symbol in self._all_symbols if other == name and kind in "tTW"}
        if len(found) != 1:
            raise DataError(f"{len(found)} functions are called {name}")
        return found.pop()

    @cached_property
    def _starts(self) -> list[int]:
        return sorted({symbol.address for _, kind, symbol in self._all_symbols if kind in "tTW"})

    def start_of(self, address: int) -> int | None:
        """Return where the function around an address starts."""
        index = bisect_right(self._starts, address)
        return self._starts[index - 1] if index else None

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Sections that went into the image, empty ones left out."""
        text = (self.folder / "firmware.map").read_text(encoding="utf-8")
        return tuple(self._sections(text[text.index("Linker script and memory map") :]))

    @cached_property
    def of_compiler(self) -> tuple[range, ...]:
        """Addresses of code from the compiler's own library."""
        code = (s for s in self.sections if s.name.startswith(".text") and s.unit.startswith("libgcc.a("))
        return tuple(range(s.address, s.address + s.size) for s in code)

    @staticmethod
    def _sections(text: str) -> Iterator[Section]:
        for name, address, size, path in _SECTION.findall(text):
            if int(size, 16) and not name.startswith((".debug", ".comment", ".ARM.attributes")):
                file = path.rsplit("/", 1)[-1]
                yield Section(name, int(address, 16), int(size, 16), file.removesuffix(".o"))

    @cached_property
    def _functions(self) -> dict[tuple[str, str], int]:
        # -ffunction-sections: a section holds one function and ends in its name
        found = {}
        for section in self.sections:
            for head in (".text.unlikely.", ".text.startup.", ".text.hot.", ".text."):
                if section.name.startswith(head):
                    found[section.unit, section.name.removeprefix(head)] = section.address
                    break
            if section.name == ".ramcode":
                found |= {
                    (section.unit, name): symbol.address
                    for name, _, symbol in self._all_symbols
                    if section.address <= symbol.address < section.address + section.size and not name.startswith("$")
                }
        return found

    def function(self, unit: str, name: str, *, static: bool) -> int | None:
        """Return the address of a function as seen from an object; None when it is not in the image."""
        address = self._functions.get((unit, name))
        if address is None and not static and name in self.symbols:
            address = self.symbols[name].address
        return address

    @cached_property
    def image(self) -> Image:
        """What is loaded, by address."""
        return read_elf(self.elf)

    def words(self, name: str) -> tuple[int, ...]:
        """Return the words of the one constant table of a name, without the Thumb bit.

        Raises
        ------
        DataError
            If there are none or several.
        """
        # GCC numbers the tables that are static in a function
        found = {symbol for other, _, symbol in self._all_symbols if re.fullmatch(rf"{name}(\.\d+)?", other)}
        if len(found) != 1:
            raise DataError(f"{len(found)} tables are called {name}")
        symbol = found.pop()
        return self._words(symbol.address, symbol.size)

    def _words(self, address: int, size: int) -> tuple[int, ...]:
        return tuple(word & ~1 for (word,) in struct.iter_unpack("<I", self.image.part(address, size)))

    def handlers(self) -> set[int]:
        """Return the functions that interrupts enter, and on an Arm core the reset."""
        named = self.architecture.handlers
        if named:
            return {self.symbols[name].address for name in named}
        table = next(section for section in self.sections if section.name == ".vectors")
        return set(self._words(table.address, table.size)[1:])
