# SPDX-License-Identifier: Apache-2.0
"""Kernels in programs of their own: under sanitizers with every buffer exactly as large as it must be, and AVX-512 in plain C."""

from __future__ import annotations

import shutil
from pathlib import Path

import isa_program
import pytest
from isa_cases import CASES

from joulet._core import lib
from joulet.container import layout

SEEDS = range(1000, 1020)
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ISAS = [name for name in ("AVX2", "AVX512VNNI", "NEON") if lib.jlt_host_runs(layout.CODES["Isa"][name])]


def _compiler() -> str:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    return compiler


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels that this machine runs, with both sanitizers."""
    return isa_program.build(tmp_path_factory.mktemp("sanitized") / "run", [_compiler()], SANITIZERS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels for AVX512VNNI with its intrinsics in plain C, with both sanitizers."""
    to = tmp_path_factory.mktemp("plain") / "run"
    return isa_program.build(to, [_compiler()], SANITIZERS, plain="avx512vnni")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_byte_outside_a_buffer(sanitized: Path, isa: str, name: str, tmp_path: Path) -> None:
    assert isa_program.differing([str(sanitized)], isa, name, SEEDS, tmp_path) == []


@pytest.mark.parametrize("name", sorted(CASES))
def test_avx512_in_plain_c(plain: Path, name: str, tmp_path: Path) -> None:
    """The arithmetic and layouts of AVX512VNNI, whatever this machine's core."""
    if lib.jlt_host_best_isa() == layout.CODES["Isa"]["NEON"]:
        pytest.skip("the intrinsics are x86's")
    assert isa_program.differing([str(plain)], "AVX512VNNI", name, SEEDS, tmp_path) == []
