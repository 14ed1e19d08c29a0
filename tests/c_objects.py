# SPDX-License-Identifier: Apache-2.0
"""C files to objects, on every core: a hundred of them one after another are most of what some tests take."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def run(command: Sequence[str]) -> None:
    """Run a compiler; its messages are the assertion's."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-4000:]}"


def compile_each(command: Sequence[str], sources: Sequence[tuple[Path, Sequence[str]]], folder: Path) -> list[Path]:
    """Compile every source with the command and its own further options; return the objects in that order."""
    folder.mkdir(parents=True, exist_ok=True)

    def compile_one(source: tuple[Path, Sequence[str]]) -> Path:
        path, options = source
        target = folder / f"{path.parent.name}_{path.stem}.o"
        run([*command, *options, "-c", str(path), "-o", str(target)])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))
