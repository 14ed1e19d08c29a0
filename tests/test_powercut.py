# SPDX-License-Identifier: Apache-2.0
"""A slice of the power-cut campaign, every instruction of a short stretch, and proof that the runner would see a mistake."""

from __future__ import annotations

import numpy as np
import pytest
from board_tools import need_board
from powercut.campaign import IN_FLASH, PATHS, STRATEGIES, cases, model_of, piece
from powercut.runner import Runner, Tally, seeds
from powercut.scenario import Case, Machine

import joulet
from joulet.boards import load_board
from joulet.container.isa_plan import band_groups, slow_bytes
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import ConstantHarvester
from joulet.firmware.build import build_firmware
from joulet.live.measure import measured_costs
from joulet.live.run import Job, Survival, run_on_board
from joulet.plan.cost import cost_table
from joulet.policies.fixed import Fixed
from joulet.session import SessionSettings

TINY = "tiny"


def assert_clean(tally: Tally) -> None:
    assert tally.failures == []
    assert (tally.wrong_answers, tally.lost_commits, tally.unbootable) == (0, 0, 0)
    assert tally.max_redone_intervals <= 1


@pytest.mark.parametrize("strategy", STRATEGIES + IN_FLASH)
@pytest.mark.parametrize("path", PATHS)
def test_random_cuts_in_a_small_model(strategy: str, path: str) -> None:
    need_board()
    tally = Tally()
    for number, case in enumerate(cases([TINY], "")):
        if case.name.split("/")[1] == strategy and case.path == path:
            tally.add(piece(case, "", 100 + number, 12))
    assert tally.cuts >= 30
    assert_clean(tally)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_cuts_where_ops_run_in_bands(strategy: str) -> None:
    """A group is run again from its first op: nothing is lost but that, and no byte is another."""
    need_board()
    assert band_groups(model_of("bands", "")[0], load_board("virtual_m4").isa)
    tally = Tally()
    for number, case in enumerate(cases(["bands"], "")):
        if case.name.split("/")[1] == strategy:
            tally.add(piece(case, "", 300 + number, 16))
    assert tally.cuts >= 30
    assert_clean(tally)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_cuts_where_tensors_lie_in_two_memories(strategy: str) -> None:
    """What is copied, kept and brought back comes from the memory in which it lies, and goes there."""
    need_board()
    assert slow_bytes(model_of("memories", "")[0], "ARMV7EM") > 0
    tally = Tally()
    for number, case in enumerate(cases(["memories"], "")):
        if case.name.split("/")[1] == strategy:
            tally.add(piece(case, "", 400 + number, 8))
    assert tally.cuts >= 30
    assert_clean(tally)


def test_every_instruction_of_a_stretch_around_two_commits() -> None:
    need_board()
    runner = Runner(Case(model=TINY, strategy="IN_NVM", path="w8", exit=2, commit_cycles=20_000), *model_of(TINY, ""))
    tally = Tally()
    for at in range(1, 400):
        tally.add(runner.cut(at, at=at))
    assert tally.cuts == 399
    assert_clean(tally)


def test_three_cuts_in_a_row() -> None:
    need_board()
    runner = Runner(Case(model=TINY, strategy="IN_NVM", path="w4>w8@0", exit=2), *model_of(TINY, ""))
    tally = Tally()
    for seed in seeds(5, 12):
        tally.add(runner.cut(seed, depth=3, whole=True))
    assert tally.cuts == 36
    assert_clean(tally)


def test_a_seed_cuts_at_the_same_places_again() -> None:
    need_board()
    case = Case(model=TINY, strategy="JIT_COPY", path="w8", exit=2)
    first, second = (Runner(case, *model_of(TINY, "")).cut(77, depth=2, whole=True) for _ in range(2))
    assert (first.cuts, first.failures) == (second.cuts, second.failures)


def test_a_commit_before_what_it_stands_for_is_found_out() -> None:
    """The checker checks itself: a firmware that writes its record before the tensor must not pass."""
    need_board()
    broken = build_firmware("virtual_m4", broken_commit=True)
    case = Case(model=TINY, strategy="IN_NVM", path="w8", exit=2, commit_cycles=20_000)
    runner = Runner(case, *model_of(TINY, ""), firmware=broken)
    tally = Tally()
    for seed in seeds(3, 300):
        tally.add(runner.cut(seed))
        if tally.wrong_answers:
            break
    assert tally.wrong_answers > 0
    assert "tensor" in tally.failures[0] or "answers" in tally.failures[0]


