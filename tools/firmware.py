# SPDX-License-Identifier: Apache-2.0
"""``python -m joulet.tools.firmware``: what a build of the firmware by other means needs, and what the builds weigh.

With --out it writes board.h, link.ld and board.cmake for CMake (firmware/CMakeLists.txt). With --sizes it builds every
board, or the one given, and prints flash, RAM and the proven bound on the stack [bytes]; limits that do not hold make
the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from joulet.boards import board_names, board_table
from joulet.errors import JouletError
from joulet.firmware.build import build_firmware
from joulet.firmware.cmake import write_cmake
from joulet.firmware.sizes import Sizes, firmware_sizes

_COLUMNS = (
    "board",
    "core",
    "engine",
    "isa kernels",
    "csrc",
    "flash",
    "data+bss",
    "stack bound",
    "stack",
    "beside arena",
)


def main() -> int:
    """Write the files of a board or print the sizes; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m joulet.tools.firmware",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--board", metavar="B", help="this board; for --sizes, every board when left out")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write the files that CMake includes into this folder")
    parser.add_argument("--sizes", action="store_true", help="build with GCC and print what it takes")
    parser.add_argument(
        "--json", action="store_true", help="with --sizes: print one JSON object, with the deepest paths"
    )
    args = parser.parse_args()
    if args.sizes == (args.out is not None) or (args.board is None and not args.sizes):
        parser.error("give --board and --out, or --sizes")
    try:
        if args.sizes:
            return _sizes([args.board] if args.board else boards_with_firmware(), as_json=args.json)
        write_cmake(args.board, args.out)
    except JouletError as error:
        print(f"joulet: error: {error}", file=sys.stderr)
        return 2
    return 0


def boards_with_firmware() -> list[str]:
    """Return the names of the boards that a firmware can be built for."""
    return [name for name in board_names() if "firmware" in board_table(name)]


def _sizes(boards: Sequence[str], *, as_json: bool) -> int:
    rows = [firmware_sizes(build_firmware(board, toolchain="gcc")) for board in boards]
    if as_json:
        print(json.dumps({"boards": [row.as_dict() for row in rows]}))
    else:
        _print_table(rows)
    return 1 if any(row.broken for row in rows) else 0


def _print_table(rows: Sequence[Sizes]) -> None:
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    for line in cells:
        words = (
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(words).rstrip())
    for row in rows:
        for text in row.broken:
            print(f"{row.board}: {text}")


def _cells(row: Sizes) -> tuple[str, ...]:
    numbers = (
        row.engine_flash,
        row.isa_flash,
        row.csrc_flash,
        row.flash,
        row.data + row.bss,
        row.stack_bound,
        row.stack_reserved,
        row.beside_arena,
    )
    return (row.board, row.core, *(str(number) for number in numbers))


if __name__ == "__main__":
    sys.exit(main())
