# SPDX-License-Identifier: Apache-2.0
"""Write the generated parts of FORMAT.md and PROTOCOL.md.

Tables of records, codes and constants come from container/layout.py and link/wire.py, statuses from csrc/joulet.h; the
annotated hexdump is made of a golden container, the annotated frame of the codec.

::

    python -m joulet.tools.format_doc            # write
    python -m joulet.tools.format_doc --check    # exit 1 when one is out of date

A generated part stands between ``<!-- begin KIND ARGUMENTS -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from joulet.container import layout
from joulet.container.assemble import HEADER_BYTES, SECTION_BYTES, read_table
from joulet.errors import UsageError
from joulet.link import wire
from joulet.link.frames import Frame, encode, unstuff

DOCUMENTS = {Path("FORMAT.md"): layout, Path("PROTOCOL.md"): wire}
EXAMPLE = Path("tests/golden/containers/v1/tiny.jlt")
STATUSES = Path("csrc/joulet.h")
_STATUS = re.compile(r"JLT_ERR_(\w+) = (-\d+),\s*// (.*)")
_PART = re.compile(r"(<!-- begin (\w+) ?([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHOWN = ("MODEL", "TENSORS", "OPS", "WEIGHTS", "LAYERS", "PRECISIONS", "EXITS", "PATHS", "ARENA", "BOARD")
_STRUCT_OF = {
    "MODEL": "Model",
    "TENSORS": "Tensor",
    "OPS": "Op",
    "WEIGHTS": "Weight",
    "LAYERS": "Layer",
    "PRECISIONS": "Precision",
    "EXITS": "Exit",
    "PATHS": "Path",
    "ARENA": "Arena",
    "BOARD": "Board",
}


def sections_table() -> str:
    """Return the list of sections."""
    lines = ["| code | section | content |", "|---:|---|---|"]
    lines += [f"| {code} | {name} | {doc} |" for name, (code, doc) in layout.SECTIONS.items()]
    return "\n".join(lines)


def constants_table(source: ModuleType) -> str:
    """Return the constants."""
    names = [name for name in dir(source) if name.isupper() and isinstance(getattr(source, name), int)]
    lines = ["| name | value |", "|---|---:|"]
    for name in names:
        value = getattr(source, name)
        lines.append(f"| {name} | {f'0x{value:X}' if name.startswith('NO_') or name.endswith('_MAGIC') else value} |")
    return "\n".join(lines)


def statuses_table(header: str) -> str:
    """Return the negative statuses of the core."""
    lines = ["| status | name | meaning |", "|---:|---|---|"]
    lines += [f"| {value} | {name} | {doc} |" for name, value, doc in _STATUS.findall(header)]
    return "\n".join(lines)


def codes_tables(source: ModuleType) -> str:
    """Return one line for each family of codes."""
    lines = ["| codes | values |", "|---|---|"]
    for family, members in source.CODES.items():
        lines.append(f"| {family} | {', '.join(f'{value} {name}' for name, value in members.items())} |")
    return "\n".join(lines)


def record_table(source: ModuleType, name: str) -> str:
    """Return the table of one record."""
    doc, fields = source.STRUCTS[name]
    size = source.dtype(name).itemsize
    lines = [f"**{name}**, {size} bytes: {doc}", "", "| offset | field | type | meaning |", "|---:|---|---|---|"]
    offset = 0
    for field in fields:
        count = f"[{field.count}]" if field.count > 1 else ""
        lines.append(f"| {offset} | {field.name} | {field.type}{count} | {field.doc} |")
        offset += layout.SIZES[field.type] * field.count
    return "\n".join(lines)


def _hex_lines(content: bytes, start: int, note: str) -> list[str]:
    lines = []
    for position in range(0, len(content), 16):
        row = content[position : position + 16]
        text = " ".join(f"{byte:02x}" for byte in row)
        lines.append(f"{start + position:06x}  {text:<47}  {note if position == 0 else ''}".rstrip())
    return lines


def _record_lines(container: bytes, start: int, struct: str, title: str) -> list[str]:
    lines = [f"; {title}"]
    record = np.frombuffer(container, layout.dtype(struct), 1, start)[0]
    offset = start
    for field in layout.STRUCTS[struct][1]:
        size = layout.SIZES[field.type] * field.count
        value = record[field.name]
        text = "" if field.count > 1 else f" = {value}"
        lines += _hex_lines(container[offset : offset + size], offset, f"{field.name}{text}")
        offset += size
    return lines


def hexdump(container: bytes) -> str:
    """Return the annotated example: header, first section entry, and the first record of every section."""
    table = read_table(container)
    lines = [f"; {len(container)} bytes, {len(table.sections)} sections"]
    lines += _record_lines(container, 0, "Header", "Header")
    lines += _record_lines(container, HEADER_BYTES, "Section", f"Section table, entry 0 of {len(table.sections)}")
    end = HEADER_BYTES + SECTION_BYTES * len(table.sections)
    lines.append(f"; entries 1 to {len(table.sections) - 1} follow, up to byte {end:#x}")
    for section in table.sections:
        if section.name in _SHOWN:
            title = f"{section.name}, {section.size_bytes} bytes; its first record"
            lines += _record_lines(container, section.offset, _STRUCT_OF[section.name], title)
        else:
            size = min(16, section.size_bytes)
            note = f"first {size} of {section.size_bytes} bytes"
            lines.append(f"; {section.name}")
            lines += _hex_lines(container[section.offset : section.offset + size], section.offset, note)
    return "\n".join(["```text", *lines, "```"])


def frame_example() -> str:
    """Return an annotated frame: READ of eight bytes of the answer."""
    payload = np.array((0, 8, wire.CODES["Read"]["ANSWER"], 0), wire.dtype("Read")).tobytes()
    frame = Frame(wire.CODES["Message"]["READ"], 0x0102, payload)
    encoded = encode(frame)
    head = bytes([wire.VERSION, frame.type, 0x02, 0x01, len(payload), 0])
    body = f"{head.hex(' ')}   {payload.hex(' ')}"
    lines = [
        "; body: version, type, sequence, length; payload; CRC-16",
        f"{body}   {_crc_of(encoded)}",
        "; as it goes over the wire",
        encoded.hex(" "),
    ]
    return "\n".join(["```text", *lines, "```"])


def _crc_of(encoded: bytes) -> str:
    body = unstuff(encoded[:-1])
    assert body is not None
    return body[-2:].hex(" ")


def render(text: str, source: ModuleType, root: Path) -> str:
    """Return the document with its generated parts renewed."""

    def part(match: re.Match[str]) -> str:
        kind, arguments = match.group(2), match.group(3).split()
        if kind == "records":
            content = "\n\n".join(record_table(source, name) for name in arguments)
        elif kind == "hexdump":
            content = hexdump((root / EXAMPLE).read_bytes())
        elif kind == "statuses":
            content = statuses_table((root / STATUSES).read_text(encoding="utf-8"))
        elif kind in ("constants", "codes"):
            content = {"constants": constants_table, "codes": codes_tables}[kind](source)
        elif kind in ("sections", "frame"):
            content = {"sections": sections_table, "frame": frame_example}[kind]()
        else:
            raise UsageError(f"a generated part of unknown kind {kind!r}")
        return f"{match.group(1)}{content}\n{match.group(4)}"

    return _PART.sub(part, text)


def main(argv: list[str] | None = None) -> int:
    """Write the documents, or with ``--check`` compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."), help="checkout (default: the current directory)")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when out of date")
    args = parser.parse_args(argv)
    code = 0
    for document, source in DOCUMENTS.items():
        path = args.root / document
        before = path.read_text(encoding="utf-8")
        after = render(before, source, args.root)
        if not args.check:
            path.write_text(after, encoding="utf-8")
        elif before != after:
            print(f"{path} is out of date: run python -m joulet.tools.format_doc", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
