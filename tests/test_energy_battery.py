# SPDX-License-Identifier: Apache-2.0
"""The battery against closed forms worked by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulet.energy.battery import Battery
from joulet.errors import UsageError


def battery(**figures: float) -> Battery:
    return Battery(**{"capacity_j": 10.0, "empty_v": 3.0, "full_v": 4.0, **figures})


def test_voltage_is_linear_in_charge() -> None:
    store = battery(initial_v=3.25)
    assert store.energy_j == pytest.approx(2.5)
    store.advance(1.0, 5.0)
    assert store.voltage_v == pytest.approx(3.75)
    assert store.energy_at_j(3.1) == pytest.approx(1.0)
    assert store.energy_at_j(1.0) == 0.0
    assert store.voltage_at_v(10.0) == 4.0
    assert battery().energy_j == 0.0


def test_charging_loses_its_share_and_discharging_does_not() -> None:
    store = battery(charge_efficiency=0.8)
    step = store.advance(1.0, 5.0)
    assert store.energy_j == pytest.approx(4.0)
    assert (step.lost_j, step.clipped_j, step.leaked_j) == (pytest.approx(1.0), 0.0, 0.0)
    step = store.advance(-1.0, 3.0)
    assert store.energy_j == pytest.approx(1.0)
    assert step.lost_j == 0.0


def test_power_beyond_the_limit_is_clipped() -> None:
    store = battery(charge_efficiency=0.5, max_charge_w=2.0)
    step = store.advance(5.0, 3.0)
    assert store.energy_j == pytest.approx(3.0)
    assert (step.clipped_j, step.lost_j) == (pytest.approx(9.0), pytest.approx(3.0))


def test_self_discharge_is_exponential_in_energy() -> None:
    store = battery(initial_v=3.8, self_discharge_tau_s=50.0)
    step = store.advance(0.0, 20.0)
    assert store.energy_j == pytest.approx(8.0 * math.exp(-0.4), rel=1e-12)
    assert step.leaked_j == pytest.approx(8.0 - store.energy_j, rel=1e-12)


def test_a_full_battery_takes_what_self_discharge_costs_and_refuses_the_rest() -> None:
    store = battery(initial_v=4.0, self_discharge_tau_s=100.0, charge_efficiency=0.5)
    step = store.advance(1.0, 10.0)
    # 0.1 W leaks, 0.2 W is accepted for it, 0.8 W is refused
    assert (step.leaked_j, step.lost_j, step.clipped_j) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(8.0))
    assert store.energy_j == 10.0


def test_an_empty_battery_reports_what_it_could_not_give_and_has_met_every_lower_stop() -> None:
    store = battery(initial_v=3.1)
    assert store.advance(-1.0, 5.0).unmet_j == pytest.approx(4.0)
    step = store.advance(-1.0, 5.0, stop_below_v=2.0)
    assert (step.stopped, step.below, step.elapsed_s) == (True, True, 0.0)


def test_stops_at_a_voltage_on_the_way() -> None:
    store = battery(charge_efficiency=0.5)
    step = store.advance(1.0, 100.0, stop_above_v=3.5)
    assert (step.stopped, step.below, step.elapsed_s) == (True, False, pytest.approx(10.0))
    assert step.lost_j == pytest.approx(5.0)
    step = store.advance(-1.0, 100.0, stop_below_v=3.3)
    assert (step.stopped, step.below, step.elapsed_s) == (True, True, pytest.approx(2.0))


@given(
    power_w=st.floats(-5.0, 5.0),
    initial_v=st.floats(3.0, 4.0),
    efficiency=st.floats(0.1, 1.0),
    max_charge_w=st.sampled_from([math.inf, 1.0]),
    tau_s=st.sampled_from([math.inf, 5.0, 1e6]),
    duration_s=st.floats(1e-6, 50.0),
    stop_below_v=st.sampled_from([None, 2.5, 3.2]),
    stop_above_v=st.sampled_from([None, 3.7]),
)
def test_energy_is_conserved_whatever_happens(
    power_w: float,
    initial_v: float,
    efficiency: float,
    max_charge_w: float,
    tau_s: float,
    duration_s: float,
    stop_below_v: float | None,
    stop_above_v: float | None,
) -> None:
    store = battery(
        initial_v=initial_v, charge_efficiency=efficiency, max_charge_w=max_charge_w, self_discharge_tau_s=tau_s
    )
    before_j = store.energy_j
    step = store.advance(power_w, duration_s, stop_below_v=stop_below_v, stop_above_v=stop_above_v)
    balance_j = power_w * step.elapsed_s + step.unmet_j - step.leaked_j - step.clipped_j - step.lost_j
    assert store.energy_j - before_j == pytest.approx(balance_j, rel=1e-9, abs=1e-12)
    assert 0.0 <= store.energy_j <= 10.0 * (1.0 + 1e-12)
    assert min(step.leaked_j, step.clipped_j, step.unmet_j, step.lost_j) >= 0.0


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"capacity_j": 0.0}, "capacity"),
        ({"empty_v": 4.5}, "rise"),
        ({"initial_v": 2.0}, "rise"),
        ({"charge_efficiency": 1.1}, "charge efficiency"),
        ({"max_charge_w": 0.0}, "charging power"),
        ({"esr_ohm": -1.0}, "ESR"),
        ({"full_v": math.nan}, "full voltage"),
    ],
)
def test_refuses_impossible_figures(figures: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        battery(**figures)
