# SPDX-License-Identifier: Apache-2.0
"""Published rules do what they say in situations made by hand, and learning makes them better on other days."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from policy_experience import FULL_J, experience, fake_context, sunny_days

from joulet.policies import Policy, PolicyContext, check_policy, make_policy, qlearning
from joulet.policies.atm import Atm
from joulet.policies.bandit import LinUcb, UcbV, _Arm
from joulet.policies.eno import Eno, budget
from joulet.policies.points import front
from joulet.policies.qlearning import QLearning
from joulet.policies.rehearsal import Rehearsal
from joulet.policies.seam import Experience, Learner
from joulet.policies.zygarde import EtaFactor, Zygarde
from joulet.records import Action, Decision, Observation

RIVALS = ["atm", "eno", "eno:0.9", "zygarde", "bandit", "bandit:ucbv", "qlearning", "mpc"]
DEMAND_W = 120e-6  # full depth once a second
DEEPEST, CHEAPEST = (0, 2), (1, 0)


def see(share: float, time_s: float = 0.0, delivered_j: float = 0.0, **changes: object) -> Observation:
    observation = Observation(
        time_s=time_s, slot=int(time_s % 86400.0 // 1800.0), store_voltage_v=2.7, usable_energy_j=share * FULL_J,
        full_energy_j=FULL_J, harvest_power_w=0.0, backlog=1, deadline_left_s=1.0, delivered_j=delivered_j,
    )  # fmt: skip
    return replace(observation, **changes)  # type: ignore[arg-type]


def at(path: int, exit: int, confidence: float, share: float, **changes: object) -> Observation:
    return see(share, path=path, exit=exit, confidence_q15=int(confidence * 32768), **changes)


def ready(policy: Policy, context: PolicyContext | None = None) -> Policy:
    policy.reset(context or fake_context())
    return policy


def point(decision: Decision) -> tuple[int | None, int | None]:
    assert decision.action is Action.START, decision
    return decision.path, decision.exit


def narrowed(context: PolicyContext, n_paths: int, n_exits: int) -> PolicyContext:
    """The first paths and the first exits only."""

    def cut(steps: tuple[tuple[tuple[float, ...], ...], ...]) -> tuple[tuple[tuple[float, ...], ...], ...]:
        return tuple(tuple(row[:n_exits] for row in path[: n_exits + 1]) for path in steps[:n_paths])

    return replace(
        context,
        path_names=context.path_names[:n_paths],
        exit_names=context.exit_names[:n_exits],
        step_j=cut(context.step_j),
        step_s=cut(context.step_s),
        accuracy=tuple(row[:n_exits] for row in context.accuracy[:n_paths]),
        mean_bits=context.mean_bits[:n_paths],
        switches=tuple(
            tuple(tuple(q for q in paths if q < n_paths) for paths in row[:n_exits])
            for row in context.switches[:n_paths]
        ),
    )


def contexts() -> dict[str, PolicyContext]:
    plain = fake_context()
    return {
        "one path, one exit": narrowed(plain, 1, 1),
        "one path": narrowed(plain, 1, 3),
        "one exit": narrowed(plain, 3, 1),
        "not calibrated": replace(plain, accuracy=((0.0,) * 3,) * 3),
        "too small a store": fake_context(full_j=1e-5),
        "leaks and sleeps": replace(plain, leak_tau_s=100.0, sleep_w=1e-6, off_j=1e-3, on_j=1e-3, decision_j=1e-7),
    }


@pytest.mark.parametrize("spec", RIVALS)
@pytest.mark.parametrize("name", list(contexts()))
def test_legal_wherever_it_is_put(spec: str, name: str) -> None:
    assert check_policy(make_policy(spec), contexts()[name]) > 20


@pytest.fixture(scope="module")
def week() -> Experience:
    """A week of minutes, an event a minute, a store of 40 inferences, as much harvest as full depth asks for."""
    context = fake_context(period_s=60.0)
    return experience(context, sunny_days(7, DEMAND_W / 60.0 * math.pi / 0.6, seed=1))


@pytest.fixture(scope="module")
def other_week() -> Rehearsal:
    context = fake_context(period_s=60.0)
    return Rehearsal(experience(context, sunny_days(7, DEMAND_W / 60.0 * math.pi / 0.6, seed=2), seed=9), 3000)


@pytest.mark.parametrize("spec", RIVALS)
@pytest.mark.wall_clock
def test_fits_in_time_and_is_better_on_other_days(spec: str, week: Experience, other_week: Rehearsal) -> None:
    fitted = make_policy(spec)
    raw = other_week.run(fitted).score
    assert isinstance(fitted, Learner)
    start = time.process_time()
    fitted.fit(week)
    assert time.process_time() - start < 3.0
    check_policy(fitted, week.context)
    score = other_week.run(fitted).score
    assert score >= raw - 0.01
    assert score > max(other_week.run(make_policy(end)).score for end in ("fixed", "fixed:smallest"))


@pytest.mark.parametrize("spec", RIVALS)
def test_the_same_past_makes_the_same_policy(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlearning, "_STEPS", 1000)
    context = fake_context(period_s=600.0)
    past = experience(context, sunny_days(1, DEMAND_W / 600.0 * math.pi))
    one, two = make_policy(spec), make_policy(spec)
    rehearsal = Rehearsal(replace(past, seed=1))
    for policy in (one, two):
        assert isinstance(policy, Learner)
        policy.fit(past)
    assert rehearsal.run(one) == rehearsal.run(two) == rehearsal.run(one)


# ATM-Net


def atm_context() -> PolicyContext:
    context = fake_context()
    dearer = tuple(tuple(2.0 * energy_j for energy_j in row) for row in context.step_j[0])
    return replace(
        context,
        path_names=("w8", "w4", "f32"),
        accuracy=((0.8, 0.9, 0.95), (0.7, 0.8, 0.85), (0.8, 0.9, 0.96)),
        mean_bits=(8.0, 4.0, 32.0),
        step_j=(*context.step_j[:2], dearer),
        switches=tuple(((path,),) * 3 for path in range(3)),
    )


def atm_asks(policy: Policy, rate_w: float, share: float) -> tuple[int | None, int | None]:
    policy.reset(atm_context())
    policy.decide(see(share, 0.0, 0.0))
    return point(policy.decide(see(share, 10.0, 10.0 * rate_w)))


def test_atm_takes_precision_from_the_rate_and_depth_from_the_store() -> None:
    policy = Atm()
    # sustaining f32 takes 240 µW, w8 120 µW
    assert [atm_asks(policy, rate_w, 0.9)[0] for rate_w in (250e-6, 200e-6, 110e-6, 0.0)] == [2, 0, 1, 1]
    # E_th is half the store
    assert [atm_asks(policy, 250e-6, share)[1] for share in (0.6, 0.4, 0.2, 0.1)] == [2, 2, 1, 0]
    assert [atm_asks(Atm(1.0, 0.1), 250e-6, share)[1] for share in (0.6, 0.11, 0.09)] == [2, 2, 2]


def test_atm_steps_down_to_what_can_be_paid_and_waits() -> None:
    policy = Atm(1.0, 0.0)
    policy.reset(atm_context())
    assert point(policy.decide(see(50e-6 / FULL_J, harvest_power_w=1.0))) == (0, 0)  # neither f32, nor deeper
    assert policy.decide(see(1e-6 / FULL_J)).wake_j == pytest.approx(20e-6 * 1.02)
    assert point(ready(policy).decide(see(0.9, harvest_power_w=1.0))) == (0, 2)  # w8 and w4 only
    assert point(ready(policy).decide(see(0.9, deadline_left_s=0.07, harvest_power_w=1.0))) == (0, 0)


# Kansal


def test_eno_budget_by_hand() -> None:
    # two slots of sun at 10 W over 4 W of duty leave 12 W to two dark ones
    assert budget([10.0, 10.0, 0.0, 0.0], (1.0, 4.0), 1.0, 100.0, 0.0) == 4.0
    assert budget([0.0, 0.0, 10.0, 10.0], (1.0, 4.0), 1.0, 100.0, 0.0) == 4.0  # not more than full duty
    assert budget([0.0, 0.0, 10.0, 10.0], (1.0, 4.0), 0.5, 100.0, 0.0) == 3.0  # half is lost in the store
    assert budget([0.0, 0.0, 10.0, 10.0], (1.0, 4.0), 1.0, 2.0, 0.0) == 1.0  # the store holds no more
    assert budget([0.0, 0.0, 10.0, 10.0], (1.0, 4.0), 1.0, 2.0, 3.0) == 2.5  # what came in excess goes to the dark
    assert budget([0.0, 0.0, 6.0, 6.0], (1.0, 4.0), 1.0, 100.0, -6.0) == 0.0
    assert budget([6.0, 6.0, 0.0, 0.0], (1.0, 4.0), 1.0, 100.0, -6.0) == 3.0  # and what is short comes from the sun
    assert budget([1.0, 1.0, 1.0, 1.0], (1.0, 4.0), 1.0, 100.0, 0.0) == 1.0
    # nights that cost 3 W in all: bridged by 12 W from the sun, or in part where the store holds less
    assert budget([1.0, -1.0, -2.0, 10.0, 10.0], (1.0, 4.0), 1.0, 100.0, 0.0) == pytest.approx(10.0 / 3.0)
    assert budget([1.0, -1.0, -2.0, 10.0, 10.0], (1.0, 4.0), 1.0, 2.0, 0.0) == 1.0  # one slot of night at 1 W
    assert budget([1.0, -1.0, -2.0, 10.0, 10.0], (1.5, 4.0), 1.0, 2.0, 0.0) == 3.0  # none at 1.5 W
    assert budget([-1.0, -2.0, 10.0, 10.0, 1.0], (1.5, 4.0), 1.0, 2.0, 0.0) == 0.0


def drive(policy: Policy, power_w: float, n: int = 400) -> list[Decision]:
    """Half a store, an event a second, steady harvest; the store pays and is filled."""
    policy.reset(fake_context())
    usable_j, found = 0.5 * FULL_J, []
    for second in range(n):
        decision = policy.decide(see(usable_j / FULL_J, float(second), second * power_w, harvest_power_w=power_w))
        found.append(decision)
        if decision.action is Action.START:
            usable_j -= fake_context().energy_j(decision.path or 0, decision.exit or 0)
        usable_j = min(max(usable_j + power_w, 0.0), FULL_J)
    return found


def spent_j(decisions: list[Decision]) -> float:
    context = fake_context()
    return sum(context.energy_j(d.path or 0, d.exit or 0) for d in decisions if d.action is Action.START)


@pytest.mark.parametrize("power_w", [10e-6, 30e-6, 70e-6, 118e-6])
def test_eno_spends_what_comes(power_w: float) -> None:
    decisions = drive(Eno(), power_w)[200:]
    assert spent_j(decisions) == pytest.approx(200 * power_w, rel=0.1)


def test_eno_goes_deeper_when_rich_and_defers_when_poor() -> None:
    rich, poor = drive(Eno(), 150e-6)[-50:], drive(Eno(), 8e-6)[-50:]
    assert {point(d) for d in rich} == {DEEPEST}
    kinds = [d.action for d in poor]
    assert 15 <= kinds.count(Action.START) <= 25  # 8 µJ a second pay for one event in two and a half
    assert {point(d) for d in poor if d.action is Action.START} == {CHEAPEST}


def test_eno_may_stop_when_sure_and_keeps_the_rest() -> None:
    policy = ready(Eno(0.9))
    assert point(policy.decide(see(1.0, harvest_power_w=1e-3))) == (0, None)
    assert policy.decide(at(0, 0, 0.95, 0.9)).action is Action.STOP
    assert policy.decide(see(1.0, 1.0, 1e-3)).action is Action.START
    assert policy.decide(at(0, 0, 0.5, 0.9)).action is Action.CONTINUE
    assert policy.decide(at(0, 1, 0.5, 0.001)).action is Action.STOP


# Zygarde


def eta(bits: list[int]) -> float:
    source = EtaFactor()
    for bit in bits:
        source.observe(bool(bit))
    return source.eta


def test_eta_is_one_for_a_source_that_persists_and_zero_for_a_random_one() -> None:
    assert eta([1] * 50) == 1.0
    assert eta([0] * 50) == 1.0
    assert eta([0, 1] * 100) == 0.0  # the opposite of persistent
    for rate in (0.3, 0.5, 0.8):
        assert eta((np.random.default_rng(1).random(4000) < rate).astype(int).tolist()) < 0.12
    assert eta(([1] * 40 + [0] * 40) * 6) > 0.9
    # p⁺(1) = 1/2, all other chances as they persist: d_C = 0.5 / 16 in the mean, of d_R = 1/2
    source = EtaFactor()
    source._events[1][0], source._followed[1][0] = 1.0, 2.0
    source._events[1][1], source._followed[1][1] = 1.0, 1.0
    source._eta = None
    assert source.eta == pytest.approx(1.0 - 2.0 * 0.5 / 16.0)


def test_zygarde_must_while_unsure_and_may_while_rich() -> None:
    policy = ready(Zygarde(0.75, 0.3))
    assert point(policy.decide(see(0.5))) == (0, 0)
    assert policy.decide(at(0, 0, 0.6, 0.02)).action is Action.CONTINUE  # mandatory
    assert policy.decide(at(0, 0, 0.6, 0.001)).action is Action.STOP  # and not to be paid
    assert policy.decide(at(0, 0, 0.8, 0.5)).action is Action.CONTINUE  # optional
    assert policy.decide(at(0, 0, 0.8, 0.2)).action is Action.STOP
    assert policy.decide(at(0, 0, 0.8, 0.5, backlog=2)).action is Action.STOP  # others' mandatory parts come first
    assert policy.decide(see(1e-3)).wake_j == pytest.approx(40e-6 * 1.02)
    assert policy.decide(see(0.5, deadline_left_s=0.01)).action is Action.DEFER


def test_zygarde_does_not_trust_a_source_that_flickers() -> None:
    policy, delivered_j = ready(Zygarde(0.75, 0.3)), 0.0
    for second in range(200):
        delivered_j += 200e-6 if second % 2 else 0.0
        policy.decide(see(0.9, float(second), delivered_j))
    assert policy.decide(at(0, 0, 0.8, 0.9)).action is Action.STOP


# Bandits


def test_linucb_leaves_an_arm_that_disappoints() -> None:
    policy, answers = ready(LinUcb()), []
    for second in range(300):
        decision = policy.decide(see(0.9, float(second), second * 2e-4, harvest_power_w=2e-4))
        path, exit = point(decision)
        answers.append((path, exit))
        if exit != 2:  # the session asks at every exit but the last
            # the point w8@b is certain here, all others are poor
            policy.decide(at(path or 0, exit or 0, 0.99 if (path, exit) == (0, 1) else 0.3, 0.9))
    assert answers.count((0, 1)) > 150
    assert answers[-20:].count((0, 1)) >= 18


def test_linucb_updates_are_those_of_ridge_regression() -> None:
    policy = LinUcb()
    policy.reset(fake_context())
    prior_b = policy._b.copy()
    rows: dict[int, list[tuple[np.ndarray, float]]] = {}
    rng = np.random.default_rng(0)
    for second in range(60):
        decision = policy.decide(see(float(rng.uniform(0.2, 1.0)), float(second), second * 1e-4))
        arm, x = policy._pending, policy._used.copy()
        earned = float(rng.random())
        if decision.exit in (None, 2):
            continue
        policy.decide(at(decision.path or 0, decision.exit or 0, earned, 0.9))
        rows.setdefault(arm, []).append((x, int(earned * 32768) / 32768))
    arm = max(rows, key=lambda k: len(rows[k]))
    xs = np.array([x for x, _ in rows[arm]])
    theta = np.linalg.solve(np.eye(8) + xs.T @ xs, prior_b[arm] + xs.T @ np.array([r for _, r in rows[arm]]))
    np.testing.assert_allclose(policy._theta[arm], theta, atol=1e-9)


@pytest.mark.parametrize("make", [LinUcb, UcbV])
def test_bandits_remember_a_power_failure(make: Callable[[], LinUcb | UcbV]) -> None:
    policy = make()
    policy.reset(fake_context())
    first = policy.decide(see(0.9, 0.0))
    assert first.action is Action.START
    if first.exit == 2:
        return
    policy.decide(see(0.9, 5.0))  # nobody asked at its exit: it was cut
    if isinstance(policy, LinUcb):
        assert policy._theta.min() < 0.0
    else:
        assert min(arm.mean for arms in policy._arms for arm in arms) <= -1.0


def test_ucbv_bound_by_hand() -> None:
    arm = _Arm()
    assert arm.bound(1.0, 0.0) == math.inf
    for earned, energy_j in ((0.2, 1.0), (0.6, 2.0), (1.0, 2.0), (0.6, 3.0)):
        arm.add(earned, energy_j)
    # mean 0.6, variance 0.08, 2 J at 0.1 a joule
    assert arm.mean == pytest.approx(0.6)
    bonus = math.sqrt(2.0 * 0.08 * 0.5 / 4.0) + 3.0 * 0.5 / 4.0
    assert arm.bound(0.5, 0.1) == pytest.approx(0.6 - 0.2 + bonus)


def test_ucbv_stops_by_its_threshold() -> None:
    policy = ready(UcbV())
    assert point(policy.decide(see(0.9))) == (0, 0)
    # the first arm tried is the threshold 0: any answer will do
    assert policy.decide(at(0, 0, 0.1, 0.9)).action is Action.STOP
    policy.decide(see(0.9, 1.0))
    assert policy.decide(at(0, 0, 0.4, 0.9)).action is Action.CONTINUE  # the second asks for 0.5
    assert policy.decide(at(0, 1, 0.6, 0.9)).action is Action.STOP
    assert policy.decide(see(0.3, 2.0)).path == 1  # below half a store: w4


# Q-learning


def test_the_table_is_what_decides(week: Experience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlearning, "_STEPS", 1000)
    policy = QLearning()
    policy.fit(replace(week, stretches=week.stretches[:1]))
    policy.reset(week.context)
    actions, borders = policy.table()
    assert (actions.shape, actions.dtype) == ((12, 4, 6, 2), np.int8)
    points = front(week.context)
    assert -1 <= actions.min() <= actions.max() < len(points)
    assert (len(borders.energy_j), len(borders.harvest_w), len(borders.slot), len(borders.backlog)) == (11, 3, 5, 1)
    for e, h, t in itertools.product(range(3, 12), range(4), range(6)):
        policy.reset(week.context)
        usable_j = borders.energy_j[e - 1] * 1.001
        harvest_w = -1.0 if h == 0 else borders.harvest_w[h - 1] * 1.001
        seen = see(0.0, t * 14400.0, usable_energy_j=usable_j, harvest_power_w=harvest_w)
        decision = policy.decide(seen)
        action = int(actions[e, h, t, 0])
        if action < 0:
            assert decision == Decision(action=Action.DEFER, wake_j=borders.energy_j[e] if e < 11 else None)
        elif points[action].need_j <= usable_j:
            assert point(decision) == (points[action].path, points[action].exit)
        else:
            assert decision.action is Action.DEFER or context_j(week.context, decision) <= usable_j


def context_j(context: PolicyContext, decision: Decision) -> float:
    return context.energy_j(decision.path or 0, decision.exit or 0)


def test_qlearning_follows_its_rule_until_fitted() -> None:
    policy = ready(QLearning())
    assert point(policy.decide(see(0.95))) == DEEPEST
    assert point(policy.decide(see(0.01))) == CHEAPEST
    assert policy.decide(see(0.0)).wake_j == pytest.approx(20e-6 * 1.02)


# Rolling horizon


def test_mpc_takes_more_bits_when_rich() -> None:
    rich, poor = drive(make_policy("mpc"), 150e-6)[-20:], drive(make_policy("mpc"), 15e-6)[-20:]
    assert {d.path for d in rich} == {0}
    assert {d.path for d in poor if d.action is Action.START} == {1}


def test_mpc_goes_on_only_where_the_gain_pays(week: Experience) -> None:
    for fit in (False, True):
        policy = make_policy("mpc")
        if fit:
            assert isinstance(policy, Learner)
            policy.fit(week)
        policy.reset(week.context)
        noon_s = 43200.0
        policy.decide(see(0.95, noon_s, harvest_power_w=1e-5))  # full at noon: joules are cheap
        assert policy.decide(at(1, 0, 0.5, 0.95, time_s=noon_s)).action is Action.CONTINUE
        policy.reset(week.context)
        policy.decide(see(0.2, 20 * 3600.0))  # dusk, little left
        assert policy.decide(at(1, 0, 0.95, 0.2, time_s=20 * 3600.0)).action is Action.STOP
        assert policy.decide(at(1, 0, 0.3, 0.001, time_s=20 * 3600.0)).action is Action.STOP
