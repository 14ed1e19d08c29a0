# SPDX-License-Identifier: Apache-2.0
"""Images: bytes at addresses, read from Intel HEX, plain binary and ELF files, written as Intel HEX.

Foreign bytes are checked here, once; behind this file an :class:`Image` is sound.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import DataError, MissingDependencyError, UsageError

ADDRESS_END = 1 << 32
MAX_SPAN_BYTES = 64 << 20
_MAX_FILE_BYTES = 256 << 20
_RECORD_BYTES = 16
_EOF, _SEGMENT_BASE, _SEGMENT_START, _LINEAR_BASE, _LINEAR_START = 1, 2, 3, 4, 5
_FIXED_LENGTHS = {_EOF: 0, _SEGMENT_BASE: 2, _SEGMENT_START: 4, _LINEAR_BASE: 2, _LINEAR_START: 4}


@dataclass(frozen=True, slots=True)
class Image:
    """Bytes at addresses: ``segments`` are (address, bytes), sorted, none empty, none overlapping.

    Raises
    ------
    DataError
        If the segments are not so, or leave the 32-bit address space.
    """

    segments: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise DataError("the image holds no bytes")
        reached = 0
        for address, data in self.segments:
            if not data:
                raise DataError(f"the image has an empty segment at {address:#010x}")
            if address < reached:
                raise DataError(f"the image's segments overlap or are unsorted at {address:#010x}")
            reached = address + len(data)
        if reached > ADDRESS_END:
            raise DataError(f"the image ends at {reached:#x}, beyond 32-bit addresses")

    @classmethod
    def of(cls, pieces: Iterable[tuple[int, bytes]]) -> Image:
        """Return the image of pieces in any order; empty ones are dropped, touching ones joined."""
        joined: list[tuple[int, bytearray]] = []
        for address, data in sorted((piece for piece in pieces if piece[1]), key=lambda piece: piece[0]):
            if joined and address == joined[-1][0] + len(joined[-1][1]):
                joined[-1][1].extend(data)
            else:
                joined.append((address, bytearray(data)))
        return cls(tuple((address, bytes(data)) for address, data in joined))

    @property
    def base(self) -> int:
        """Lowest address."""
        return self.segments[0][0]

    @property
    def end(self) -> int:
        """First address behind the last byte."""
        return self.segments[-1][0] + len(self.segments[-1][1])

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments, gaps not counted."""
        return sum(len(data) for _, data in self.segments)

    def merged(self, fill: int = 0xFF) -> Image:
        """Return the image as one segment, gaps filled."""
        return Image(((self.base, self.to_bytes(fill=fill)),))

    def to_bytes(self, base: int | None = None, fill: int = 0xFF) -> bytes:
        """Return the bytes from ``base`` (default: the lowest address) to the end, gaps filled.

        Raises
        ------
        DataError
            If bytes lie below ``base``, or the span is so wide that the file would be mostly filling.
        """
        start = self.base if base is None else base
        if self.base < start:
            raise DataError(f"the image begins at {self.base:#010x}, below the base {start:#010x}")
        if self.end - start > MAX_SPAN_BYTES:
            raise DataError(f"the image spans {self.end - start} bytes; one binary takes at most {MAX_SPAN_BYTES}")
        whole = bytearray([fill]) * (self.end - start)
        for address, data in self.segments:
            whole[address - start : address - start + len(data)] = data
        return bytes(whole)

    def part(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes at ``address``.

        Raises
        ------
        DataError
            If the image does not hold all of them.
        """
        found = bytearray()
        for start, data in self.segments:
            at = address + len(found)
            if start <= at < start + len(data):
                found += data[at - start : at - start + size - len(found)]
        if len(found) != size:
            raise DataError(f"the image lacks bytes of {address:#010x} to {address + size - 1:#010x}")
        return bytes(found)

    def pages(self, size: int, fill: int = 0xFF) -> Iterator[tuple[int, bytes]]:
        """Yield (address, bytes) of every aligned page of ``size`` bytes that holds any of the image."""
        page, content = -1, bytearray()
        for address, data in self.segments:
            at = 0
            while at < len(data):
                start = (address + at) // size * size
                if start != page:
                    if page >= 0:
                        yield page, bytes(content)
                    page, content = start, bytearray([fill]) * size
                offset = address + at - start
                taken = min(size - offset, len(data) - at)
                content[offset : offset + taken] = data[at : at + taken]
                at += taken
        yield page, bytes(content)


def read_image(path: Path, base: int | None = None) -> Image:
    """Read an image file by its suffix: ``.hex``, ``.bin`` (to lie at ``base``), ``.elf`` or ``.uf2``.

    Raises
    ------
    UsageError
        If the file cannot be read or its suffix says nothing.
    DataError
        If its bytes are not what the suffix says.
    """
    suffix = path.suffix.lower()
    if suffix in (".hex", ".ihex", ".ihx"):
        return read_hex(read_file(path), str(path))
    if suffix in (".elf", ".axf"):
        return read_elf(path)
    if suffix == ".bin":
        if base is None:
            raise UsageError(f"'{path}' is plain binary and does not say where it goes: give a .hex or .elf")
        return Image.of([(base, read_file(path))])
    if suffix == ".uf2":
        from joulet.flash.uf2 import read_uf2

        return read_uf2(read_file(path), str(path)).image
    raise UsageError(f"'{path}' is no image: give a .hex, .bin, .elf or .uf2, or the folder that joulet build made")


def read_file(path: Path) -> bytes:
    """Return a file's bytes; refuse one that is far larger than any board's memory."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise DataError(f"'{path}' has {path.stat().st_size} bytes; an image has at most {_MAX_FILE_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}") from error


def read_hex(data: bytes, name: str = "image.hex") -> Image:
    """Read Intel HEX (Intel, Hexadecimal Object File Format Specification, rev. A, 1988).

    Raises
    ------
    DataError
        With the line, if a record is broken or bytes are given twice.
    """
    pieces: list[tuple[int, bytes]] = []
    base, wraps_at, ended = 0, ADDRESS_END, False
    for number, raw in enumerate(data.splitlines(), 1):
        line = raw.strip()
        if not line:
            continue
        where = f"'{name}' line {number}"
        if ended:
            raise DataError(f"{where}: a record behind the end-of-file record")
        kind, offset, payload = _record(line, where)
        if kind == 0:
            if offset + len(payload) > wraps_at or base + offset + len(payload) > ADDRESS_END:
                raise DataError(f"{where}: data runs over the end of its segment")
            pieces.append((base + offset, payload))
        elif kind == _EOF:
            ended = True
        elif kind == _SEGMENT_BASE:
            base, wraps_at = int.from_bytes(payload, "big") << 4, 1 << 16
        elif kind == _LINEAR_BASE:
            base, wraps_at = int.from_bytes(payload, "big") << 16, ADDRESS_END
    if not ended:
        raise DataError(f"'{name}': no end-of-file record; the file is cut off or is no Intel HEX")
    return _image_of_file(pieces, name)


def _record(line: bytes, where: str) -> tuple[int, int, bytes]:
    """Return (type, offset, payload) of one checked record."""
    try:
        content = binascii.unhexlify(line[1:]) if line[:1] == b":" else b""
    except binascii.Error:
        content = b""
    if len(content) < 5:
        raise DataError(f"{where}: no Intel HEX record (a colon and an even number of hex digits)")
    if len(content) != content[0] + 5:
        raise DataError(f"{where}: the record says {content[0]} bytes and has {len(content) - 5}")
    if sum(content) & 0xFF:
        raise DataError(f"{where}: wrong checksum")
    kind, payload = content[3], content[4:-1]
    if kind and _FIXED_LENGTHS.get(kind) != len(payload):
        known = kind in _FIXED_LENGTHS
        raise DataError(f"{where}: record type {kind} {'of a wrong length' if known else 'is unknown'}")
    return kind, int.from_bytes(content[1:3], "big"), payload


def _image_of_file(pieces: list[tuple[int, bytes]], name: str) -> Image:
    try:
        return Image.of(pieces)
    except DataError as error:
        raise DataError(f"'{name}': {error}") from error


def write_hex(image: Image) -> bytes:
    """Return the image as Intel HEX: 16 bytes a record, linear addresses."""
    lines: list[str] = []
    upper = 0
    for address, data in image.segments:
        at = 0
        while at < len(data):
            here = address + at
            if here >> 16 != upper:
                upper = here >> 16
                lines.append(_line(_LINEAR_BASE, 0, upper.to_bytes(2, "big")))
            # a record keeps to its 16-byte row, so none crosses a 64 KiB border
            size = min(_RECORD_BYTES - here % _RECORD_BYTES, len(data) - at)
            lines.append(_line(0, here & 0xFFFF, data[at : at + size]))
            at += size
    lines.append(_line(_EOF, 0, b""))
    return ("\n".join(lines) + "\n").encode("ascii")


def _line(kind: int, offset: int, payload: bytes) -> str:
    content = bytes([len(payload)]) + offset.to_bytes(2, "big") + bytes([kind]) + payload
    return ":" + (content + bytes([-sum(content) & 0xFF])).hex().upper()


def read_elf(path: Path) -> Image:
    """Read what an ELF file loads, at physical addresses.

    Raises
    ------
    MissingDependencyError
        Without pyelftools.
    DataError
        If the file is no ELF or loads nothing.
    """
    try:
        from elftools.common.exceptions import ELFError
        from elftools.construct import ConstructError
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise MissingDependencyError(
            f"reading '{path}' needs pyelftools: pip install 'joulet[emulator]', or give the .hex"
        ) from error
    size = len(read_file(path))
    try:
        with path.open("rb") as file:
            pieces = [
                (int(segment["p_paddr"]), bytes(segment.data()))
                for segment in ELFFile(file).iter_segments()
                if segment["p_type"] == "PT_LOAD" and 0 < segment["p_filesz"] <= size
            ]
    except (ELFError, ConstructError, ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise DataError(f"'{path}': no sound ELF file ({error})") from error
    return _image_of_file(pieces, str(path))
