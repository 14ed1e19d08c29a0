# SPDX-License-Identifier: Apache-2.0
"""The cycle tables of firmware/boards/cycles against ops counted on virtual boards, on networks that they were not fitted on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_nets import drawn_nets
from thumb import need_tools

from joulet.boards import board_names, load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES
from joulet.container.needs import stored_copies
from joulet.container.read import Container
from joulet.emulator.cycle_model import CYCLES_PER_INSTRUCTION
from joulet.emulator.qemu import QemuBoard
from joulet.engine.host import HostEngine
from joulet.errors import EngineError
from joulet.plan.kernel_costs import op_cycles
from joulet.plan.work import KERNEL_SETS

UNSEEN = 90_001  # the tables are fitted on seed 1
M55 = "qemu_mps3_an547"


def planned_nets(isa: str) -> Iterator[tuple[str, str, bytes, tuple[np.ndarray, ...]]]:
    """Yield (name, set of kernels, container, input) of networks that no table is fitted on."""
    for name, model in drawn_nets(UNSEEN, 2):
        nested = compile_model(model, exits="off", precisions=("w8", "w4"), name=name).container
        borders = HostEngine(nested, isa="REF").inputs
        sample = tuple(np.random.default_rng(0).integers(-128, 128, i.shape, np.int8) for i in borders)
        for kernels in ("REF", isa):
            yield name, kernels, nested if kernels == "REF" else with_isa_plan(nested, isa), sample


@pytest.mark.parametrize("board", ["virtual_m4", "virtual_m0plus"])
def test_steps_cost_what_is_counted(board: str) -> None:
    pytest.importorskip("unicorn")
    need_tools()
    from joulet.live.measure import measured_costs

    chosen, errors = load_board(board), []
    for name, isa, data, sample in planned_nets(chosen.isa):
        container = Container.from_bytes(data)
        model_cycles = op_cycles(container, chosen.cycles, isa, stored_copies(container, isa))
        counted = measured_costs(data, board, sample).cycles
        assert model_cycles[:2].sum() == pytest.approx(counted[:2].sum(), rel=0.1), (name, isa)
        errors.append((model_cycles[:2] / counted[:2] - 1).ravel())
    assert np.mean(np.abs(np.concatenate(errors)) <= 0.2) >= 0.9


def test_steps_on_helium_cost_what_qemu_counts() -> None:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("nothing runs a Cortex-M55: apt install qemu-system-arm")
    need_tools()
    from qemu_ops import op_instructions

    chosen, errors = load_board(M55), []
    for name, isa, data, sample in planned_nets(chosen.isa):
        container = Container.from_bytes(data)
        model_cycles = op_cycles(container, chosen.cycles, isa, stored_copies(container, isa))
        counted = op_instructions(data, M55, sample) * CYCLES_PER_INSTRUCTION[chosen.core]
        assert model_cycles[:2].sum() == pytest.approx(counted[:2].sum(), rel=0.03), (name, isa)
        if isa == chosen.isa:
            errors.append((model_cycles[:2] / counted[:2] - 1).ravel())
    assert np.mean(np.abs(np.concatenate(errors)) <= 0.03) >= 0.9


def test_the_clock_of_a_board_that_qemu_tells_nothing_of_is_not_noted() -> None:
    with pytest.raises(EngineError, match="clock"):
        QemuBoard("qemu_mps2_an386", note_clock=True)


def test_every_board_has_a_table_for_its_kernels() -> None:
    for name in board_names():
        board = load_board(name)
        assert {kernels for kernels, _ in board.cycles.kernels} == {"REF", board.isa} | {"REF"} or board.isa == "REF"
        assert {kernels for kernels, _ in board.cycles.kernels} <= set(KERNEL_SETS)


@pytest.mark.parametrize("board", board_names())
def test_every_op_of_the_schema_has_cycles_by_the_reference_kernels(board: str) -> None:
    counted = {work for kernels, work in load_board(board).cycles.kernels if kernels == "REF"}
    assert {code.lower() for code in CODES["OpCode"]} <= counted


@pytest.mark.parametrize("name", ["borders", "argmax"])
def test_models_that_are_float_outside_have_a_price(name: str) -> None:
    model = Path(__file__).parent / "models" / f"{name}_int8.tflite"
    container = Container.from_bytes(compile_model(model, exits="off").container)
    for board in board_names():
        assert (op_cycles(container, load_board(board).cycles, "REF", None) > 0.0).all()


def test_tables_name_the_command_that_made_them() -> None:
    folder = Path(__file__).resolve().parents[1] / "firmware" / "boards" / "cycles"
    for path in sorted(folder.glob("*.toml")):
        assert "tests/studies/fit_cycles.py --board" in path.read_text(encoding="utf-8"), path.name
