# SPDX-License-Identifier: Apache-2.0
"""The scalar that corrects the cost table: its filter, its twin in C, and what it is worth to a policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_experience import fake_context
from session_fakes import LOAD, PREFIXES, FakeEngine, cost_table

from joulet._core import ffi, lib
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.policies import check_policy, make_policy
from joulet.policies.joule_scale import ONE_Q16, Calibrated, JouleScale, JouleScaleQ16
from joulet.policies.threshold import Threshold
from joulet.records import Action, Decision, Observation, RunRecord
from joulet.session import SessionSettings, run


def test_filter_by_hand() -> None:
    scale = JouleScale(variance=0.03, noise=0.01, drift=0.001)
    scale.update(1.4)
    assert scale.scale == pytest.approx(1.0 + 0.75 * 0.4)
    assert scale.variance == pytest.approx(0.25 * 0.03 + 0.001)
    scale.skip()
    assert scale.variance == pytest.approx(0.0095)


@pytest.mark.parametrize("true", [0.7, 1.0, 1.5])
def test_filter_finds_the_true_scale_and_then_asks_less(true: float) -> None:
    rng = np.random.default_rng(0)
    scale, readings = JouleScale(), []
    for _ in range(2000):
        readings.append(scale.wants_reading)
        if readings[-1]:
            scale.update(true * (1.0 + 0.02 * rng.standard_normal()))
        else:
            scale.skip()
    assert scale.scale == pytest.approx(true, rel=0.025)
    assert sum(readings[:5]) >= 2
    assert 10 <= sum(readings) <= 100


def test_filter_follows_a_board_that_changes() -> None:
    scale = JouleScale(drift=1e-4)
    for n in range(400):
        scale.update(1.0 if n < 200 else 1.3)
    assert scale.scale == pytest.approx(1.3, abs=0.01)
    scale.update(1e9)
    assert scale.scale <= 16.0


def c_scale(twin: JouleScaleQ16) -> tuple[object, object]:
    state = ffi.new("jlt_joule_scale_t *", [twin.scale_q16, twin.variance_q32])
    config = ffi.new("jlt_joule_scale_config_t *", [twin.noise_q32, twin.drift_q32, twin.read_above_q32])
    return state, config


@pytest.mark.parametrize("seed", range(40))
def test_c_agrees_in_every_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limit = 1 << 32
    figures = [int(rng.integers(0, 1 << int(rng.integers(1, 33)))) for _ in range(4)]
    twin = JouleScaleQ16(int(rng.integers(ONE_Q16 >> 4, (ONE_Q16 << 4) + 1)), *figures)
    state, config = c_scale(twin)
    for _ in range(300):
        if rng.random() < 0.6:
            ratio = int(rng.choice([0, limit - 1, int(rng.integers(limit)), int(rng.integers(3 * ONE_Q16))]))
            twin.update(ratio)
            lib.jlt_joule_scale_update(state, config, ratio)
        else:
            twin.skip()
            lib.jlt_joule_scale_drift(state, config)
        energy = int(rng.integers(limit))
        assert (state.scale_q16, state.variance_q32) == (twin.scale_q16, twin.variance_q32)  # type: ignore[attr-defined]
        assert lib.jlt_joule_scale_wants_reading(state, config) == twin.wants_reading
        assert lib.jlt_joule_scale_apply_nj(state, energy) == twin.apply_nj(energy)


def test_c_survives_a_filter_without_any_variance() -> None:
    twin = JouleScaleQ16(ONE_Q16, 0, 0, 0, 0)
    state, config = c_scale(twin)
    twin.update(2 * ONE_Q16)
    lib.jlt_joule_scale_update(state, config, 2 * ONE_Q16)
    assert (twin.scale_q16, twin.variance_q32) == (ONE_Q16, 0)
    assert (state.scale_q16, state.variance_q32) == (ONE_Q16, 0)  # type: ignore[attr-defined]


def test_integers_do_as_well_as_floats() -> None:
    rng = np.random.default_rng(4)
    exact, whole = JouleScale(), JouleScaleQ16()
    for _ in range(500):
        ratio = float(rng.uniform(0.9, 1.6))
        exact.update(ratio)
        whole.update(round(ratio * ONE_Q16))
        assert whole.scale_q16 / ONE_Q16 == pytest.approx(exact.scale, abs=1e-3)


# the wrapper


class Recorder(Threshold):
    """A threshold that keeps what it was shown."""

    def reset(self, context: object) -> None:
        super().reset(fake_context())
        self.seen: list[Observation] = []

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return super().decide(observation)


def look(usable_j: float, **changes: object) -> Observation:
    seen = Observation(
        time_s=0.0, slot=0, store_voltage_v=1.81, usable_energy_j=usable_j, full_energy_j=4e-3, harvest_power_w=1e-3,
        backlog=1, deadline_left_s=1.0, delivered_j=0.0,
    )  # fmt: skip
    return replace(seen, **changes)  # type: ignore[arg-type]


def test_it_shows_table_joules_and_asks_in_true_ones() -> None:
    inner = Recorder()
    policy = Calibrated(inner, JouleScale(scale=2.0, variance=0.0))
    policy.reset(fake_context())
    decision = policy.decide(look(20e-6, delivered_j=6.0))
    shown = inner.seen[-1]
    assert (shown.usable_energy_j, shown.full_energy_j, shown.harvest_power_w) == (10e-6, 2e-3, 0.5e-3)
    assert shown.delivered_j == 3.0
    # the cheapest point takes 20 µJ by the table, 22 with the margin, 44 in truth
    assert decision.action is Action.DEFER
    assert decision.wake_j == pytest.approx(44e-6)
    assert not decision.read


def test_it_reads_only_after_something_ran_and_only_while_unsure() -> None:
    policy = Calibrated(Recorder())
    policy.reset(fake_context())
    first = policy.decide(look(1e-3))
    assert (first.action, first.read) == (Action.START, False)
    assert policy.decide(look(1e-3)).read
    after = policy.decide(look(1e-3, energy_ratio=1.3))
    assert policy.estimate.scale == pytest.approx(1.3, abs=0.005)
    assert after.read  # one reading is not sure enough
    assert not policy.decide(look(1e-3, energy_ratio=1.3)).read
    policy.reset(fake_context())
    assert policy.estimate == JouleScale()


def test_it_keeps_the_contract_and_passes_learning_on() -> None:
    for spec in ("calibrated+threshold:0.2", "calibrated+linear", "calibrated+mpc"):
        policy = make_policy(spec)
        assert policy.name == spec
        assert check_policy(policy, fake_context()) > 100


def scarce(spec: str, cost_scale: float) -> tuple[RunRecord, object]:
    """An hour at a tenth of what full depth asks for, a store of seven inferences, readings at 2 µJ and 1 %."""
    policy = make_policy(spec)
    time_s = np.arange(0.0, 3600.0, 10.0)
    power_w = 12e-6 * (1.0 + np.sin(time_s / 300.0))
    record = run(
        Answers(FakeEngine(), [np.arange(6, dtype=np.int8)[:, None]], np.ones(6, np.int64), PREFIXES),
        cost_table(),
        replace(LOAD, read_j=2e-6, on_v=1.9),
        harvester=TraceHarvester(time_s, power_w),
        converter=ConstantConverter(1.0),
        storage=Capacitor(2e-4, max_v=LOAD.max_v, initial_v=2.4),
        policy=policy,
        settings=SessionSettings(period_s=1.0, cost_scale=cost_scale, read_noise=0.01, read_seed=1),
    )
    return record, policy


@pytest.mark.parametrize("spec", ["threshold", "atm:1,0.1"])
def test_it_beats_a_policy_that_believes_the_table(spec: str) -> None:
    plain, _ = scarce(spec, 1.5)
    corrected, policy = scarce(f"calibrated+{spec}", 1.5)
    assert isinstance(policy, Calibrated)
    assert policy.estimate.scale == pytest.approx(1.5, rel=0.03)
    assert plain.summary.score is not None
    assert corrected.summary.score is not None
    assert corrected.summary.score > 1.05 * plain.summary.score
    assert corrected.summary.brownouts < plain.summary.brownouts
    assert corrected.ledger.closes
    assert 0.0 < corrected.ledger.spent_pj["policy"] < 0.01 * corrected.ledger.harvested_pj


def test_where_the_table_is_right_it_costs_next_to_nothing() -> None:
    plain, _ = scarce("threshold", 1.0)
    corrected, _ = scarce("calibrated+threshold", 1.0)
    assert plain.summary.score is not None
    assert corrected.summary.score is not None
    assert corrected.summary.score >= 0.98 * plain.summary.score
