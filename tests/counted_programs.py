# SPDX-License-Identifier: Apache-2.0
"""The programs of tests/counts, which run one inference again and again, ours and LiteRT's; and what building them may lack."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "tests" / "counts"
FLAGS = ("-DJLT_KEEPS_CALLS=1", "-std=gnu11", "-O3", "-fno-strict-aliasing", "-ffp-contract=off", "-static")


class MissingToolError(Exception):
    """A program or library is missing; says how to get it."""


def tool(name: str, package: str) -> str:
    """Return a program's path."""
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"no {name} here: apt-get install {package}")
    return path


def run(command: Sequence[str]) -> None:
    """Run a command; what it says of an error is the exception's."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed\n{done.stderr[-2000:]}")


def build_programs(compiler: str, place: Path) -> tuple[Path, Path]:
    """Compile both into a folder; return ours, as hosts have it, and LiteRT's."""
    csrc, ours, theirs = ROOT / "csrc", place / "infer_joulet", place / "infer_litert"
    sources = [path for room in ("core", "kernels") for path in sorted((csrc / room).rglob("*.c"))]
    run(
        [compiler, *FLAGS, "-I", str(csrc), str(SOURCES / "infer_joulet.c"), *map(str, sources), "-o", str(ours), "-lm"]
    )
    run([compiler, "-O2", str(SOURCES / "infer_litert.c"), "-o", str(theirs), "-ldl"])
    return ours, theirs
