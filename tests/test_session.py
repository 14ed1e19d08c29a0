# SPDX-License-Identifier: Apache-2.0
"""The control loop on a board whose figures are worked out by hand; the ledger under anything hypothesis finds."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.errors import DataError, PolicyError, UsageError
from joulet.policies import Policy, PolicyContext, make_policy
from joulet.records import Action, Decision, LoadFigures, Observation, RunRecord, Status
from joulet.session import SessionSettings, run

sys.path.append(str(Path(__file__).parent))
from session_fakes import LOAD, PREFIXES, FakeEngine, cost_table


def answers(n: int = 6, labels: bool = True) -> Answers:
    samples = np.arange(n, dtype=np.int8).reshape(n, 1)
    return Answers(FakeEngine(), [samples], np.ones(n, np.int64) if labels else None, PREFIXES)


def steady(power_w: float, duration_s: float = 100.0) -> TraceHarvester:
    return TraceHarvester(np.array([0.0, duration_s / 2]), np.array([power_w, power_w]))


def go(
    policy: str | Policy = "fixed",
    *,
    power_w: float = 1e-3,
    duration_s: float = 100.0,
    capacitance_f: float = 1e-3,
    initial_v: float = 2.4,
    leakage_ohm: float = math.inf,
    scale: int = 1,
    harvester: TraceHarvester | None = None,
    **options: object,
) -> RunRecord:
    return run(
        answers(),
        cost_table(scale),
        LOAD,
        harvester=harvester or steady(power_w, duration_s),
        converter=ConstantConverter(1.0),
        storage=Capacitor(capacitance_f, max_v=LOAD.max_v, initial_v=initial_v, leakage_ohm=leakage_ohm),
        policy=make_policy(policy) if isinstance(policy, str) else policy,
        settings=SessionSettings(**{"period_s": 1.0, **options}),  # type: ignore[arg-type]
    )


def test_plenty_of_power_serves_everything_at_full_depth() -> None:
    record = go("fixed", power_w=5e-3)
    summary = record.summary
    assert (summary.arrived, summary.on_time, summary.correct_on_time, summary.brownouts) == (100, 100, 100, 0)
    assert summary.mean_bits == 8.0
    assert summary.exits_taken == (0, 0, 100)
    # 120 kilocycles at 1 MHz and 1 nJ
    assert summary.latency_p50_s == pytest.approx(0.12, rel=1e-9)
    assert summary.mean_energy_j == pytest.approx(120e-6, rel=1e-9)
    assert record.ledger.spent_pj["compute"] == pytest.approx(100 * 120e6, rel=1e-9)
    assert record.ledger.closes


def test_smallest_is_cheap_and_right_for_a_third() -> None:
    summary = go("fixed:smallest", power_w=5e-3).summary
    assert summary.mean_energy_j == pytest.approx(20e-6, rel=1e-9)
    assert (summary.mean_bits, summary.mean_exit) == (4.0, 0.0)
    assert summary.correct_on_time == 34  # samples 0, 3 of 0..5: indices 0, 3, 6, … of 100


def test_without_power_everything_is_missed() -> None:
    record = go("fixed", power_w=0.0, initial_v=1.0)
    assert record.summary.missed == 100
    assert record.summary.off_fraction == pytest.approx(1.0)
    assert record.summary.score == 0.0
    assert record.ledger.stored_delta_pj == 0


def test_starts_at_the_power_good_threshold() -> None:
    record = go("fixed:smallest", power_w=1e-4, initial_v=1.8)
    # 1 mF from 1.8 V to 2.4 V takes 1.26 mJ, 12.6 s at 0.1 mW
    assert record.summary.off_s == pytest.approx(12.6, rel=1e-9)
    assert record.summary.missed == 13
    assert [step.event for step in record.timeline if step.event == "power_good"] == ["power_good"]


def test_a_brown_out_keeps_the_last_committed_answer() -> None:
    class Deep:
        name = "deep"

        def reset(self, context: PolicyContext) -> None:
            pass

        def decide(self, observation: Observation) -> Decision:
            return (
                Decision(action=Action.START, path=0) if observation.exit is None else Decision(action=Action.CONTINUE)
            )

    # usable at 2.4 V: 1.26 mJ; exits cost 0.8, 1.6, 2.4 mJ: the second step cannot be paid
    record = go(Deep(), power_w=0.0, scale=20, duration_s=10.0)
    first = record.events[0]
    assert (first.status, first.exit, first.cut) == (Status.ON_TIME, 0, True)
    assert record.summary.brownouts == 1
    spent = record.ledger.spent_pj
    assert spent["compute"] == pytest.approx(0.8e9, rel=1e-6)
    assert spent["abandoned"] == pytest.approx(0.46e9, rel=1e-6)
    assert record.ledger.closes


def test_without_guard_a_start_may_be_lost() -> None:
    record = go("fixed", power_w=0.0, scale=20, duration_s=10.0, guard=False)
    assert record.events[0].status is Status.LOST
    assert record.ledger.spent_pj["compute"] == 0
    guarded = go("fixed", power_w=0.0, scale=20, duration_s=10.0)
    assert guarded.events[0].status in (Status.DROPPED, Status.EXPIRED)
    assert guarded.summary.brownouts == 0


def test_newest_wins_in_a_full_queue() -> None:
    # an inference takes 2.4 s, events come every second; the one that runs at the end is finished
    summary = go("fixed", power_w=5e-3, scale=20, duration_s=30.0, deadline_s=10.0).summary
    assert summary.served == 13
    assert summary.dropped == 30 - summary.served - summary.pending
    longer = go("fixed", power_w=5e-3, scale=20, duration_s=30.0, deadline_s=10.0, queue=5).summary
    assert longer.latency_p95_s is not None
    assert summary.latency_p95_s is not None
    assert longer.latency_p95_s > summary.latency_p95_s


def test_late_answers_do_not_count() -> None:
    summary = go("fixed", power_w=5e-3, deadline_s=0.05).summary
    assert (summary.late, summary.on_time, summary.correct_on_time) == (100, 0, 0)


def test_linear_goes_deeper_only_in_doubt() -> None:
    summary = go("linear", power_w=5e-3).summary
    assert summary.on_time == 100
    assert summary.correct_on_time == 100
    assert summary.mean_exit == pytest.approx(1.0, abs=0.05)


def test_adaptive_policies_beat_full_depth_when_poor() -> None:
    full, adaptive = (go(p, power_w=1e-4, scale=5).summary for p in ("fixed", "linear"))
    assert full.score is not None
    assert adaptive.score is not None
    assert adaptive.score > full.score


def test_the_engine_is_asked_once_for_the_same_decisions() -> None:
    engine = FakeEngine()
    known = Answers(engine, [np.arange(3, dtype=np.int8)[:, None]], None, PREFIXES)
    assert known.at(1, 1, 0) == known.at(1, 2, 0) == (9000, 0)  # w4 and the switched path agree up to exit 0
    assert known.at(1, 2, 1) == (32600, 1)
    assert engine.calls == [("start", 1), ("run_to_exit", 0), ("switch", 2), ("run_to_exit", 1)]


class Reader:
    """Full depth, and a reading after every inference."""

    name = "reader"

    def reset(self, context: PolicyContext) -> None:
        self.seen: list[float | None] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation.energy_ratio)
        return Decision(action=Action.START, path=0, exit=2, read=True)


def read_run(load: LoadFigures = LOAD, duration_s: float = 100.0, **options: object) -> tuple[Reader, RunRecord]:
    reader = Reader()
    record = run(
        answers(),
        cost_table(),
        load,
        harvester=steady(5e-3, duration_s),
        converter=ConstantConverter(1.0),
        storage=Capacitor(1e-3, max_v=3.6, initial_v=2.4),
        policy=reader,
        settings=SessionSettings(**options),  # type: ignore[arg-type]
        provenance={"decision_cycles": "modelled: a", "read_j": "datasheet: b"},
    )
    return reader, record


def test_running_may_cost_more_than_the_table_says() -> None:
    reader, record = read_run(cost_scale=1.5)
    assert record.ledger.spent_pj["compute"] == pytest.approx(100 * 180e6, rel=1e-9)
    assert record.ledger.closes
    # the first question reads before anything ran; the third observation is the first with a ratio
    assert reader.seen[:2] == [None, None]
    assert reader.seen[2:] == pytest.approx([1.5] * 98, rel=1e-9)
    assert record.settings["cost_scale"] == 1.5


def test_readings_are_paid_for_and_noisy_by_their_seed() -> None:
    load = dataclasses.replace(LOAD, read_j=3e-6)
    reader, record = read_run(load, read_noise=0.1, read_seed=5)
    assert record.ledger.spent_pj["policy"] == pytest.approx(100 * 3e6, rel=1e-6)
    assert record.ledger.provenance["policy"] == "modelled: a; readings: datasheet: b"
    ratios = [ratio for ratio in reader.seen if ratio is not None]
    assert np.std(ratios) == pytest.approx(0.1, rel=0.25)
    assert read_run(load, read_noise=0.1, read_seed=5)[0].seen == reader.seen
    assert read_run(load, read_noise=0.1, read_seed=6)[0].seen != reader.seen


def test_without_labels_there_is_no_score() -> None:
    record = run(
        answers(labels=False),
        cost_table(),
        LOAD,
        harvester=steady(5e-3),
        converter=ConstantConverter(1.0),
        storage=Capacitor(1e-3, max_v=3.6, initial_v=2.4),
        policy=make_policy("fixed"),
        settings=SessionSettings(),
    )
    assert record.summary.score is None
    assert record.events[0].predicted == 1


def test_sensing_decisions_and_waking_are_paid_for() -> None:
    from dataclasses import replace

    record = run(
        answers(),
        cost_table(),
        replace(LOAD, decision_cycles=1000, wake_cycles=5000, sensing_j=2e-6),
        harvester=steady(5e-3),
        converter=ConstantConverter(1.0),
        storage=Capacitor(1e-3, max_v=3.6, initial_v=2.4),
        policy=make_policy("fixed:w8@0"),
        settings=SessionSettings(),
    )
    spent = record.ledger.spent_pj
    assert spent["sensing"] == pytest.approx(100 * 2e6, rel=1e-6)
    assert spent["policy"] == pytest.approx(record.summary.decisions * 1e6, rel=1e-6)
    assert spent["compute"] == pytest.approx(100 * 45e6, rel=1e-6)
    assert "sensing" not in record.ledger.not_modelled


class Whim:
    """Any legal decision, by the numbers it is given."""

    name = "whim"

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers

    def reset(self, context: PolicyContext) -> None:
        self._context, self._next = context, 0

    def _pick(self, n: int) -> int:
        self._next += 1
        return self._numbers[self._next % len(self._numbers)] % n

    def decide(self, observation: Observation) -> Decision:
        if observation.exit is None:
            action = (Action.OFF, Action.DEFER, Action.START, Action.START)[self._pick(4)]
            wake_j = None if self._pick(2) else observation.full_energy_j * self._pick(12) / 10
            if action is Action.DEFER:
                return Decision(action=action, wake_j=wake_j)
            if action is Action.OFF:
                return Decision(action=action)
            return Decision(action=action, path=self._pick(3), exit=self._pick(3))
        if observation.exit == 2 or self._pick(3) == 0:
            return Decision(action=Action.STOP)
        assert observation.path is not None
        choices = self._context.switches[observation.path][observation.exit]
        return Decision(action=Action.CONTINUE, path=choices[self._pick(len(choices))])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    powers_w=st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 5e-3)), min_size=2, max_size=12),
    numbers=st.lists(st.integers(0, 1000), min_size=3, max_size=17),
    initial_v=st.floats(0.0, 3.6),
    leakage_ohm=st.sampled_from([math.inf, 1e4, 1e6]),
    efficiency=st.floats(0.1, 1.0),
    quiescent_w=st.sampled_from([0.0, 1e-6, 1e-4]),
    capacitance_f=st.sampled_from([1e-4, 1e-3, 1e-2]),
    scale=st.sampled_from([1, 7, 30]),
    queue=st.integers(1, 4),
    guard=st.booleans(),
)
def test_the_ledger_closes_and_every_event_has_one_end(
    powers_w: list[float],
    numbers: list[int],
    initial_v: float,
    leakage_ohm: float,
    efficiency: float,
    quiescent_w: float,
    capacitance_f: float,
    scale: int,
    queue: int,
    guard: bool,
) -> None:
    record = run(
        answers(),
        cost_table(scale),
        LOAD,
        harvester=TraceHarvester(np.arange(len(powers_w)) * 7.3, np.array(powers_w)),
        converter=ConstantConverter(efficiency, quiescent_w=quiescent_w),
        storage=Capacitor(capacitance_f, max_v=3.6, initial_v=initial_v, leakage_ohm=leakage_ohm),
        policy=Whim(numbers),
        settings=SessionSettings(period_s=0.9, queue=queue, guard=guard, sensing_j=1e-6),
    )
    ledger, s = record.ledger, record.summary
    assert ledger.residual_fraction <= 1e-3 or abs(ledger.residual_pj) <= 1000, ledger
    assert min(ledger.spent_pj.values()) >= -1
    assert ledger.harvested_pj == ledger.stored_delta_pj + sum(ledger.spent_pj.values()) + ledger.residual_pj
    assert s.arrived == s.served + s.missed + s.dropped + s.expired + s.lost + s.pending == len(record.events)
    assert all((event.end_s is not None) == (event.status in (Status.ON_TIME, Status.LATE)) for event in record.events)
    assert all(b.time_s >= a.time_s for a, b in zip(record.timeline, record.timeline[1:], strict=False))


def test_the_same_run_twice_is_the_same() -> None:
    assert go("linear", power_w=2e-4, scale=3) == go("linear", power_w=2e-4, scale=3)


def test_a_policy_that_breaks_its_contract_is_named() -> None:
    class Bad:
        name = "bad"

        def reset(self, context: PolicyContext) -> None:
            pass

        def decide(self, observation: Observation) -> Decision:
            return Decision(action=Action.STOP)

    with pytest.raises(PolicyError, match="'bad' answered stop before a start"):
        go(Bad())


@pytest.mark.parametrize(
    ("options", "word"),
    [({"queue": 0}, "queue"), ({"period_s": 0.0}, "period"), ({"deadline_s": -1.0}, "deadline"),
     ({"times_s": (2.0, 1.0)}, "fall"), ({"times_s": (200.0,)}, "no event"),
     ({"cost_scale": 0.0}, "cost scale"), ({"read_noise": -0.1}, "noise")],
)  # fmt: skip
def test_contradictory_settings_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        go(**options)  # type: ignore[arg-type]


def test_a_trace_without_end_needs_a_duration() -> None:
    loop = TraceHarvester(np.array([0.0, 1.0]), np.array([1e-3, 5e-3]), loop=True)
    with pytest.raises(UsageError, match="how long"):
        go(harvester=loop)


def test_bad_samples_are_refused() -> None:
    with pytest.raises(DataError, match="one or more"):
        Answers(FakeEngine(), [np.zeros((0, 1), np.int8)], None, PREFIXES)
    with pytest.raises(DataError, match="labels"):
        Answers(FakeEngine(), [np.zeros((3, 1), np.int8)], np.zeros(2, np.int64), PREFIXES)


@pytest.mark.wall_clock
def test_a_day_of_ten_thousand_events_takes_seconds() -> None:
    minutes = np.arange(1440.0) * 60.0
    sun_w = np.maximum(0.0, np.sin(minutes / 86400.0 * 2 * np.pi)) * 5e-4
    start = time.perf_counter()
    record = go("linear", harvester=TraceHarvester(minutes, sun_w), period_s=8.64, leakage_ohm=1e6, scale=3)
    seconds = time.perf_counter() - start
    assert record.summary.arrived == 10_000
    assert record.ledger.closes
    assert len(record.timeline) < 10_000
    assert seconds < 10.0


@pytest.mark.wall_clock
def test_one_decision_of_the_loop_takes_at_most_twenty_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from joulet import session

    ask, spent_s = session._Loop.ask, []

    def timed(*arguments: object) -> Decision | None:
        start = time.perf_counter()
        decision = ask(*arguments)  # type: ignore[arg-type]
        spent_s.append(time.perf_counter() - start)
        return decision

    monkeypatch.setattr(session._Loop, "ask", timed)
    go("linear", power_w=5e-3, duration_s=2000.0)
    # the median: a busy machine interrupts some
    assert len(spent_s) > 2000
    assert sorted(spent_s)[len(spent_s) // 2] < 20e-6
