# SPDX-License-Identifier: Apache-2.0
"""``python -m joulet.tools.firmware``: what a build of the firmware by other means needs, and what the builds weigh.

With --board and --out it writes board.h, link.ld and board.cmake for CMake (firmware/CMakeLists.txt).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulet.errors import JouletError
from joulet.firmware.cmake import write_cmake


def main() -> int:
    """Write the files of a board; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m joulet.tools.firmware", description=__doc__)
    parser.add_argument("--board", metavar="B", help="write the files of this board")
    parser.add_argument("--out", metavar="DIR", type=Path, help="into this folder")
    args = parser.parse_args()
    if args.board is None or args.out is None:
        parser.error("give --board and --out")
    try:
        write_cmake(args.board, args.out)
    except JouletError as error:
        print(f"joulet: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
