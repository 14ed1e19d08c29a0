# SPDX-License-Identifier: Apache-2.0
"""A run with the real firmware in the loop: the board decides, dies, comes back, and its books agree with the host's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_tools import container, need_board, samples

import joulet
from joulet.boards import load_board
from joulet.container.parts import with_nvm_plan
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import ConstantHarvester, MarkovHarvester
from joulet.engine.answers import Answers
from joulet.errors import LinkError, UsageError
from joulet.firmware.slots import policy_slot, samples_slot, session_slot
from joulet.link import connect, wire
from joulet.link.frames import Frame
from joulet.live.journal import read_journal
from joulet.live.measure import measured_costs
from joulet.live.run import Job, Survival, run_on_board
from joulet.live.survive import survival_for
from joulet.plan.cost import cost_table
from joulet.plan.nvm import plan_nvm
from joulet.policies.fixed import Fixed
from joulet.policies.shadow import Shadow
from joulet.records import Action, Decision, Observation, RunRecord, Status
from joulet.session import SessionSettings
from joulet.session import run as run_session
from joulet.tools.main import main

BOARD = "virtual_m4"


@pytest.fixture(scope="module")
def job() -> Job:
    need_board()
    x = samples("residual_int8")
    costs = measured_costs(container(), BOARD, (x[0],))
    decoded = Container.from_bytes(container())
    labels = np.random.default_rng(4).integers(0, 4, len(x))
    return Job(
        container=container(),
        model="residual",
        model_hash=decoded.model_hash,
        inputs=[x],
        labels=labels,
        costs=cost_table(decoded, costs),
    )


def path(capacitor_f: float, mean_w: float, *, seed: int = 1, steady: bool = False) -> dict:
    load = load_board(BOARD).load
    source = (
        ConstantHarvester(mean_w)
        if steady
        else MarkovHarvester(
            [0.0, 2.0 * mean_w], [[0.9, 0.1], [0.1, 0.9]], step_s=0.5, duration_s=60.0, seed=seed, loop=True
        )
    )
    return {
        "harvester": source,
        "converter": ConstantConverter(0.8),
        "storage": Capacitor(capacitor_f, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=1e6),
    }


def on_board(job: Job, settings: SessionSettings, **energy: object) -> RunRecord:
    return run_on_board(job, load_board(BOARD), policy=Shadow(), settings=settings, **energy)  # type: ignore[arg-type]


def test_measured_costs_are_those_of_whole_inferences(job: Job) -> None:
    from joulet.tools.engines import WindowCounter

    virtual = VirtualBoard(BOARD)
    virtual.load(virtual.facts.slots["model"].address, container())
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        from joulet.engine.board import BoardEngine

        engine = BoardEngine(container(), link, counter=WindowCounter(virtual))
        for name in ("w8", "w4", "w4>w8@0"):
            index = engine.path_index(name)
            for exit in range(engine.n_exits):
                step = job.costs.steps[index][0][exit]
                assert step is not None
                counted = engine.infer([job.inputs[0][:1]], path=name, depth=exit).cycles
                assert counted is not None
                # between ops the firmware looks at its line and its clock
                assert step.cycles <= int(counted[0]) <= step.cycles * 1.05 + 4000


def test_a_plentiful_supply_answers_everything_as_the_host_would(job: Job) -> None:
    settings = SessionSettings(period_s=0.5, duration_s=20.0)
    record = on_board(job, settings, **path(10e-3, 20e-3, steady=True))
    assert record.summary.served == record.summary.arrived == 40
    assert record.ledger.closes
    assert record.ledger.residual_fraction < 1e-6
    engine = joulet.HostEngine(container())
    answers = Answers(engine, job.inputs, job.labels, job.costs.prefixes)
    for event in record.events:
        assert event.path is not None
        assert event.exit is not None
        assert (event.confidence_q15, event.predicted) == answers.at(event.sample, event.path, event.exit)
        assert event.status is Status.ON_TIME


def test_a_small_store_empties_and_recovers_and_the_books_close(job: Job) -> None:
    settings = SessionSettings(period_s=0.5, duration_s=60.0)
    record = on_board(job, settings, **path(100e-6, 60e-6))
    s = record.summary
    assert s.brownouts > 3
    assert int(record.settings["boots"] or 0) > 3
    assert 0.02 < s.off_fraction < 0.98
    assert 0 < s.served < s.arrived
    assert record.ledger.residual_fraction < 1e-6
    assert {event.status for event in record.events} >= {Status.ON_TIME, Status.MISSED}
    # what is said to have been answered was computed: the same answer as here, whatever was cut in between
    answers = Answers(joulet.HostEngine(container()), job.inputs, job.labels, job.costs.prefixes)
    for event in record.events:
        if event.exit is not None:
            assert event.path is not None
            assert (event.confidence_q15, event.predicted) == answers.at(event.sample, event.path, event.exit)


def test_the_ledger_agrees_with_the_hosts_simulation(job: Job) -> None:
    settings = SessionSettings(period_s=0.5, duration_s=60.0)
    board = on_board(job, settings, **path(1e-3, 300e-6))
    answers = Answers(joulet.HostEngine(container()), job.inputs, job.labels, job.costs.prefixes)
    host = run_session(
        answers, job.costs, load_board(BOARD).load, policy=Shadow(), settings=settings, **path(1e-3, 300e-6)
    )
    drawn = [sum(record.ledger.spent_pj.values()) for record in (board, host)]
    assert drawn[0] == pytest.approx(drawn[1], rel=0.1)
    for account in ("compute", "sleep", "conversion", "leakage"):
        a, b = (record.ledger.spent_pj[account] / total for record, total in zip((board, host), drawn, strict=True))
        assert a == pytest.approx(b, abs=0.05), account
    assert board.summary.score == pytest.approx(host.summary.score, abs=0.1)


def test_the_same_run_twice_is_the_same(job: Job) -> None:
    settings = SessionSettings(period_s=0.5, duration_s=15.0, shuffle_seed=3)
    first, second = (on_board(job, settings, **path(200e-6, 100e-6)) for _ in range(2))
    assert first.events == second.events
    assert first.ledger == second.ledger
    assert first.settings["instructions"] == second.settings["instructions"]


def test_the_boards_own_ledger_is_that_of_the_supply(job: Job) -> None:
    """Without an outage the firmware's account of itself can be read over the link and compared."""
    load = load_board(BOARD).load
    settings = SessionSettings(period_s=0.5, duration_s=10.0)
    from joulet.emulator.power import BenchSupply

    power = BenchSupply(load)
    virtual = VirtualBoard(BOARD, power=power)
    policy = Shadow()
    energy = path(10e-3, 20e-3, steady=True)
    on_board_policy = run_on_board(job, load_board(BOARD), policy=policy, settings=settings, **energy)
    assert on_board_policy.summary.brownouts == 0
    assert policy.table is not None
    for slot, content in {
        "model": job.container,
        "policy": policy_slot(policy.table.to_bytes(), job.model_hash),
        "samples": samples_slot(job.inputs),
        "session": session_slot(
            autostart=0,
            period_us=500_000,
            deadline_us=500_000,
            end_us=3_000_000,
            capacity_nf=10_000_000,
            off_mv=1800,
            full_mv=3600,
            on_mv=2400,
            sleep_nw=round(load.sleep_w * 1e9),
            energy_fj_per_cycle=load.energy_pj_per_cycle * 1000,
            dearness_q16=65536,
        ),
    }.items():
        virtual.load(virtual.facts.slots[slot].address, content)
    virtual.power_on()
    frames: list[Frame] = []
    with connect(VirtualPort(virtual)) as link:
        assert link.hello.policy_status == 0
        worth, price = link.price(1 << 20, 1 << 18)
        assert 0 <= price <= worth
        link.events = frames.append
        before_s = power.now_s
        link.run(True)
        while link.pump(1.0):
            pass
        ledger = link.ledger()
        drawn_pj = power.drawn_j * 1e12
        events = np.frombuffer(link.read("EVENTS"), wire.dtype("EventRecord"))
    names = ("harvested", "compute", "redone", "abandoned", "sleep", "sensing", "policy")
    books = dict(zip(names, ledger["pj"].tolist(), strict=False))
    spent_pj = sum(books[name] for name in names[1:])
    assert power.now_s - before_s > 2.5
    assert books["compute"] > 0
    # it books from power-up to its last step; READ and the rest of the conversation come after
    assert 0.96 * drawn_pj < spent_pj <= drawn_pj * 1.001
    assert len(events) >= 5
    codes = wire.CODES["Message"]
    assert sum(frame.type == codes["EVENT"] for frame in frames) == len(events)
    assert [frame.payload for frame in frames if frame.type == codes["LOG"]] == [b"session begins", b"session ends"]
    assert read_journal(bytes(virtual.fram.data), _epoch(virtual)).tobytes() == events.tobytes()


