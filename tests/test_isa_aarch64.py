# SPDX-License-Identifier: Apache-2.0
"""Kernels for NEON under qemu-aarch64, with SDOT and SMMLA and without, byte for byte against the reference kernels here."""

from __future__ import annotations

import shutil
from pathlib import Path

import isa_program
import pytest
from isa_cases import CASES

SEEDS = range(2000, 2020)
CORES = {"base": "cortex-a53", "dotprod": "cortex-a76", "i8mm": "max"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine and its kernels for AArch64, or skip where nothing compiles or runs it."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip(
            "nothing compiles or runs AArch64: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
        )
    return isa_program.build(tmp_path_factory.mktemp("aarch64") / "run", [compiler], ["-O2", "-static"])


@pytest.mark.parametrize("core", sorted(CORES))
@pytest.mark.parametrize("name", sorted(CASES))
def test_neon_equals_the_reference(program: Path, core: str, name: str, tmp_path: Path) -> None:
    run = ["qemu-aarch64", "-cpu", CORES[core], str(program)]
    assert isa_program.differing(run, "NEON", name, SEEDS, tmp_path) == []
