# SPDX-License-Identifier: Apache-2.0
"""Packing under a flash limit: the best part that fits, against all parts there are; and what is left out still runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from band_cases import blocks
from board_tools import MODELS

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.kernel_use import kernel_use
from joulet.container.layout import CODES
from joulet.container.needs import SHARED, isa_needs, stored_copies, wanted_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.plan.copies import (
    best_copies,
    copies_on,
    copies_text,
    copy_bills,
    planned_copies,
    saved_cycles,
    scratch_relief,
)
from joulet.plan.cost import board_costs
from joulet.plan.packings import is_shareable
from joulet.tools.main import main

BOARD = "virtual_m0plus"  # its kernels are plain C and run here


def model(name: str) -> Container:
    """Return a small model."""
    return Container.from_bytes(compile_model(MODELS / f"{name}.tflite", exits="off").container)


def _no_weight_shares_and_has_its_own(copies: Iterable[tuple[int, int]]) -> bool:
    taken = list(copies)
    shared = {weight for weight, bits in taken if bits == SHARED}
    return not any(weight in shared and bits != SHARED for weight, bits in taken)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_choice_is_worth_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = [(weight, bits) for weight in range(4) for bits in (8, 4, SHARED) if bits != SHARED or weight < 3]
    values = {copy: float(rng.integers(0, 50)) for copy in copies}
    sizes = {copy: int(rng.integers(1, 12)) for copy in copies}
    room = int(rng.integers(0, 40))
    chosen = best_copies(values, sizes, room)
    assert sum(sizes[copy] for copy in chosen) <= room
    assert _no_weight_shares_and_has_its_own(chosen)
    most = max(
        sum(values[copy] for copy in part)
        for count in range(len(copies) + 1)
        for part in itertools.combinations(copies, count)
        if sum(sizes[copy] for copy in part) <= room and _no_weight_shares_and_has_its_own(part)
    )
    assert sum(values[copy] for copy in chosen) == most


@pytest.mark.parametrize("name", ["conv_int8", "depthwise_int8", "dense_int8", "residual_int8"])
def test_any_part_of_the_copies_runs_to_the_same_bytes(name: str) -> None:
    container = model(name)
    board = load_board(BOARD)
    wanted = sorted(wanted_copies(container, isa_needs(container, CODES["Isa"][board.isa])))
    reference = HostEngine(container.data, isa="REF")
    inputs = [np.random.default_rng(1).integers(-128, 128, (2, *i.shape), np.int8) for i in reference.inputs]
    for taken in (frozenset(), frozenset(wanted[::2]), frozenset(wanted[1::2]), frozenset(wanted)):
        planned = with_isa_plan(container.data, board.isa, copies=taken)
        assert stored_copies(Container.from_bytes(planned), board.isa) == taken
        engine = HostEngine(planned, isa=board.isa)
        for path in ("w8", "w4"):
            expected = reference.infer(inputs, path=path).outputs
            for got, want in zip(engine.infer(inputs, path=path).outputs, expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_a_small_slot_gets_the_part_that_saves_most() -> None:
    container, board = model("dense_int8"), load_board(BOARD)
    every = planned_copies(container, board)
    assert every is not None
    whole = with_isa_plan(container.data, board.isa)
    saved = saved_cycles(container, board, every)
    before = 0.0
    for room in range(len(container.data), len(whole) + 640, 64):
        small = replace(board, model_bytes=room)
        copies = planned_copies(container, small)
        if copies is None:
            continue
        planned = with_isa_plan(container.data, board.isa, copies=copies)
        assert len(planned) <= room
        worth = sum(saved[copy] for copy in copies)
        assert worth >= before
        before = worth
        # planning what is planned already changes nothing, and its costs are those of what is in it
        again = Container.from_bytes(planned)
        assert planned_copies(again, small) == copies == copies_on(again, small)
        np.testing.assert_array_equal(board_costs(again, small).cycles, board_costs(container, small).cycles)
    assert copies == every
    assert planned_copies(container, replace(board, model_bytes=len(container.data))) is None


def test_where_two_copies_do_not_fit_one_serves_both() -> None:
    container, board = model("dense_int8"), load_board("virtual_m4")
    every = planned_copies(container, board)
    assert every is not None
    assert not any(bits == SHARED for _, bits in every)
    room = len(with_isa_plan(container.data, board.isa)) - 64
    tight = replace(board, model_bytes=room)
    copies = planned_copies(container, tight)
    assert copies is not None
    assert any(bits == SHARED for _, bits in copies)
    planned = with_isa_plan(container.data, board.isa, copies=copies)
    assert len(planned) <= room
    assert stored_copies(Container.from_bytes(planned), board.isa) == copies
    assert kernel_use(planned, board.isa).shared
    assert not kernel_use(with_isa_plan(container.data, board.isa), board.isa).shared
    assert (8, 4) in {bill.bits for bill in copy_bills(container, tight, copies) if bill.stored}
    # every weight is still read from a packed copy at both precisions, so nothing is left to the reference kernels
    assert {weight for weight, _ in copies} == {weight for weight, _ in every}


def test_rows_whose_sums_have_no_room_do_not_share() -> None:
    rows = np.full((2, 300), 127, np.int8)
    assert not is_shareable("ARMV7EM", rows)
    assert is_shareable("ARMV7EM", rows[:, :200])
    assert is_shareable("ARMV7EM", rows // 4)
    assert not is_shareable("ARMV6M", rows // 4)


def test_it_says_what_is_left_out_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    container, board = model("dense_int8"), load_board(BOARD)
    bills = copy_bills(container, board, frozenset({(0, 8)}))
    assert [bill.stored for bill in bills].count(True) == 1
    text = copies_text(bills, board)
    assert f"1 of {len(bills)} copies" in text
    assert text.count("would save") == len(bills) - 1
    path = tmp_path / "m.jlt"
    path.write_bytes(with_isa_plan(container.data, board.isa, copies=frozenset({(0, 8)})))
    assert main(["inspect", str(path), "--board", BOARD, "--json"]) == 0
    packed = json.loads(capsys.readouterr().out)["packed"]
    assert [each["stored"] for each in packed["copies"]] == [bill.stored for bill in bills]
    assert main(["inspect", str(path), "--board", BOARD]) == 0
    assert text in capsys.readouterr().out


def test_copies_that_spare_scratch_go_first_where_memory_is_short() -> None:
    board = load_board("virtual_m4")
    container = Container.from_bytes(blocks(2, side=16, channels=16))
    isa = CODES["Isa"][board.isa]
    own, reference = isa_needs(container, isa), isa_needs(container, CODES["Isa"]["REF"])
    most = max(need.scratch_bytes for need in own if need.taken)
    relief = scratch_relief(container, board, frozenset())
    dear = {int(record["weight"]) for op, record in enumerate(container.ops) if reference[op].scratch_bytes > most}
    assert {weight for weight, _ in relief} == dear & {weight for weight, _ in wanted_copies(container, own)}
    assert relief
    assert not scratch_relief(container, board, frozenset(wanted_copies(container, own)))
    saved = saved_cycles(container, board, frozenset(wanted_copies(container, own)))
    last = min(relief, key=lambda copy: saved[copy])  # what a knapsack of cycles alone would take last
    size = max(wanted_copies(container, own).values())  # room for one of the large ones
    planned = len(with_isa_plan(container.data, board.isa, copies=frozenset()))
    small = replace(board, model_bytes=planned + size + 256)
    without, copies = planned_copies(container, small), planned_copies(container, small, first={last: 1.0})
    assert without is not None
    assert copies is not None
    assert last not in without
    assert last in copies
    assert len(with_isa_plan(container.data, board.isa, copies=copies)) <= planned + size + 256
