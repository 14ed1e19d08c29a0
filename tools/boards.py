# SPDX-License-Identifier: Apache-2.0
"""``joulet boards``: the boards that come with the package."""

from __future__ import annotations

import argparse
import json

from joulet.boards import Board, board_names, load_board
from joulet.errors import UsageError
from joulet.flash.facts import flash_facts

EPILOG = """\
'seen' says where the figures and the firmware were tried: on silicon, or simulated only. The ways to flash are in the order
in which joulet flash tries them.

  joulet boards
  joulet boards --json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "boards",
        help="list the boards: core, clock, memories, ways to flash",
        description="List the boards that come with the package.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List the boards; return the exit code."""
    rows = [_row(load_board(name)) for name in board_names()]
    if args.json:
        print(json.dumps({"boards": rows}))
        return 0
    for row in rows:
        clock, flash, ram = row["clock_hz"], row["flash_bytes"], row["ram_bytes"]
        assert isinstance(clock, int)
        assert isinstance(flash, int)
        assert isinstance(ram, int)
        ways = row["flash_via"]
        assert isinstance(ways, list)
        flashed = f"flash via {', '.join(ways)}" if ways else "a program, not flashed"
        print(
            f"{row['name']:<16} {row['title']}: {row['core']} at {clock / 1e6:g} MHz, flash {flash // 1024} KiB, "
            f"RAM {ram // 1024} KiB, {row['seen']}; {flashed}"
        )
    return 0


def _row(board: Board) -> dict[str, object]:
    try:
        ways = list(flash_facts(board.name).ways)
    except UsageError:  # no [flash] table
        ways = []
    return {
        "name": board.name,
        "title": board.title,
        "core": board.core,
        "clock_hz": board.load.clock_hz,
        "flash_bytes": board.flash_bytes,
        "ram_bytes": board.ram_bytes,
        "seen": board.seen,
        "flash_via": ways,
    }
