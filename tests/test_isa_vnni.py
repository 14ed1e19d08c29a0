# SPDX-License-Identifier: Apache-2.0
"""Kernels for AVX-512 VNNI on a PC in Bochs, which has the instructions, byte for byte against the reference kernels here.

Those for AVX2 run beside them: this machine's own agree with the reference in test_isa_host.py, so a difference would be Bochs'.
"""

from __future__ import annotations

from dataclasses import dataclass

import emulated_pc
import isa_program
import pytest
from counted_programs import MissingToolError
from isa_cases import CASES

SEEDS = range(3000, 3040)
ISAS = ("AVX512VNNI", "AVX2")
COUNT_LOOP = isa_program.ROOT / "tests" / "pc" / "count_loop.c"


@dataclass(frozen=True)
class Guest:
    """What one guest was asked and answered."""

    drawn: dict[tuple[str, str], isa_program.Drawn]
    answers: dict[tuple[str, str], emulated_pc.Answer]
    counts: emulated_pc.Answer


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """Every case on both instruction sets and a loop that is counted, in one guest; or skip where something for it is missing."""
    try:
        emulated_pc.need_tools()
        emulated_pc.kernel()
    except MissingToolError as error:
        pytest.skip(str(error))
    place = tmp_path_factory.mktemp("pc")
    program = isa_program.build(place / "run", ["gcc"], ["-O2", "-static"])
    files = {"/run": program, "/count_loop": emulated_pc.compile_static(COUNT_LOOP, place)}
    commands, drawn = [["/count_loop"]], {}
    for isa in ISAS:
        for name in sorted(CASES):
            contents = {seed: CASES[name](seed) for seed in SEEDS}
            case = drawn[isa, name] = isa_program.draw(isa, contents, place, stem=f"{name}_")
            files |= {f"/{path.name}": path for path in case.files}
            commands.append(["/run", *isa_program.arguments(isa), *(f"/{path.name}" for path in case.files)])
    counts, *answers = emulated_pc.run_in_pc(place / "guest", commands, files)
    return Guest(drawn, dict(zip(drawn, answers, strict=True)), counts)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_equal_the_reference(guest: Guest, isa: str, name: str) -> None:
    answer = guest.answers[isa, name]
    assert answer.status == 0, answer.errors
    assert guest.drawn[isa, name].differing(answer.output) == []


def test_the_counter_counts_instructions(guest: Guest) -> None:
    """Those of the loop and three that read the counter."""
    assert guest.counts.output == b"2000004\n2000004\n"
