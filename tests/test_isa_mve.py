# SPDX-License-Identifier: Apache-2.0
"""Kernels for Helium on QEMU's Cortex-M55, every buffer between guard bytes, byte for byte against the reference kernels here."""

from __future__ import annotations

import shutil
from pathlib import Path

import isa_program
import pytest
from isa_cases import CASES

SEEDS = range(3000, 3020)
COMPILER = ("arm-none-eabi-gcc", "-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb")
# arguments go through a file: a command line under semihosting has 255 characters
RUN = (
    'printf "%s\\n" "$@" > "$0.args"; exec qemu-system-arm -M mps3-an547 -display none -monitor none -serial none '
    '-semihosting-config "enable=on,target=native,arg=run,arg=$0.args" -kernel "$0"'
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine and its kernels for a Cortex-M55, or skip where nothing compiles or runs it."""
    if shutil.which(COMPILER[0]) is None or shutil.which("qemu-system-arm") is None:
        pytest.skip(
            "nothing compiles or runs MVE: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
        )
    to = tmp_path_factory.mktemp("mve") / "run"
    flags = ("-O2", "--specs=rdimon.specs", "-Wl,--section-start=.vectors=0", "-Wl,--wrap=main", "-Wl,--wrap=free")
    return isa_program.build(to, COMPILER, flags, more=("mps3.c",))


@pytest.mark.parametrize("name", sorted(CASES))
def test_mve_equals_the_reference(program: Path, name: str, tmp_path: Path) -> None:
    assert isa_program.differing(["sh", "-c", RUN, str(program)], "MVE", name, SEEDS, tmp_path) == []
