# SPDX-License-Identifier: Apache-2.0
"""Surviving power cuts: layouts against a machine that loses power, the verifier against broken layouts, costs by hand."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nvm_graphs import Machine, nvm_graphs
from tiny import tiny_quant_graph

from joulet.boards import Board, NvmFigures, board_names, load_board
from joulet.container.read import Container
from joulet.container.write import write_container
from joulet.errors import PlanError, UsageError
from joulet.plan.nvm import compare, discharge_of, plan_nvm
from joulet.plan.nvm_layout import NvmExit, NvmGraph, NvmOp, graph_of, layout_for, nvm_lives, plan_layout
from joulet.plan.nvm_strategies import (
    Discharge,
    commit_aim,
    in_nvm,
    jit_copy,
    kept_bytes,
    live_bytes,
    restart_from_exit,
)
from joulet.plan.nvm_verify import verify_copies, verify_nvm

FRAM = NvmFigures(
    kind="fram",
    bytes=1000,
    page_bytes=1,
    granule_bytes=1,
    read_cycles_per_byte=1.0,
    write_cycles_per_byte=2.0,
    erase_cycles_per_byte=0.0,
    record_bytes=10,
    record_cycles=100,
    boot_cycles=500,
    endurance_writes=1e6,
    provenance="modelled: by hand",
)


def chain(*sizes: int, cycles: int = 1000, units: int = 1) -> NvmGraph:
    """An input and one op after the other; the last one answers."""
    ops = tuple(NvmOp(inputs=(i,), output=i + 1, cycles=cycles, units=units) for i in range(len(sizes)))
    last = len(sizes)
    exits = (NvmExit(last_op=last - 1, output=last, logits=last),)
    return NvmGraph(sizes=(None, *sizes), ops=ops, exits=exits, outputs=(last,))


def store(cycles: float, **values: float) -> Discharge:
    """A discharge of so many cycles at 100 pJ."""
    figures = {"usable_j": cycles * 100e-12, "on_v": 3.0, "off_v": 2.0, "pj_per_cycle": 100.0, "boot_cycles": 500}
    return Discharge(**{**figures, **values})  # type: ignore[arg-type]


# layout and verifier


@settings(max_examples=80, deadline=None)
@given(nvm_graphs(), st.integers(1, 20))
def test_a_layout_passes_the_verifier(graph: NvmGraph, interval_ops: int) -> None:
    layout = layout_for(graph, interval_ops)
    assert verify_nvm(graph, layout.offsets, layout.bytes, interval_ops) == ()
    assert all(offset is None or offset % 4 == 0 for offset in layout.offsets)


@settings(max_examples=80, deadline=None)
@given(nvm_graphs(), st.integers(1, 6), st.integers(0, 2**32))
def test_what_the_verifier_passes_survives_cuts(graph: NvmGraph, interval_ops: int, seed: int) -> None:
    layout = layout_for(graph, interval_ops)
    chance = random.Random(seed)
    for count in range(1, len(graph.exits) + 1):
        for wanted in itertools.combinations(range(len(graph.exits)), count):
            steady = Machine(graph, layout.offsets, layout.bytes, wanted).run(chance, interval_ops)
            cut = Machine(graph, layout.offsets, layout.bytes, wanted).run(chance, interval_ops, cut=0.4)
            assert cut == steady


@settings(max_examples=100, deadline=None)
@given(nvm_graphs(), st.integers(1, 4), st.integers(0, 2**32))
def test_offsets_at_random_are_either_refused_or_survive(graph: NvmGraph, interval_ops: int, seed: int) -> None:
    """The other way round: whatever the verifier lets pass is sound, wherever it came from."""
    chance = random.Random(seed)
    total = 3 * sum(size or 0 for size in graph.sizes)
    written = {op.output for op in graph.ops}
    offsets = [
        chance.randrange(total - (graph.sizes[t] or 0) + 1) if t in written else None for t in range(len(graph.sizes))
    ]
    passed = verify_nvm(graph, offsets, total, interval_ops) == ()
    everything = tuple(range(len(graph.exits)))
    apart = layout_for(graph, len(graph.ops))
    expected = Machine(graph, apart.offsets, apart.bytes, everything).run(chance, interval_ops)
    for _ in range(5):
        survived = Machine(graph, offsets, total, everything).run(chance, interval_ops, cut=0.4) == expected
        assert survived or not passed


@settings(max_examples=80, deadline=None)
@given(nvm_graphs(), st.data())
def test_two_live_tensors_over_each_other_are_caught(graph: NvmGraph, data: st.DataObject) -> None:
    layout = layout_for(graph, 1)
    read = {tensor for op in graph.ops for tensor in op.inputs} | {each.output for each in graph.exits}
    lives = nvm_lives(graph)
    pairs = [
        (a, b)
        for a, life in enumerate(lives)
        for b, other in enumerate(lives)
        if life and other and a in read and life.first < other.first <= life.last
    ]
    assume(pairs)
    kept, moved = data.draw(st.sampled_from(pairs))
    offsets = list(layout.offsets)
    offsets[moved] = offsets[kept]
    total = layout.bytes + max(size or 0 for size in graph.sizes)
    assert verify_nvm(graph, offsets, total, 1)


def test_in_place_is_caught() -> None:
    graph = chain(8, 8, 8)
    assert verify_nvm(graph, (None, 0, 8, 16), 24, 3) == ()
    assert "overwrites what was read" in verify_nvm(graph, (None, 0, 0, 16), 24, 1)[0]


def test_double_buffers_need_a_commit_at_every_op() -> None:
    graph = chain(8, 8, 8)
    ping_pong = (None, 0, 8, 0)
    assert verify_nvm(graph, ping_pong, 16, 1) == ()
    # committed inside op 1, cut after op 2: op 1 reads what op 2 has written
    assert verify_nvm(graph, ping_pong, 16, 2) == ("op 2 overwrites what was read since a commit in op 1",)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [((None, 0, None), "no place"), ((None, 0, 12), "outside"), ((0, 0, 8), "read again"), ((None, -4, 8), "outside")],
)
def test_places_that_cannot_be(offsets: tuple[int | None, ...], expected: str) -> None:
    assert expected in verify_nvm(chain(8, 8), offsets, 16, 1)[0]


def test_an_early_answer_must_outlive_what_follows() -> None:
    ops = (
        NvmOp(inputs=(0,), output=1),
        NvmOp(inputs=(1,), output=2, exit=0),
        NvmOp(inputs=(1,), output=3),
        NvmOp(inputs=(3,), output=4),
    )
    exits = (NvmExit(last_op=1, output=2), NvmExit(last_op=3, output=4))
    graph = NvmGraph(sizes=(None, 8, 8, 8, 8), ops=ops, exits=exits, outputs=(4,))
    assert verify_nvm(graph, (None, 0, 8, 16, 8), 24, 1) == ("the answer in tensor 2 is lost by op 3",)
    assert verify_nvm(graph, layout_for(graph, 1).offsets, 100, 1) == ()


def test_room_decides_how_far_an_interval_reaches() -> None:
    graph = chain(8, 8, 8, 8)
    assert (plan_layout(graph, 100).bytes, plan_layout(graph, 100).interval_ops) == (32, 4)
    assert (plan_layout(graph, 24).bytes, plan_layout(graph, 24).interval_ops) == (24, 2)
    assert (plan_layout(graph, 16).bytes, plan_layout(graph, 16).interval_ops) == (16, 1)
    with pytest.raises(PlanError, match="restart-from-exit"):
        plan_layout(graph, 15)


def test_an_op_that_reads_its_own_output_is_refused() -> None:
    graph = replace(chain(8), ops=(NvmOp(inputs=(1,), output=1),))
    with pytest.raises(PlanError, match="cannot be run again"):
        layout_for(graph, 1)


def test_inputs_and_constants_are_not_kept() -> None:
    container = Container.from_bytes(write_container(tiny_quant_graph()))
    graph = graph_of(container)
    layout = layout_for(graph, 1)
    assert layout.offsets[int(container.model["inputs"][0])] is None
    assert sum(offset is not None for offset in layout.offsets) == len({op.output for op in graph.ops})


@settings(max_examples=80, deadline=None)
@given(nvm_graphs(), st.data())
def test_copies_at_exits_hold_what_is_needed(graph: NvmGraph, data: st.DataObject) -> None:
    layout = layout_for(graph, 1, only_exits=True)
    assert verify_copies(graph, layout.offsets, layout.bytes) == ()
    kept = [tensor for tensor, offset in enumerate(layout.offsets) if offset is not None]
    lost = data.draw(st.sampled_from(kept))
    assert verify_copies(graph, [None if t == lost else o for t, o in enumerate(layout.offsets)], layout.bytes)
    last = len(graph.exits) - 1
    answers = sorted({each.output for each in graph.exits})
    if len(answers) > 1:
        over = [layout.offsets[answers[0]] if t == answers[1] else o for t, o in enumerate(layout.offsets)]
        faults = verify_copies(graph, over, layout.bytes + 40)
        assert f"exit {last} keeps tensor {answers[1]} over tensor {answers[0]}" in faults


# strategies, by hand


def test_live_sets_by_hand() -> None:
    # op 0 writes 10; op 1 reads 10, writes 20; op 2 reads 20, writes 30
    graph = chain(10, 20, 30)
    assert live_bytes(graph) == (10, 30, 50)
    assert kept_bytes(graph) == (30,)


def test_in_nvm_by_hand() -> None:
    graph = chain(10, 20, 30, cycles=1000, units=10)
    discharge = store(5500)
    cost = in_nvm(graph, FRAM, discharge)
    # before its first unit an op reads 0, 10 and 20 bytes, and a record of 10
    assert cost.commit_cycles == math.ceil(commit_aim(100, 5500 - 500 - 30, 0.05))
    # the best would be 997 cycles, the share asks for 1900, but several must fit: a quarter of 4970
    assert cost.commit_cycles == math.ceil(4970 / 4)
    unit = (102 + 104 + 106) / 3
    interval = 4970 / 4 + unit / 2
    steady = 3120 + max(3120 / interval, 1) * 100
    restore = ((10 + 5) + (20 + 10) + (30 + 15)) / 3
    assert cost.steady_cycles == pytest.approx(steady)
    assert cost.cycles == pytest.approx(steady * 5500 / (5500 - 500 - restore - interval / 2))
    assert cost.needed_cycles == pytest.approx(500 + 30 + 106 + 100)


def test_jit_copy_by_hand() -> None:
    graph = chain(10, 20, 30, cycles=1000, units=10)
    cost = jit_copy(graph, FRAM, store(5500))
    # 50 bytes at 2 cycles and a record; the unit of 100 that is running; a tenth on top
    assert cost.reserve_cycles == pytest.approx((200 + 100) * 1.1)
    useful = 5500 - 500 - (20 + 40 + 60) / 3 - 330
    spent = 5500 - 330 + (120 + 160 + 200) / 3
    assert cost.cycles == pytest.approx(3100 * spent / useful)
    # 330 of 5500 cycles of the energy between 2 and 3 V lie above 2 V
    assert cost.warn_v == pytest.approx(math.sqrt(4 + 5 * 330 / 5500))


def test_restart_from_exit_by_hand() -> None:
    graph = chain(10, 20, 30, cycles=1000)
    # 3000 cycles, 30 bytes that answer at 2 cycles, a record: 3160; booting 500
    needed = restart_from_exit(graph, FRAM, store(1)).needed_cycles
    assert needed == 3660
    assert math.isinf(restart_from_exit(graph, FRAM, store(3600)).cycles)
    # one inference fits into 4000 cycles, the rest of the discharge is lost
    assert restart_from_exit(graph, FRAM, store(4000)).cycles == pytest.approx(4000)
    # three fit into 500 + 3 * 3160
    assert restart_from_exit(graph, FRAM, store(9981)).cycles == pytest.approx(9981 / 3)


def test_segments_are_packed_over_discharges() -> None:
    ops = (
        NvmOp(inputs=(0,), output=1, cycles=1000),
        NvmOp(inputs=(1,), output=2, exit=0, cycles=1000),
        NvmOp(inputs=(1,), output=3, cycles=1000),
    )
    exits = (NvmExit(last_op=1, output=2), NvmExit(last_op=2, output=3))
    graph = NvmGraph(sizes=(None, 10, 10, 10), ops=ops, exits=exits, outputs=(3,))
    # 2000 + 20 bytes kept + record = 2140; 1000 + 20 + record = 1140; restored before the second: 20 + 10 bytes
    assert kept_bytes(graph) == (20, 20)
    assert restart_from_exit(graph, FRAM, store(1)).needed_cycles == 500 + 2140
    # 3200 cycles: the first segment, then the second does not end; the second in the next, then the first again does not
    assert restart_from_exit(graph, FRAM, store(3200)).cycles == pytest.approx(2 * 3200)
    # 3800: both in one
    assert restart_from_exit(graph, FRAM, store(3800)).cycles == pytest.approx(3800)


@settings(max_examples=60, deadline=None)
@given(nvm_graphs(), st.floats(600, 1e7), st.floats(1.1, 10))
def test_more_energy_never_costs_more(graph: NvmGraph, cycles: float, factor: float) -> None:
    graph = replace(graph, ops=tuple(replace(op, cycles=500) for op in graph.ops))
    for strategy in (in_nvm, jit_copy):
        little, much = (strategy(graph, FRAM, store(budget)) for budget in (cycles, factor * cycles))
        assert much.cycles <= little.cycles * 1.001
        assert much.cycles >= much.steady_cycles


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 8), st.integers(8000, 60_000), st.integers(0, 2**32))
def test_the_closed_form_of_in_nvm_is_what_a_run_takes(n_ops: int, budget: int, seed: int) -> None:
    """Units one by one until each discharge is spent, many inferences long."""
    chance = random.Random(seed)
    sizes = [chance.randrange(4, 60) for _ in range(n_ops)]
    graph = chain(*sizes, cycles=6000, units=60)
    cost = in_nvm(graph, FRAM, store(budget))
    units = [
        (op, (op.cycles + 2 * (graph.sizes[op.output] or 0)) / op.units) for op in graph.ops for _ in range(op.units)
    ]
    runs, at, discharges = 120, 0, 0
    while at < runs * len(units):
        discharges += 1
        # of random size around the budget, or outages would keep in step with inferences
        left = budget * chance.uniform(0.8, 1.2) - 500
        start = at
        op = units[at % len(units)][0]
        left -= sum(graph.sizes[t] or 0 for t in op.inputs) + 10
        done = sum(units[i % len(units)][0] is op for i in range(at - at % 60, at))
        pending = (graph.sizes[op.output] or 0) * done / op.units  # read back when the op ends
        since = 0.0
        while left >= 0:
            cycles = units[at % len(units)][1]
            left -= cycles
            since += cycles
            if left < 0:
                break
            at += 1
            if at % 60 == 0 and pending:
                left -= pending
                pending = 0.0
            if since >= cost.commit_cycles:
                left -= 100
                if left >= 0:
                    start, since = at, 0.0
        at = start
    assert discharges * budget / runs == pytest.approx(cost.cycles, rel=0.06)


def test_commits_take_their_share_where_there_is_energy() -> None:
    graph = chain(*[10] * 50, cycles=100_000, units=100)
    cost = in_nvm(graph, FRAM, store(2_000_000))
    assert cost.commit_share <= 0.05
    # the best interval is longer than the share asks for
    assert cost.commit_cycles == math.ceil(math.sqrt(2 * 100 * (2_000_000 - 500 - 20)))


def test_flash_is_never_written_through() -> None:
    flash = replace(FRAM, kind="flash", page_bytes=64, granule_bytes=8, erase_cycles_per_byte=5.0)
    result = compare(chain(10, 20, 30), "b", flash, store(50_000))
    assert result.plan is not None
    assert result.plan.strategy != "in-nvm"
    assert "erase" in result.reasons[0]
    assert result.plan.copy_bytes % 64 == 0
    assert result.plan.total_bytes == 2 * result.plan.copy_bytes


def test_nothing_is_taken_where_nothing_makes_progress() -> None:
    result = compare(chain(10, 20, 30), "b", FRAM, store(510))
    assert result.plan is None
    assert all(reason.startswith("not: ") for reason in result.reasons)
    assert "taken" in json.loads(json.dumps(result.to_json(), allow_nan=False))
    with pytest.raises(UsageError, match="larger capacitor"):
        compare(chain(10, 20, 30), "b", FRAM, store(510), strategy="in-nvm")


def test_a_strategy_that_is_asked_for_is_taken() -> None:
    result = compare(chain(10, 20, 30), "b", FRAM, store(50_000), strategy="restart-from-exit")
    assert result.plan is not None
    assert result.plan.strategy == "restart-from-exit"
    # only the answer outlives its exit
    assert [offset is not None for offset in result.plan.offsets] == [False, False, False, True]
    assert "asked for" in str(result)


def test_wear_is_said_when_it_comes_soon() -> None:
    worn = compare(chain(10, 20, 30), "b", replace(FRAM, endurance_writes=1e4), store(50_000), per_day=1e5)
    assert "wears out in" in str(worn)
    taken = next(cost for cost, reason in zip(worn.strategies, worn.reasons, strict=True) if reason.startswith("taken"))
    assert taken.years(replace(FRAM, endurance_writes=1e4), 1e5) == pytest.approx(1e4 / (taken.writes * 1e5) / 365.25)


# boards


@pytest.mark.parametrize("name", [name for name in board_names() if load_board(name).nvm])
def test_boards_say_what_their_memory_costs(name: str) -> None:
    board = load_board(name)
    assert board.nvm is not None
    assert board.provenance["nvm"].startswith(("modelled: ", "datasheet: ", "measured: "))


def _kws_like() -> tuple[Board, NvmGraph]:
    """The live set and the published latency of MLPerf Tiny's KWS on its reference board."""
    board = load_board("nucleo_l4r5zi")
    half = round(43.42e-3 * board.load.clock_hz / 2)
    return board, chain(8000, 8000, cycles=half, units=100)


