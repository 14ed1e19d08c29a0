# SPDX-License-Identifier: Apache-2.0
"""The control loop over a banded converter, series resistance and a battery: starts are safe and the ledger closes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from session_fakes import LOAD, PREFIXES, FakeEngine, cost_table

from joulet.energy.banded import BandedConverter, ConverterBand
from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter, EfficiencyTable
from joulet.energy.esr import brownout_v
from joulet.energy.seam import Converter, Storage
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.errors import UsageError
from joulet.policies import make_policy
from joulet.records import LoadFigures, RunRecord
from joulet.session import SessionSettings, run

BUCK = ConverterBand(
    from_v=0.0, input=EfficiencyTable((1.0,), (0.9,)), output=EfficiencyTable((1e-6, 1e-3), (0.5, 0.8))
)


def go(
    storage: Storage,
    *,
    policy: str = "fixed",
    converter: Converter | None = None,
    powers_w: tuple[float, ...] = (0.0, 0.0),
    scale: int = 1,
    load: LoadFigures = LOAD,
    **options: object,
) -> RunRecord:
    samples = np.arange(6, dtype=np.int8).reshape(6, 1)
    return run(
        Answers(FakeEngine(), [samples], np.ones(6, np.int64), PREFIXES),
        cost_table(scale),
        load,
        harvester=TraceHarvester(np.arange(len(powers_w)) * 10.0, np.array(powers_w)),
        converter=converter or ConstantConverter(1.0),
        storage=storage,
        policy=make_policy(policy),
        settings=SessionSettings(**{"period_s": 1.0, **options}),  # type: ignore[arg-type]
    )


def test_a_guarded_start_is_finished_in_the_dark_despite_series_resistance() -> None:
    # a full-depth inference takes 0.84 mJ at 1 mW; 1 kohm makes a running board brown out at 2.245 V
    limit_v = brownout_v(LOAD.off_v, 1e-3, 1000.0)
    assert limit_v == pytest.approx(2.2454, abs=1e-4)
    need_j = 0.84e-3 * (1.0 + 1e-3 * 1000.0 / limit_v**2)
    for extra, served in ((1.001, 1), (0.98, 0)):
        volts = math.sqrt(limit_v**2 + 2.0 * need_j * extra / 1e-3)
        store = Capacitor(1e-3, max_v=3.6, initial_v=volts, esr_ohm=1000.0)
        summary = go(store, scale=7).summary
        assert (summary.served, summary.brownouts) == (served, 0)
    # without the guard it starts all the same, and is cut
    store = Capacitor(1e-3, max_v=3.6, initial_v=math.sqrt(limit_v**2 + 1.0), esr_ohm=1000.0)
    reckless = go(store, scale=7, guard=False).summary
    assert (reckless.served, reckless.cut, reckless.brownouts) == (0, 1, 1)


def test_nothing_is_asked_below_the_voltage_at_which_asking_browns_out() -> None:
    load = replace(LOAD, decision_cycles=1000)
    # woken at 2.4 V, drained by sleep alone to below 2.245 V: a question would be the end
    store = Capacitor(1e-3, max_v=3.6, initial_v=2.4, esr_ohm=1000.0)
    record = go(store, load=replace(load, sleep_w=1e-4), duration_s=15.0)
    assert record.summary.brownouts == 1
    assert record.summary.cut == 0
    assert store.voltage_v == pytest.approx(brownout_v(1.8, 1e-4, 1000.0))
    assert record.ledger.spent_pj["policy"] == pytest.approx(record.summary.decisions * 1e6)


def test_a_threshold_that_cannot_bear_the_running_board_is_refused() -> None:
    with pytest.raises(UsageError, match=r"2\.4 V the store cannot bear the running board.*series resistance"):
        go(Capacitor(1e-3, max_v=3.6, initial_v=3.0, esr_ohm=2000.0))
    with pytest.raises(UsageError, match="cannot bear"):
        go(Battery(1.0, empty_v=3.0, full_v=3.6))


def test_the_guard_reckons_with_the_output_stage() -> None:
    converter = BandedConverter([BUCK])
    need_j = 0.84e-3 / 0.8
    for extra, served in ((1.001, 1), (0.99, 0)):
        volts = math.sqrt(1.8**2 + 2.0 * need_j * extra / 5e-4)
        record = go(Capacitor(5e-4, max_v=3.6, initial_v=volts), converter=converter, scale=7)
        assert (record.summary.served, record.summary.cut) == (served, 0)
        assert record.paths[0].energy_j[-1] == pytest.approx(0.84e-3)
        if served:
            assert record.ledger.spent_pj["compute"] == pytest.approx(0.84e9)
            assert record.ledger.spent_pj["conversion"] >= 0.21e9 * (1.0 - 1e-9)


def test_a_battery_and_a_real_converter_serve_a_day() -> None:
    store = Battery(1.0, empty_v=2.0, full_v=3.6, initial_v=2.5, charge_efficiency=0.9, max_charge_w=2e-3)
    record = go(store, policy="linear", converter=bq25570(), powers_w=(1e-3, 5e-3, 0.0, 2e-5), duration_s=40.0)
    assert record.summary.on_time == 40
    assert record.ledger.closes
    assert record.ledger.residual_fraction < 1e-9
    assert record.ledger.spent_pj["clipped"] > 0
    assert "BQ25570" in record.provenance["converter"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    powers_w=st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 5e-3)), min_size=2, max_size=8),
    policy=st.sampled_from(["fixed", "linear", "threshold", "fixed:smallest"]),
    esr_ohm=st.sampled_from([0.0, 10.0, 1000.0]),
    battery=st.booleans(),
    charge=st.floats(0.0, 1.0),
    scale=st.sampled_from([1, 7, 30]),
    guard=st.booleans(),
    decision_cycles=st.sampled_from([0, 2000]),
    plain=st.booleans(),
)
def test_the_ledger_closes_over_any_energy_path(
    powers_w: list[float],
    policy: str,
    esr_ohm: float,
    battery: bool,
    charge: float,
    scale: int,
    guard: bool,
    decision_cycles: int,
    plain: bool,
) -> None:
    store: Storage = Capacitor(1e-3, max_v=3.6, initial_v=3.6 * charge, leakage_ohm=1e6, esr_ohm=esr_ohm)
    if battery:
        store = Battery(
            0.01, empty_v=1.8, full_v=3.6, initial_v=1.8 + 1.8 * charge, charge_efficiency=0.8, esr_ohm=esr_ohm
        )
    record = go(
        store,
        policy=policy,
        converter=bq25570(buck=None) if plain else bq25570(),
        powers_w=tuple(powers_w),
        scale=scale,
        load=replace(LOAD, decision_cycles=decision_cycles, sensing_j=1e-6, on_v=2.8),
        guard=guard,
    )
    ledger, s = record.ledger, record.summary
    # rounding of each account to whole picojoules, and of the store's voltage
    assert ledger.residual_fraction <= 1e-9 or abs(ledger.residual_pj) <= 12
    assert min(ledger.spent_pj.values()) >= -1
    assert s.arrived == s.served + s.missed + s.dropped + s.expired + s.lost + s.pending
