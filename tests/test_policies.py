# SPDX-License-Identifier: Apache-2.0
"""Policies keep their contract, and do what their name says."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from joulet.errors import PolicyError, UsageError
from joulet.policies import PolicyContext, check_policy, make_policy
from joulet.policies.seam import make_context
from joulet.records import Action, Decision, Observation

sys.path.append(str(Path(__file__).parent))
import itertools

from session_fakes import LOAD, cost_table

SPECS = ["fixed", "fixed:smallest", "fixed:w4@b", "fixed:1@0", "fixed:w8@last", "threshold", "threshold:0.2", "linear",
         "linear:0.3,0.9", "atm", "atm:2,0.3", "eno", "eno:0.9", "zygarde", "zygarde:0.6,0.1", "bandit", "bandit:linucb",
         "bandit:ucbv", "qlearning", "mpc", "mpc:0.2", "calibrated+linear"]  # fmt: skip


@pytest.fixture
def context() -> PolicyContext:
    return make_context(
        cost_table(),
        clock_hz=LOAD.clock_hz,
        energy_j_per_cycle=LOAD.energy_pj_per_cycle * 1e-12,
        wake_cycles=LOAD.wake_cycles,
        store_v=(LOAD.off_v, LOAD.on_v, LOAD.max_v),
        full_j=4.86e-3,
        period_s=1.0,
        deadline_s=1.0,
    )


def see(share: float, **changes: object) -> Observation:
    volts = (LOAD.off_v**2 + share * (LOAD.max_v**2 - LOAD.off_v**2)) ** 0.5
    seen = Observation(
        time_s=0.0, slot=0, store_voltage_v=volts, usable_energy_j=share * 4.86e-3, full_energy_j=4.86e-3,
        harvest_power_w=1e-4, backlog=1, deadline_left_s=1.0,
    )  # fmt: skip
    return replace(seen, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", SPECS)
def test_keeps_the_contract(spec: str, context: PolicyContext) -> None:
    policy = make_policy(spec)
    assert policy.name == spec
    assert check_policy(policy, context) > 100


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.wall_clock
def test_decides_within_twenty_microseconds(spec: str, context: PolicyContext) -> None:
    policy = make_policy(spec)
    policy.reset(context)
    seen = [see(0.01 * i) for i in range(100)]
    best_s = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for observation in seen:
            policy.decide(observation)
        best_s = min(best_s, (time.perf_counter() - start) / len(seen))
    assert best_s < 20e-6


def test_context_knows_costs_and_switches(context: PolicyContext) -> None:
    assert context.energy_j(0, 2) == pytest.approx(120e-6)
    assert context.step_j[0][2][1] == float("inf")
    assert context.step_s[0][1][1] == pytest.approx(0.04)
    assert context.switches[1] == ((1, 2), (1,), (1,))
    assert context.mean_bits == (8.0, 4.0, pytest.approx(20 / 3))


def test_fixed_names_operating_points(context: PolicyContext) -> None:
    for spec, path, exit in (("fixed", 0, 2), ("fixed:smallest", 1, 0), ("fixed:w4@b", 1, 1), ("fixed:w4", 1, 2)):
        policy = make_policy(spec)
        policy.reset(context)
        assert policy.decide(see(0.5)) == Decision(action=Action.START, path=path, exit=exit)
    for spec in ("fixed:w2@last", "fixed:w8@9"):
        with pytest.raises(UsageError, match="this model has"):
            make_policy(spec).reset(context)


def test_threshold_climbs_with_voltage_and_does_not_flicker(context: PolicyContext) -> None:
    policy = make_policy("threshold")
    policy.reset(context)
    climbing = [policy.decide(see(i / 50)) for i in range(1, 51)]
    energies = [context.energy_j(d.path or 0, d.exit or 0) for d in climbing]
    assert energies == sorted(energies)
    assert (energies[0], energies[-1]) == (context.energy_j(1, 0), context.energy_j(0, 2))
    changes = sum(a != b for a, b in itertools.pairwise(climbing))
    # around the voltage of the last change, small swings change nothing
    last = max(i for i in range(1, 50) if climbing[i] != climbing[i - 1]) + 1
    swinging = [policy.decide(see((last + (0.3 if i % 2 else -0.3)) / 50)) for i in range(20)]
    assert changes >= 2
    assert len(set(swinging)) == 1


def test_threshold_never_starts_what_the_store_cannot_pay(context: PolicyContext) -> None:
    policy = make_policy("threshold")
    policy.reset(context)
    rng = np.random.default_rng(0)
    started = 0
    for share, sag in rng.uniform(0.0, 1.0, (2000, 2)).tolist():
        # under load a store gives less than its voltage promises; usable energy says so
        usable_j = share * sag**4 * context.full_j
        decision = policy.decide(see(share, usable_energy_j=usable_j))
        if decision.action is Action.START:
            started += 1
            assert context.energy_j(decision.path or 0, decision.exit or 0) <= usable_j
    assert started > 500


def test_threshold_and_linear_wait_for_energy(context: PolicyContext) -> None:
    for spec in ("threshold", "linear"):
        policy = make_policy(spec)
        policy.reset(context)
        decision = policy.decide(see(0.001))
        assert decision.action is Action.DEFER
        assert decision.wake_j == pytest.approx(22e-6)


def test_linear_asks_for_more_certainty_when_rich(context: PolicyContext) -> None:
    policy = make_policy("linear")
    policy.reset(context)
    confident = {"path": 1, "exit": 0, "confidence_q15": 24576}
    assert policy.decide(see(0.1, **confident)) == Decision(action=Action.STOP)
    assert policy.decide(see(0.9, **confident)) == Decision(action=Action.CONTINUE, path=2)
    assert policy.decide(see(0.9, **{**confident, "deadline_left_s": 0.001})) == Decision(action=Action.STOP)
    assert policy.decide(see(0.9)).path == 0
    assert policy.decide(see(0.1)).path == 1


@pytest.mark.parametrize(
    "spec",
    ["", "nope", "linear:1", "linear:0.9,0.3", "linear:a,b", "threshold:2", "threshold:x", "atm:1", "atm:0,0.5",
     "atm:1,2", "eno:2", "zygarde:0.5", "bandit:thompson", "qlearning:1", "mpc:-1", "mpc:nan"],
)  # fmt: skip
def test_bad_specs_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="policy"):
        make_policy(spec)


def test_check_names_breaches(context: PolicyContext) -> None:
    class Random:
        name = "random"
        turn = 0

        def reset(self, context: PolicyContext) -> None:
            pass

        def decide(self, observation: Observation) -> Decision:
            self.turn += 1
            if observation.exit is not None:
                return Decision(action=Action.STOP)
            return Decision(action=Action.START, path=0 if self.turn < 3 else 1)

    class Wild(Random):
        def decide(self, observation: Observation) -> Decision:
            return Decision(action=Action.START, path=7)

    with pytest.raises(PolicyError, match="not deterministic"):
        check_policy(Random(), context)
    with pytest.raises(PolicyError, match="path 7"):
        check_policy(Wild(), context)