def _epoch(virtual: VirtualBoard) -> int:
    header = virtual.core.flash[virtual.facts.slots["session"].address :][:64].tobytes()
    return int(np.frombuffer(header, wire.dtype("SlotHeader"), 1)[0]["crc32"])


def test_journal_ends_at_the_first_record_that_is_not_whole() -> None:
    dtype = wire.dtype("EventRecord")
    import zlib

    rows = np.zeros(3, dtype)
    rows["index"] = [4, 5, 6]
    for i in range(3):
        rows["crc32"][i] = zlib.crc32(rows[i].tobytes()[:-4], 77)
    memory = bytes(wire.JOURNAL_AT) + rows.tobytes() + bytes(1000)
    assert read_journal(memory, 77)["index"].tolist() == [4, 5, 6]
    assert len(read_journal(memory, 78)) == 0
    torn = bytearray(memory)
    torn[wire.JOURNAL_AT + dtype.itemsize + 9] ^= 1
    assert read_journal(bytes(torn), 77)["index"].tolist() == [4]


def test_what_the_board_cannot_do_is_refused(job: Job) -> None:
    for settings in (SessionSettings(queue=2, duration_s=5.0), SessionSettings(times_s=(0.0, 1.0), duration_s=5.0)):
        with pytest.raises(UsageError, match="queue of one"):
            on_board(job, settings, **path(1e-3, 1e-3))


