# SPDX-License-Identifier: Apache-2.0
"""The capacitor against closed forms worked by hand, and against a fine Euler integration."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulet.energy.capacitor import Capacitor
from joulet.errors import UsageError


def test_constant_power_without_leakage_adds_power_times_time() -> None:
    store = Capacitor(4.7e-3, max_v=3.6, initial_v=2.0)
    step = store.advance(1e-3, 2.0)
    assert store.energy_j == pytest.approx(0.5 * 4.7e-3 * 4.0 + 2e-3, rel=1e-12)
    assert (step.elapsed_s, step.leaked_j, step.clipped_j, step.stopped) == (2.0, 0.0, 0.0, False)


def test_self_discharge_is_exponential_in_voltage() -> None:
    store = Capacitor(1e-3, max_v=5.0, initial_v=3.0, leakage_ohm=10e3)
    step = store.advance(0.0, 7.0)
    assert store.voltage_v == pytest.approx(3.0 * math.exp(-7.0 / (10e3 * 1e-3)), rel=1e-12)
    assert step.leaked_j == pytest.approx(0.5 * 1e-3 * 9.0 - store.energy_j, rel=1e-12)


def test_power_against_leakage_settles_where_both_are_equal() -> None:
    store = Capacitor(1e-3, max_v=5.0, leakage_ohm=10e3)
    store.advance(4e-4, 1e4)
    assert store.voltage_v == pytest.approx(math.sqrt(4e-4 * 10e3), rel=1e-9)


def test_a_full_store_clips_what_leakage_does_not_take() -> None:
    store = Capacitor(1e-3, max_v=2.0, initial_v=2.0, leakage_ohm=4e3)
    step = store.advance(3e-3, 10.0)
    assert step.leaked_j == pytest.approx(2.0**2 / 4e3 * 10.0, rel=1e-9)
    assert step.clipped_j == pytest.approx(3e-3 * 10.0 - step.leaked_j, rel=1e-9)
    assert store.voltage_v == pytest.approx(2.0, rel=1e-12)


def test_a_store_full_but_for_rounding_stays_full_without_power() -> None:
    for microfarads in range(1, 400):
        for leakage_ohm in (math.inf, 1e4):
            store = Capacitor(microfarads * 1e-6, max_v=3.6, initial_v=3.5, leakage_ohm=leakage_ohm)
            store.advance(1.0, 100.0)  # filled: its energy, from the voltage, may lie a rounding above full
            held_w = 0.0 if math.isinf(leakage_ohm) else 3.6**2 / leakage_ohm
            step = store.advance(held_w, 10.0)
            assert 0.0 <= step.elapsed_s <= 10.0
            assert store.energy_j == pytest.approx(store.full_energy_j, rel=1e-12)


def test_stops_at_the_time_of_brown_out() -> None:
    store = Capacitor(1e-3, max_v=3.0, initial_v=3.0)
    step = store.advance(-1e-3, 100.0, stop_below_v=2.0)
    assert step.stopped
    assert step.elapsed_s == pytest.approx(0.5 * 1e-3 * (9.0 - 4.0) / 1e-3, rel=1e-12)
    assert store.voltage_v == pytest.approx(2.0, rel=1e-12)


def test_an_empty_store_reports_what_it_could_not_give() -> None:
    store = Capacitor(1e-3, max_v=3.0, initial_v=1.0)
    step = store.advance(-1e-3, 2.0)
    assert step.unmet_j == pytest.approx(2e-3 - 0.5e-3, rel=1e-12)
    assert store.voltage_v == 0.0


@given(
    power_w=st.floats(-2e-3, 5e-3),
    initial_v=st.floats(0.0, 3.5),
    leakage_ohm=st.sampled_from([math.inf, 1e3, 1e5, 1e7]),
    duration_s=st.floats(1e-6, 50.0),
    stop_below_v=st.sampled_from([None, 1.8]),
    stop_above_v=st.sampled_from([None, 2.4]),
)
def test_energy_is_conserved_whatever_happens(
    power_w: float,
    initial_v: float,
    leakage_ohm: float,
    duration_s: float,
    stop_below_v: float | None,
    stop_above_v: float | None,
) -> None:
    store = Capacitor(1e-3, max_v=3.6, initial_v=initial_v, leakage_ohm=leakage_ohm)
    before_j = store.energy_j
    step = store.advance(power_w, duration_s, stop_below_v=stop_below_v, stop_above_v=stop_above_v)
    balance_j = power_w * step.elapsed_s + step.unmet_j - step.leaked_j - step.clipped_j
    assert store.energy_j - before_j == pytest.approx(balance_j, rel=1e-9, abs=1e-15)
    assert 0.0 <= store.voltage_v <= 3.6 * (1 + 1e-12)
    assert min(step.leaked_j, step.clipped_j, step.unmet_j) >= 0.0


def test_agrees_with_a_fine_euler_integration() -> None:
    store = Capacitor(2e-3, max_v=3.6, initial_v=2.5, leakage_ohm=5e3)
    store.advance(-5e-4, 3.0)
    energy_j, dt_s = 0.5 * 2e-3 * 2.5**2, 3.0 / 20000
    for _ in range(20000):
        energy_j += (-5e-4 - 2.0 * energy_j / (5e3 * 2e-3)) * dt_s
    assert store.energy_j == pytest.approx(energy_j, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"capacitance_f": 0.0, "max_v": 3.0}, "capacitance"),
        ({"capacitance_f": 1e-3, "max_v": 3.0, "initial_v": 4.0}, "initial voltage"),
        ({"capacitance_f": 1e-3, "max_v": 3.0, "leakage_ohm": -1.0}, "leakage"),
        ({"capacitance_f": float("nan"), "max_v": 3.0}, "capacitance"),
    ],
)
def test_refuses_impossible_figures(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Capacitor(**arguments)  # type: ignore[arg-type]