def test_copying_to_flash_costs_several_inferences_and_to_fram_does_not() -> None:
    """What DESIGN.md says of KWS's 16 kB."""
    board, graph = _kws_like()
    inference = sum(op.cycles for op in graph.ops)
    assert max(live_bytes(graph)) == 16_000
    assert board.nvm is not None
    assert board.fram is not None
    flash, fram = (
        max(live_bytes(graph)) * (memory.write_cycles_per_byte + memory.erase_cycles_per_byte) / inference
        for memory in (board.nvm, board.fram)
    )
    assert 4 < flash < 8
    assert fram < 0.3


def test_with_fram_attached_the_fram_is_planned_for(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(
        'like = "nucleo_l4r5zi"\nname = "mine"\n[firmware.nvm]\ndriver = "jlt_nvm_fram"\nbytes = 524_288\ndevice_id = 0x2608\n'
    )
    board = load_board(str(overlay))
    assert board.nvm == board.fram


def test_a_container_is_planned_for_a_board() -> None:
    container = Container.from_bytes(write_container(tiny_quant_graph()))
    board = load_board("virtual_m4")
    result = plan_nvm(container, board, capacitor_f=1e-3)
    assert result.plan is not None
    assert len(result.plan.offsets) == len(container.tensors)
    assert result.discharge.usable_j == pytest.approx(0.5e-3 * (2.4**2 - 1.8**2))
    by_energy = discharge_of(board, usable_j=1.26e-3)
    assert by_energy.capacitor_f == pytest.approx(1e-3)
    with pytest.raises(UsageError, match="exclude"):
        discharge_of(board, usable_j=1.0, capacitor_f=1.0)
    with pytest.raises(UsageError, match="keeps nothing"):
        plan_nvm(container, replace(board, nvm=None))
    with pytest.raises(UsageError, match="there are: in-nvm"):
        plan_nvm(container, board, strategy="hope")