def test_joulet_run_with_the_firmware_in_the_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    x = samples("residual_int8")
    np.savez(tmp_path / "in.npz", input_0=x, labels=np.random.default_rng(4).integers(0, 4, len(x)))
    (tmp_path / "m.jlt").write_bytes(container())
    base = ["run", str(tmp_path / "m.jlt"), "--input", str(tmp_path / "in.npz"), "--engine", f"virtual:{BOARD}"]
    base += ["--trace", "constant:100uW", "--capacitor", "200uF", "--period", "500ms", "--duration", "10s", "--json"]
    for policy in ("shadow", "linear"):
        assert main([*base, "--policy", policy, "--out", str(tmp_path / policy)]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["board"] == BOARD
        assert result["ledger_closes"]
        assert (tmp_path / policy / "report.html").is_file()
    assert main([*base, "--policy", "shadow", "--out", str(tmp_path / "x"), "--board", "nucleo_l4r5zi"]) == 2
    assert "contradicts" in capsys.readouterr().err


def test_a_session_that_cannot_begin_says_why() -> None:
    need_board()
    virtual = VirtualBoard(BOARD)
    virtual.load(virtual.facts.slots["model"].address, container())
    virtual.power_on()
    frames: list[Frame] = []
    with connect(VirtualPort(virtual)) as link:
        link.events = frames.append
        with pytest.raises(LinkError, match="refuses RUN"):
            link.run(True)
    assert [frame.payload for frame in frames] == [b"no session without a plan in its slot"]


def test_joulet_run_where_an_inference_outlives_its_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_board()
    np.savez(tmp_path / "in.npz", input_0=samples("residual_int8")[:2])
    (tmp_path / "m.jlt").write_bytes(container())
    base = ["run", str(tmp_path / "m.jlt"), "--input", str(tmp_path / "in.npz"), "--trace", "constant:1mW"]
    base += ["--duration", "8s", "--period", "4s", "--out", str(tmp_path / "out"), "--policy", "fixed:w8@last"]
    board = ["--engine", f"virtual:{BOARD}", "--capacitor", "39uF"]
    assert main([*base, *board, "--survive", "in-nvm", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["summary"]["served"] == 2
    assert result["summary"]["brownouts"] > 2  # more than one an inference
    assert result["ledger_closes"]
    # a copy at the warning, then sleep until there is more: it does not die at all
    assert main([*base, *board, "--survive", "jit-copy", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["summary"]["served"] == 2
    assert result["summary"]["brownouts"] == 0
    assert main([*base, *board, "--survive", "auto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["served"] == 2
    for words, expected in (
        (["--survive", "in-nvm"], "--engine virtual:BOARD"),
        ([*board[:2], "--survive", "in-nvm", "--battery", "1J"], "--capacitor"),
    ):
        assert main([*base, *words]) == 2
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("survival", [Survival(), Survival(strategy="IN_NVM", commit_cycles=20_000)])
def test_no_input_can_take_more_than_the_cap(job: Job, share: float, survival: Survival) -> None:
    """What passes every exit, as an attacker's inputs would, costs no more than the cap, on the board and here."""
    load = load_board(BOARD).load
    step = job.costs.steps[job.costs.path_names.index("w8")][0][-1]
    assert step is not None
    cap_j = share * step.cycles * load.energy_pj_per_cycle * 1e-12
    settings = SessionSettings(period_s=0.5, duration_s=5.0, cap_j=cap_j)
    record = run_on_board(
        job,
        load_board(BOARD),
        policy=Fixed("w8@last"),
        settings=settings,
        survival=survival,
        **path(10e-3, 20e-3, steady=True),
    )
    spent_j = (record.ledger.spent_pj["compute"] + record.ledger.spent_pj["abandoned"]) * 1e-12
    assert 0.5 * cap_j < spent_j / record.summary.arrived <= cap_j
    assert record.summary.served == 0
    # of so small a model, tiles cost more than what they compute
    uncapped = replace(settings, cap_j=3.0 * step.cycles * load.energy_pj_per_cycle * 1e-12)
    full = run_on_board(
        job, load_board(BOARD), policy=Fixed("w8@last"), settings=uncapped, **path(10e-3, 20e-3, steady=True)
    )
    assert full.summary.served == full.summary.arrived
    answers = Answers(joulet.HostEngine(container()), job.inputs, job.labels, job.costs.prefixes)
    host = run_session(
        answers, job.costs, load, policy=Fixed("w8@last"), settings=settings, **path(10e-3, 20e-3, steady=True)
    )
    assert host.summary.served == 0
    assert host.ledger.spent_pj["compute"] == 0


def test_a_capped_inference_keeps_its_last_answer(job: Job) -> None:
    load = load_board(BOARD).load
    first, last = (job.costs.steps[job.costs.path_names.index("w8")][0][exit] for exit in (0, -1))
    assert first is not None
    assert last is not None
    cap_j = (first.cycles + 0.5 * (last.cycles - first.cycles)) * load.energy_pj_per_cycle * 1e-12
    settings = SessionSettings(period_s=0.5, duration_s=5.0, cap_j=cap_j)
    answers = Answers(joulet.HostEngine(container()), job.inputs, job.labels, job.costs.prefixes)
    record = run_session(answers, job.costs, load, policy=_Deep(), settings=settings, **path(10e-3, 20e-3, steady=True))
    assert record.summary.served == record.summary.arrived
    assert {event.exit for event in record.events} <= {0, 1}
    assert all(event.energy_j <= cap_j * 1.3 for event in record.events)


class _Deep:
    """Goes on from every exit, whatever it says."""

    name = "deep"

    def reset(self, context: object) -> None:
        """Nothing to prepare."""

    def decide(self, observation: Observation) -> Decision:
        if observation.exit is None:
            return Decision(action=Action.START, path=0, exit=0)
        return Decision(action=Action.CONTINUE)


def test_memory_falls_behind_only_where_the_store_can_pay_for_catching_up() -> None:
    load = load_board(BOARD).load
    decoded = Container.from_bytes(container())
    for capacitor_f, relaxes in ((10e-3, True), (1e-3, True), (20e-6, False)):
        storage = Capacitor(capacitor_f, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=1e6)
        survival = survival_for(decoded, load_board(BOARD), storage, "in-nvm")
        assert survival.strategy == "IN_NVM"
        assert (survival.warn_mv > 0) == relaxes
        assert survival.warn_mv < load.on_v * 1e3


@pytest.mark.parametrize("how", ["jit-copy", "restart-from-exit"])
def test_a_board_with_flash_only_outlives_its_store_too(job: Job, how: str) -> None:
    board = load_board("virtual_m4_flash")
    energy = path(1e-3, 0.5e-3, steady=True)
    survival = survival_for(Container.from_bytes(job.container), board, energy["storage"], how)
    settings = SessionSettings(period_s=8.0, duration_s=24.0)
    record = run_on_board(job, board, policy=Fixed("w8@last"), settings=settings, survival=survival, **energy)
    assert record.summary.served == record.summary.arrived == 3
    assert int(record.settings["flash_programs"] or 0) > 3 * 19  # a record is 19 granules with its head and its sum
    assert record.ledger.closes
    answers = Answers(joulet.HostEngine(container()), job.inputs, job.labels, job.costs.prefixes)
    for event in record.events:
        assert event.path is not None
        assert event.exit is not None
        assert (event.confidence_q15, event.predicted) == answers.at(event.sample, event.path, event.exit)


def test_a_capped_inference_without_an_answer_is_written_down_as_dropped(job: Job) -> None:
    load = load_board(BOARD).load
    step = job.costs.steps[job.costs.path_names.index("w8")][0][-1]
    assert step is not None
    cap_j = 0.5 * step.cycles * load.energy_pj_per_cycle * 1e-12
    settings = SessionSettings(period_s=0.5, duration_s=2.0, cap_j=cap_j)
    energy = path(10e-3, 20e-3, steady=True)
    record = run_on_board(job, load_board(BOARD), policy=Fixed("w8@last"), settings=settings, **energy)
    assert [event.status for event in record.events] == [Status.DROPPED] * 4
    assert all(event.start_s is not None for event in record.events)


def test_the_containers_plan_is_used_where_the_session_names_no_strategy(job: Job) -> None:
    """One that dies without it gets there; the session's own word counts more."""
    decoded, board = Container.from_bytes(job.container), load_board(BOARD)
    plan = plan_nvm(decoded, board, capacitor_f=1e-3, strategy="in-nvm").plan
    assert plan is not None
    planned = replace(job, container=with_nvm_plan(job.container, replace(plan, commit_cycles=20_000)))
    settings = SessionSettings(period_s=5.0, duration_s=5.0)
    served = {}
    for name, which, strategy in (
        ("planned", planned, "PLANNED"),
        ("overridden", planned, "NONE"),
        ("nothing planned", job, "PLANNED"),
    ):
        energy = path(39e-6, 1e-3, steady=True)
        survival = Survival(strategy=strategy)
        record = run_on_board(which, board, policy=Fixed("w8@last"), settings=settings, survival=survival, **energy)
        served[name] = record.summary.served
    assert served == {"planned": 1, "overridden": 0, "nothing planned": 0}
