# SPDX-License-Identifier: Apache-2.0
"""Kernels in a program of their own, under sanitizers, with every buffer exactly as large as it must be.

Those for AVX512VNNI are there with their intrinsics in plain C, so that their arithmetic and layouts are tested on every x86.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import isa_program
import pytest
from isa_cases import CASES

from joulet._core import lib
from joulet.container import layout

SEEDS = range(1000, 1010)
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ISAS = [name for name in ("AVX2", "NEON") if lib.jlt_host_runs(layout.CODES["Isa"][name])]
if platform.machine() in ("x86_64", "AMD64"):
    ISAS.append("AVX512VNNI")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine and all its kernels with both sanitizers."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    to = tmp_path_factory.mktemp("sanitized") / "run"
    return isa_program.build(to, [compiler], SANITIZERS, plain="avx512vnni")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_byte_outside_a_buffer(program: Path, isa: str, name: str, tmp_path: Path) -> None:
    assert isa_program.differing([str(program)], isa, name, SEEDS, tmp_path) == []