def test_what_a_cut_has_torn_in_a_ring_is_passed() -> None:
    """The newest whole entry counts, wherever torn ones lie; the board goes on from it and answers as ever."""
    need_board()
    case = Case(model=TINY, strategy="RESTART_FROM_EXIT", path="w8", exit=2, board="virtual_m4_flash")
    machine = Machine(case, *model_of(TINY, ""))
    sequences: list[int] = []

    def look() -> None:
        record = machine.record()
        sequences.append(0 if record is None else int(record["sequence"]))
        if len(sequences) == 4:
            machine.board.core.stop()

    machine.commits = look
    machine.board.power_on()
    machine.board.run(pause_s=100.0)
    assert len(sequences) == 4
    machine.commits = None
    machine.board.cut()
    ring, newest = machine.board.slot("progress"), machine.record()
    assert newest is not None
    assert sequences == sorted(sequences)
    assert machine.board.counts.erases > 0  # it had been full of something else
    # flip a bit of the newest entry's content: the one before it counts
    entry = machine.entry()
    assert entry is not None
    at = ring.index(entry)
    address = machine.board.facts.slots["progress"].address
    machine.board.load(address + at + len(entry) - 1, bytes([entry[-1] ^ 4]))
    before = machine.record()
    assert before is not None
    assert int(before["sequence"]) == int(newest["sequence"]) - 1
    machine.board.power_on()
    machine.board.run(pause_s=100.0)
    after = machine.record()
    assert after is not None
    assert not after["running"]
    assert int(after["sequence"]) > int(newest["sequence"])
    assert len({int(answer["exit"]) for answer in machine.answers()}) == 3
    assert machine.board.counts.violations == 0


def test_steady_power_costs_little() -> None:
    """Commits are held back while the store is far from empty."""
    need_board()
    container, sample = model_of(TINY, "")
    cycles = {}
    for strategy, warn_mv in (("NONE", 0), ("IN_NVM", 2300), ("JIT_COPY", 2300)):
        case = Case(model=TINY, strategy=strategy, path="w8", exit=2, every=False, warn_mv=warn_mv)
        machine = Machine(case, container, sample)
        machine.board.power_on()
        start = machine.board.core.cycles
        machine.board.run(pause_s=100.0)
        cycles[strategy] = machine.board.core.cycles - start
    # what is written once, at the start and end, whatever the model: some nine records
    assert cycles["IN_NVM"] < cycles["NONE"] + 75_000
    assert cycles["JIT_COPY"] < cycles["NONE"] + 75_000


@pytest.mark.parametrize(("capacitor_f", "commit_cycles"), [(27e-6, 20_000), (33e-6, 20_000)])
def test_a_store_smaller_than_an_inference_gets_there(capacitor_f: float, commit_cycles: int) -> None:
    need_board()
    container, sample = model_of(TINY, "")
    board, decoded = load_board("virtual_m4"), Container.from_bytes(container)
    job = Job(
        container=container,
        model=TINY,
        model_hash=decoded.model_hash,
        inputs=[x[None] for x in sample],
        labels=None,
        costs=cost_table(decoded, measured_costs(container, "virtual_m4", sample)),
    )
    record = run_on_board(
        job,
        board,
        harvester=ConstantHarvester(1e-3),
        converter=ConstantConverter(0.8),
        storage=Capacitor(capacitor_f, max_v=board.load.max_v, initial_v=board.load.on_v, leakage_ohm=1e6),
        policy=Fixed("w8@final"),
        settings=SessionSettings(period_s=5.0, duration_s=5.0),
        survival=Survival(strategy="IN_NVM", commit_cycles=commit_cycles),
    )
    load = board.load
    usable_j = 0.5 * capacitor_f * (load.on_v**2 - load.off_v**2)
    step = job.costs.steps[decoded_path(decoded)][0][2]
    assert step is not None
    assert usable_j < step.cycles * load.energy_pj_per_cycle * 1e-12
    assert record.summary.served == 1
    host = joulet.HostEngine(container).infer([x[None] for x in sample], path="w8")
    event = record.events[0]
    assert event.confidence_q15 == int(host.confidence_q15[0])
    assert event.predicted == int(np.argmax(host.outputs[0]))
    assert record.ledger.residual_fraction < 1e-6


def decoded_path(container: Container) -> int:
    names = [str(each["name"] if isinstance(each, dict) else each) for each in container.meta["paths"]]
    return names.index("w8")
