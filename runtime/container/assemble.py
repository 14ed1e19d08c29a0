# SPDX-License-Identifier: Apache-2.0
"""Sections to a container and back: table, checksums, model hash. Knows nothing of what a section holds."""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulet.container import layout
from joulet.container.pool import record
from joulet.errors import ContainerError, PlanError

HEADER_BYTES = layout.dtype("Header").itemsize
SECTION_BYTES = layout.dtype("Section").itemsize
_CRC_AT = 20  # Header.crc32
_NAMES = {code: name for name, (code, _) in layout.SECTIONS.items()}
_MAX_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=False)
class PartSection:
    """One section to write; ``part`` 0 is canonical."""

    name: str
    content: bytes
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionInfo:
    """One entry of the section table; ``offset`` is 0 and ``present`` False where the content is not in the file."""

    code: int
    name: str
    part: int
    present: bool
    offset: int
    size_bytes: int
    crc32: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Header and section table of a container that passed the checks on them."""

    version: tuple[int, int]
    file_bytes: int
    model_hash: bytes
    sections: tuple[SectionInfo, ...]


def model_hash(sections: Sequence[SectionInfo]) -> bytes:
    """Return the SHA-256 over (code, size, SHA-256) of the canonical sections, in table order."""
    digest = hashlib.sha256()
    for each in sections:
        if each.part == 0:
            digest.update(struct.pack("<HI", each.code, each.size_bytes) + each.sha256)
    return digest.digest()


def assembled_bytes(sections: Sequence[SectionInfo]) -> int:
    """Return the size of a container of these sections, each of them present [bytes]."""
    position = HEADER_BYTES + SECTION_BYTES * len(sections)
    for each in sections:
        position = -(-position // _alignment(each.name)) * _alignment(each.name) + each.size_bytes
    return position


def _alignment(name: str) -> int:
    return layout.LOW_PLANE_ALIGN_BYTES if name == "PLANE_LOW" else layout.SECTION_ALIGN_BYTES


def assemble(sections: Sequence[PartSection]) -> bytes:
    """Return a container with all sections present.

    Raises
    ------
    PlanError
        When it would be 4 GiB or more.
    """
    infos = []
    position = HEADER_BYTES + SECTION_BYTES * len(sections)
    for each in sections:
        position = -(-position // _alignment(each.name)) * _alignment(each.name)
        infos.append(
            SectionInfo(
                code=layout.SECTIONS[each.name][0],
                name=each.name,
                part=each.part,
                present=True,
                offset=position,
                size_bytes=len(each.content),
                crc32=zlib.crc32(each.content),
                sha256=hashlib.sha256(each.content).digest(),
            )
        )
        position += len(each.content)
    if position > _MAX_BYTES:
        raise PlanError(f"the container would take {position} bytes; at most {_MAX_BYTES} can be addressed")
    body = bytearray(position)
    for info, each in zip(infos, sections, strict=True):
        body[info.offset : info.offset + info.size_bytes] = each.content
    return _with_head(body, infos)


def without_low_planes(container: bytes) -> bytes:
    """Return the container with its low planes absent: smaller, the same model hash, only 4-bit precisions run.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    table = read_table(container)
    infos: list[SectionInfo] = []
    contents: list[bytes] = []
    position = HEADER_BYTES + SECTION_BYTES * len(table.sections)
    for each in table.sections:
        keep = each.present and each.name != "PLANE_LOW"
        position = -(-position // layout.SECTION_ALIGN_BYTES) * layout.SECTION_ALIGN_BYTES if keep else position
        infos.append(
            SectionInfo(
                code=each.code,
                name=each.name,
                part=each.part,
                present=keep,
                offset=position if keep else 0,
                size_bytes=each.size_bytes,
                crc32=each.crc32,
                sha256=each.sha256,
            )
        )
        contents.append(container[each.offset : each.offset + each.size_bytes] if keep else b"")
        position += len(contents[-1])
    body = bytearray(position)
    for info, content in zip(infos, contents, strict=True):
        body[info.offset : info.offset + len(content)] = content if info.present else b""
    return _with_head(body, infos)


def _with_head(body: bytearray, infos: Sequence[SectionInfo]) -> bytes:
    table = b"".join(
        record(
            "Section",
            code=info.code,
            part=info.part,
            flags=layout.CODES["SectionFlag"]["PRESENT"] if info.present else 0,
            offset=info.offset,
            bytes=info.size_bytes,
            crc32=info.crc32,
            sha256=tuple(info.sha256),
        )
        for info in infos
    )
    head = bytearray(
        record(
            "Header",
            magic=tuple(layout.MAGIC),
            version_major=layout.VERSION_MAJOR,
            version_minor=layout.VERSION_MINOR,
            file_bytes=len(body),
            n_sections=len(infos),
            model_hash=tuple(model_hash(infos)),
        )
        + table
    )
    head[_CRC_AT : _CRC_AT + 4] = struct.pack("<I", zlib.crc32(head))
    body[: len(head)] = head
    return bytes(body)


def read_table(container: bytes) -> Table:
    """Check header and section table, and the CRC of every present section.

    Raises
    ------
    ContainerError
        Naming what is wrong and, where there is one, the invariant of FORMAT.md.
    """
    if len(container) < HEADER_BYTES or container[: len(layout.MAGIC)] != layout.MAGIC:
        raise ContainerError("not a .jlt container (INV-1: magic); compile a model with `joulet compile`")
    header = np.frombuffer(container, layout.dtype("Header"), 1)[0]
    major, minor = int(header["version_major"]), int(header["version_minor"])
    if major != layout.VERSION_MAJOR:
        raise ContainerError(f"container version {major}.{minor}, this reader knows {layout.VERSION_MAJOR} (INV-2)")
    if int(header["file_bytes"]) != len(container):
        raise ContainerError(
            f"container says {int(header['file_bytes'])} bytes, there are {len(container)} (INV-3): copy it again"
        )
    count = int(header["n_sections"])
    end = HEADER_BYTES + SECTION_BYTES * count
    if end > len(container):
        raise ContainerError(f"section table of {count} entries passes the end of the file (INV-4)")
    head = bytearray(container[:end])
    head[_CRC_AT : _CRC_AT + 4] = bytes(4)
    if zlib.crc32(head) != int(header["crc32"]):
        raise ContainerError("CRC of header and section table differs (INV-5): the file is damaged, copy it again")
    sections = tuple(_read_sections(container, count, end))
    if model_hash(sections) != header["model_hash"].tobytes():
        raise ContainerError("model hash differs from the sections' (INV-10): the file was put together wrongly")
    return Table(
        version=(major, minor),
        file_bytes=len(container),
        model_hash=header["model_hash"].tobytes(),
        sections=sections,
    )


def _read_sections(container: bytes, count: int, end: int) -> list[SectionInfo]:
    entries = np.frombuffer(container, layout.dtype("Section"), count, HEADER_BYTES)
    infos = []
    seen: set[tuple[int, int]] = set()
    for entry in entries:
        code, part, flags = int(entry["code"]), int(entry["part"]), int(entry["flags"])
        info = SectionInfo(
            code=code,
            name=_NAMES.get(code, f"#{code}"),
            part=part,
            present=bool(flags & layout.CODES["SectionFlag"]["PRESENT"]),
            offset=int(entry["offset"]),
            size_bytes=int(entry["bytes"]),
            crc32=int(entry["crc32"]),
            sha256=entry["sha256"].tobytes(),
        )
        _check_section(info, container, end)
        if (code, part) in seen:
            raise ContainerError(f"section {info.name} of part {part} is there twice (INV-9)")
        seen.add((code, part))
        infos.append(info)
    spans = sorted(
        (each.offset, each.offset + each.size_bytes, each.name) for each in infos if each.present and each.size_bytes
    )
    for (_, stop, name), (start, _, other) in itertools.pairwise(spans):
        if start < stop:
            raise ContainerError(f"sections {name} and {other} overlap (INV-7)")
    return infos


def _check_section(info: SectionInfo, container: bytes, end: int) -> None:
    if not info.present:
        if info.offset != 0 or info.name != "PLANE_LOW":
            raise ContainerError(f"section {info.name} is absent; only PLANE_LOW may be, with offset 0 (INV-8)")
        return
    align = layout.LOW_PLANE_ALIGN_BYTES if info.name == "PLANE_LOW" else layout.SECTION_ALIGN_BYTES
    if info.offset % align or info.offset < end or info.offset + info.size_bytes > len(container):
        raise ContainerError(f"section {info.name} at {info.offset}, {info.size_bytes} bytes, is misplaced (INV-6)")
    content = memoryview(container)[info.offset : info.offset + info.size_bytes]
    if zlib.crc32(content) != info.crc32:
        raise ContainerError(f"CRC of section {info.name} differs (INV-11): the file is damaged, copy it again")
    if hashlib.sha256(content).digest() != info.sha256:
        raise ContainerError(f"SHA-256 of section {info.name} differs (INV-10): the file was put together wrongly")
