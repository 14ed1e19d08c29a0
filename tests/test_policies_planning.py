# SPDX-License-Identifier: Apache-2.0
"""What policies share: meters of the harvest, budgets, prices, the stopping problem, rehearsals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from policy_experience import experience, fake_context, fake_outcomes, sunny_days

from joulet.policies import make_policy
from joulet.policies.harvest import MeanPower, SlotPower
from joulet.policies.planning import SpendingPlan, slot_length_s, straightest
from joulet.policies.points import front, merits
from joulet.policies.price import Envelope
from joulet.policies.rehearsal import Rehearsal
from joulet.policies.seam import Stretch
from joulet.policies.stopping import plan_stopping
from joulet.records import Observation, OutcomeModel


def seen(time_s: float, delivered_j: float, **changes: object) -> Observation:
    observation = Observation(
        time_s=time_s, slot=int(time_s % 86400.0 // 1800.0), store_voltage_v=2.5, usable_energy_j=1e-3,
        full_energy_j=4.86e-3, harvest_power_w=5.0, backlog=1, deadline_left_s=1.0, delivered_j=delivered_j,
    )  # fmt: skip
    return replace(observation, **changes)  # type: ignore[arg-type]


def test_mean_power_is_a_quotient_of_differences() -> None:
    power = MeanPower(span_s=1.0, slow_s=10.0)
    assert power.update(seen(100.0, 3.0)) == 5.0  # there is only the instant yet
    assert power.update(seen(100.5, 4.0)) == 5.0  # too soon
    assert power.update(seen(102.0, 7.0)) == 2.0
    assert power.slow_w == pytest.approx(5.0 + (1.0 - math.exp(-0.2)) * (2.0 - 5.0))
    assert power.update(seen(103.0, 6.5)) == -0.5


def test_slot_power_spreads_a_night_without_decisions() -> None:
    slots = SlotPower(600.0)
    assert slots.update(seen(900.0, 0.0)) == []
    assert (slots.slot, slots.left_s) == (1, 300.0)
    # 300 s of the slot begun at 900 s, then two whole ones, then 100 s; all at 2 W
    assert slots.update(seen(900.0 + 300.0 + 1200.0 + 100.0, 3200.0)) == pytest.approx([2.0, 2.0, 2.0])
    assert (slots.slot, slots.left_s) == (4, 500.0)
    assert slots.update(seen(3000.0, 3200.0 + 500.0)) == pytest.approx([(200.0 + 500.0) / 600.0])


def test_slot_power_leaves_out_a_gap_of_more_than_half_a_day() -> None:
    slots = SlotPower(1800.0)
    slots.update(seen(0.0, 0.0))
    assert slots.jumped
    assert len(slots.update(seen(40_000.0, 1.0))) == 22
    assert not slots.jumped
    assert slots.update(seen(90_000.0, 2.0)) == []
    assert (slots.jumped, slots.slot) == (True, 2)


def test_slot_power_takes_the_time_of_day_from_the_slot() -> None:
    slots = SlotPower(1800.0)
    slots.update(seen(0.0, 0.0, slot=20))
    assert slots.slot == 20


@pytest.mark.parametrize(
    ("ahead_w", "usable_j", "full_j", "reserve_j", "expected_w"),
    [
        ([2.0] * 10, 50.0, 100.0, 50.0, 2.0),  # steady: spend what comes
        ([2.0] * 10, 100.0, 100.0, 50.0, 2.5),  # and half a store over 100 s
        ([0.0] * 5 + [30.0] * 5, 20.0, 100.0, 0.0, 0.4),  # dark for 50 s, plenty after: all that is there
        ([10.0] * 5 + [0.0] * 5, 80.0, 100.0, 0.0, 9.6),  # sun for 50 s: what would be refused
        ([10.0] * 5 + [0.0] * 5, 80.0, 1000.0, 0.0, 5.8),  # a store that holds it all: even over the horizon
        ([-1.0] * 10, 50.0, 100.0, 50.0, 0.0),  # nothing to spend
    ],
)
def test_the_straightest_line_by_hand(
    ahead_w: list[float], usable_j: float, full_j: float, reserve_j: float, expected_w: float
) -> None:
    assert straightest(ahead_w, (10.0, 10.0), usable_j, full_j, reserve_j) == pytest.approx(expected_w)


def test_the_straightest_line_is_the_best_spending() -> None:
    # against dynamic programming over whole joules: the sum of square roots of what each slot spends
    rng = np.random.default_rng(3)
    for _ in range(20):
        come_j, full_j, usable_j = rng.integers(0, 30, 4), 24, int(rng.integers(0, 25))
        levels = np.arange(full_j + 1)
        worth = np.where(levels >= 12, 0.0, -math.inf)
        firsts = np.zeros(0)
        for gain_j in come_j[::-1]:
            have = levels[:, None] + gain_j
            spend = np.arange(full_j + 31)[None, :]
            left = np.clip(have - spend, 0, full_j)
            total = np.where(spend <= have, np.sqrt(spend) + worth[left], -math.inf)
            worth, firsts = total.max(axis=1), total.argmax(axis=1)
        if worth[usable_j] == -math.inf:
            continue  # the reserve cannot be met
        rate = straightest(come_j.astype(float).tolist(), (1.0, 1.0), float(usable_j), float(full_j), 12.0)
        assert abs(rate - firsts[usable_j]) <= 1.0


def test_the_plan_saves_for_the_night_and_spends_before_the_store_is_full() -> None:
    context = fake_context(full_j=0.024, period_s=60.0)  # 200 inferences
    plan = SpendingPlan()
    plan.fit(experience(context, sunny_days(5, 4e-6)))
    assert slot_length_s(context, daily=True) == 1800.0
    budgets = {}
    for hour, share in itertools.product((10.0, 20.0), (0.3, 0.9)):
        plan.reset(context)
        plan.update(
            seen(
                hour * 3600.0,
                0.0,
                usable_energy_j=share * context.full_j,
                full_energy_j=context.full_j,
                harvest_power_w=0.0,
            )
        )
        budgets[hour, share] = plan.budget_j
    assert budgets[10.0, 0.9] > budgets[10.0, 0.3] > budgets[20.0, 0.3] > 0.0
    assert budgets[20.0, 0.9] > budgets[20.0, 0.3]
    # ten hours of dark: 0.3 of the store over 600 events
    assert budgets[20.0, 0.3] == pytest.approx(0.3 * context.full_j / 600.0, rel=0.2)


def test_envelope_is_concave_and_its_slope_continuous() -> None:
    envelope = Envelope([(2.0, 0.6), (3.0, 0.61), (4.0, 0.8), (5.0, 0.7)])
    assert envelope.vertices == ((0.0, 0.0), (2.0, 0.6), (4.0, 0.8))
    assert envelope.price(0.0) == envelope.price(1.0) == pytest.approx(0.3)
    assert envelope.price(3.0) == pytest.approx(0.1)
    assert envelope.price(2.0) == pytest.approx(0.2)
    assert envelope.price(4.0) == envelope.price(9.0) == 0.0
    prices = [envelope.price(b) for b in np.linspace(0.0, 5.0, 200)]
    assert prices == sorted(prices, reverse=True)


def test_merit_without_calibration_is_bits_times_depth() -> None:
    context = fake_context()
    assert merits(context) == context.accuracy
    blank = replace(context, accuracy=((0.0,) * 3,) * 3)
    assert merits(blank)[0] == pytest.approx((1 / 3, 2 / 3, 1.0))
    assert merits(blank)[1] == pytest.approx((1 / 6, 1 / 3, 1 / 2))
    points = front(blank)
    assert [p.merit for p in points] == sorted(p.merit for p in points)


def two_exits() -> OutcomeModel:
    """One path, two exits, two bins: unsure and sure."""
    return OutcomeModel(
        nodes=((0, 0), (0, 1)),
        node_of=((0, 1),),
        borders_q15=np.array([[16384], [16384]], np.uint16),
        confidence_q15=np.array([[8192, 30000], [8192, 30000]], np.uint16),
        accuracy=np.array([[0.5, 0.9], [0.6, 1.0]]),
        start=np.array([[0.4, 0.6], [0.26, 0.74]]),
        links=np.array([[-1, 0], [-1, 1], [0, 1]], np.int16),
        transition=np.array([[[0.4, 0.6]] * 2, [[0.26, 0.74]] * 2, [[0.5, 0.5], [0.1, 0.9]]]),
    )


def test_stopping_by_hand() -> None:
    context = replace(
        fake_context(), path_names=("w8",), exit_names=("a", "last"), switches=(((0,), (0,)),), mean_bits=(8.0,),
        step_j=(((1.0, 3.0), (math.inf, 2.0), (math.inf, math.inf)),), accuracy=((0.74, 0.9),),
        step_s=(((1.0, 3.0), (math.inf, 2.0), (math.inf, math.inf)),),
    )  # fmt: skip
    # going on earns 0.8 − 0.5 = 0.3 when unsure, 0.96 − 0.9 = 0.06 when sure, for 2 J
    plan = plan_stopping(context, two_exits(), np.array([0.0, 0.02, 0.1, 0.2]))
    assert [plan.onward[i][0] for i in range(4)] == [(0, 0), (0, 0), (0, -1), (-1, -1)]
    assert plan.energy_j.tolist() == pytest.approx([3.0, 3.0, 1.0 + 0.4 * 2.0, 1.0])
    everything = 0.4 * 0.8 + 0.6 * 0.96
    assert plan.accuracy.tolist() == pytest.approx([everything, everything, 0.4 * 0.8 + 0.6 * 0.9, 0.74])


def test_dearer_joules_never_buy_more() -> None:
    context = fake_context()
    plan = plan_stopping(context, fake_outcomes(), np.concatenate([[0.0], np.geomspace(10.0, 1e5, 40)]))
    assert (np.diff(plan.energy_j) <= 1e-15).all()
    assert (np.diff(plan.accuracy) <= 1e-12).all()
    assert plan.energy_j[-1] == pytest.approx(context.energy_j(1, 0))
    assert plan.accuracy[0] >= max(map(max, context.accuracy)) - 0.02


def test_a_rehearsal_scores_what_it_should() -> None:
    context = fake_context(full_j=1.2e-3, period_s=1.0)
    power_w = np.full(600, 150e-6)
    steady = (Stretch(start_s=0.0, step_s=1.0, power_w=power_w, event_s=np.empty(0)),)
    rehearsal = Rehearsal(experience(context, steady))
    full = rehearsal.run(make_policy("fixed"))
    outcomes = fake_outcomes()
    expected, cheap = (float(outcomes.start[node] @ outcomes.accuracy[node]) for node in (5, 1))
    assert full.arrived == 600
    # the first event meets an empty store
    assert full.score == pytest.approx(expected * 599 / 600, abs=0.02)
    assert rehearsal.run(make_policy("fixed")) == full
    starving = Rehearsal(experience(context, (replace(steady[0], power_w=power_w / 10.0),)))
    assert starving.run(make_policy("fixed")).score == pytest.approx(full.score / 8.0, rel=0.05)
    assert starving.run(make_policy("fixed:smallest")).score == pytest.approx(cheap * 0.75, rel=0.05)


def test_a_rehearsal_picks_whole_days_evenly() -> None:
    context = fake_context(period_s=600.0)
    days = sunny_days(10, 1e-6)
    assert Rehearsal(experience(context, days), most_events=432).run(make_policy("fixed")).arrived == 3 * 144
    long = Stretch(start_s=0.0, step_s=60.0, power_w=np.concatenate([d.power_w for d in days]), event_s=np.empty(0))
    assert Rehearsal(experience(context, (long,)), most_events=432).run(make_policy("fixed")).arrived == 3 * 144
