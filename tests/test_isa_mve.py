# SPDX-License-Identifier: Apache-2.0
"""Kernels for Helium on QEMU's Cortex-M55, every buffer between guard bytes, byte for byte against the reference kernels here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import isa_program
import pytest
import sparse_cases
from isa_cases import CASES

from joulet.container.needs import SPARSE, stored_copies
from joulet.container.read import Container

SEEDS = range(3000, 3020)
COMPILER = ("arm-none-eabi-gcc", "-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb")
FLAGS = ("-O2", "-ffp-contract=off", "-fpermitted-flt-eval-methods=c11", "--specs=rdimon.specs", "-Wl,--section-start=.vectors=0",
         "-Wl,--wrap=main", "-Wl,--wrap=free")  # fmt: skip
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
    return isa_program.build(to, COMPILER, FLAGS, more=("mps3.c",))


@pytest.mark.parametrize("name", sorted(CASES))
def test_mve_equals_the_reference(program: Path, name: str, tmp_path: Path) -> None:
    assert isa_program.differing(["sh", "-c", RUN, str(program)], "MVE", name, SEEDS, tmp_path) == []


# absent blocks: edges of the three pixels, of vectors of four blocks, of groups of four channels, of windows
SPARSE_CASES: tuple[dict[str, Any], ...] = (
    *(
        {"absent": absent, "out": (1, pixels), "kernel": (1, 1), "channels": (64, 6)}
        for absent in (0.02, 0.6, 1.0)
        for pixels in (2, 3, 4, 6, 7)
    ),
    *(
        {"absent": 0.4, "out": (2, 3), "kernel": (1, 1), "channels": (4 * words, 4), "act": act}
        for words in (1, 2, 3, 4, 5, 8, 9, 16, 17)
        for act in (0, 1, 3)
    ),
    *(
        {"absent": 0.5, "out": (3, 5), "kernel": kernel, "channels": channels, "stride": stride, "same": same}
        for kernel, stride, same in (((3, 3), 1, True), ((3, 3), 2, True), ((2, 3), 1, False), ((1, 3), 2, True))
        for channels in ((4, 2), (8, 10), (16, 16))
    ),
    {"absent": 0.5, "out": (1, 5), "kernel": (1, 1), "channels": (24, 4), "quick": False},
    {"absent": 0.3, "out": (1, 4), "kernel": (2, 2), "channels": (256, 8)},  # as many words as a byte tells apart
)


def _sparse(content: bytes, isa: str) -> bytes:
    planned = sparse_cases.sparse_plan(content, isa)
    assert (0, SPARSE) in (stored_copies(Container.from_bytes(planned), isa) or ())
    return planned


def test_absent_blocks_equal_the_reference(program: Path, tmp_path: Path) -> None:
    contents = {seed: sparse_cases.conv(seed, **case) for seed, case in enumerate(SPARSE_CASES)}
    assert isa_program.differing_of(["sh", "-c", RUN, str(program)], "MVE", contents, tmp_path, _sparse) == []


def test_patches_too_long_for_a_byte_have_no_sparse_copy() -> None:
    content = sparse_cases.conv(1, absent=0.5, out=(1, 4), kernel=(2, 2), channels=(260, 4))
    planned = sparse_cases.sparse_plan(content, "MVE")
    assert stored_copies(Container.from_bytes(planned), "MVE") == {(0, 8)}
