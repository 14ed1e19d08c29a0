# SPDX-License-Identifier: Apache-2.0
"""README says nothing that does not run: its Python blocks and its joulet commands are executed in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from thumb import have_tools

ROOT = Path(__file__).resolve().parents[1]
NEEDS_FIRMWARE = ("virtual:", "joulet build", "joulet flash")
WRITES = ("-o", "--out", "--output", "--write-board", "--write-container")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for name, body in BLOCK.findall((ROOT / "README.md").read_text()) if name == language]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sample files that README's examples name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "runtime").symlink_to(ROOT / "runtime")
    return folder


def test_readme_has_examples_of_both_kinds() -> None:
    assert len(blocks("python")) >= 2
    assert len(blocks("console")) >= 1


def test_readme_python_runs(desk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks("python"))], cwd=desk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_readme_commands_run(desk: Path) -> None:
    lines = [line[2:] for body in blocks("console") for line in body.splitlines() if line.startswith("$ joulet ")]
    assert lines
    here = have_tools()
    assert here or not os.environ.get("CI")
    unmade: set[str] = set()
    for line in lines:
        words = shlex.split(line)[1:]
        # firmware needs a compiler, a virtual board an emulator, and some commands what these would have written
        if not here and (any(word in line for word in NEEDS_FIRMWARE) or unmade.intersection(words)):
            unmade.update(value for option, value in pairwise(words) if option in WRITES)
            continue
        command = [sys.executable, "-m", "joulet.tools.main", *words]
        done = subprocess.run(command, cwd=desk, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
