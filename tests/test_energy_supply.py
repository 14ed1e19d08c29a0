# SPDX-License-Identifier: Apache-2.0
"""Supply, band edges and series resistance against hand-worked closed forms; then the ledger under random everything."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from session_fakes import LOAD

from joulet.energy.banded import BandedConverter, ConverterBand
from joulet.energy.battery import Battery
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter, EfficiencyTable
from joulet.energy.esr import STEP, brownout_v
from joulet.energy.feed import Stop, reachable_bands
from joulet.energy.seam import Converter, Storage
from joulet.energy.supply import Supply
from joulet.energy.trace import TraceHarvester


def steady(power_w: float, duration_s: float = 1000.0) -> TraceHarvester:
    return TraceHarvester(np.array([0.0, duration_s / 2]), np.array([power_w, power_w]))


def flat(efficiency: float, from_v: float = 0.0, **figures: object) -> ConverterBand:
    return ConverterBand(from_v=from_v, input=EfficiencyTable((1.0,), (efficiency,)), **figures)  # type: ignore[arg-type]


def supply(converter: Converter, storage: Storage, power_w: float = 1e-3) -> Supply:
    return Supply(steady(power_w), converter, storage, LOAD, 1000.0)


def closed(world: Supply) -> float:
    record = world.ledger.close(world.storage.energy_j, provenance={})
    assert abs(record.residual_pj) <= max(12, 1e-9 * max(record.harvested_pj, *record.spent_pj.values()))
    return record.residual_fraction


def test_charging_changes_its_pace_at_a_band_edge() -> None:
    world = supply(BandedConverter([flat(0.5), flat(0.8, 2.0)]), Capacitor(1e-3, max_v=3.6, initial_v=1.0))
    world.advance(1000.0, 0.0, None, stop_above_v=3.0)
    # 1.5 mJ at half a milliwatt, then 2.5 mJ at 0.8 mW
    assert world.now_s == pytest.approx(3.0 + 3.125, rel=1e-12)
    assert world.ledger.balance_j("conversion") == pytest.approx(0.5e-3 * 3.0 + 0.2e-3 * 3.125, rel=1e-9)
    closed(world)


def test_charging_against_leakage_across_an_edge() -> None:
    store = Capacitor(1e-3, max_v=3.6, initial_v=1.0, leakage_ohm=20e3)
    world = supply(BandedConverter([flat(0.5), flat(0.8, 2.0)]), store)
    world.advance(1000.0, 0.0, None, stop_above_v=2.5)
    # dE/dt = P − E/τ with τ = 10 s: from E to F in τ·ln((Pτ − E)/(Pτ − F))
    below_s = 10.0 * math.log((5e-3 - 0.5e-3) / (5e-3 - 2e-3))
    above_s = 10.0 * math.log((8e-3 - 2e-3) / (8e-3 - 3.125e-3))
    assert world.now_s == pytest.approx(below_s + above_s, rel=1e-12)
    closed(world)


def test_rests_at_an_edge_where_below_gains_and_above_loses() -> None:
    # at 1 mW: 0.8 mW below 3 V, 0.2 mW above; the load takes 0.5 mW, so +0.3 mW and −0.3 mW: half the time each
    converter = BandedConverter([flat(0.8), flat(0.2, 3.0)])
    world = supply(converter, Capacitor(1e-3, max_v=3.6, initial_v=2.8))
    world.advance(10.0, 0.5e-3, "sleep")
    arrive_s = 0.5e-3 * (9.0 - 2.8**2) / 0.3e-3
    assert world.storage.voltage_v == pytest.approx(3.0, rel=1e-12)
    assert world.ledger.balance_j("sleep") == pytest.approx(5e-3, rel=1e-9)
    lost_j = 0.2e-3 * arrive_s + 0.5e-3 * (10.0 - arrive_s)
    assert world.ledger.balance_j("conversion") == pytest.approx(lost_j, rel=1e-9)
    # a lighter load leaves it upwards, a heavier one downwards
    assert world.advance(11.0, 0.1e-3, "sleep")
    assert world.storage.voltage_v == pytest.approx(math.sqrt(9.0 + 0.2e-3 * 1e-3 * 1e3 * 1e3), rel=1e-3)
    closed(world)


def test_rest_takes_leakage_and_the_output_stage_into_account() -> None:
    stage = EfficiencyTable((1.0,), (0.5,))
    converter = BandedConverter([flat(1.0), flat(0.3, 3.0, output=stage)])
    store = Capacitor(1e-3, max_v=3.6, initial_v=3.0 - 1e-9, leakage_ohm=90e3)
    world = supply(converter, store)
    world.advance(20.0, 0.4e-3, "sleep")
    # leakage 0.1 mW; below 1 − 0.4 − 0.1 = +0.5 mW, above 0.3 − 0.8 − 0.1 = −0.6 mW: above for 5/11 of the time
    above_s = 20.0 * 5 / 11
    assert store.voltage_v == pytest.approx(3.0, rel=1e-9)
    assert world.ledger.balance_j("leakage") == pytest.approx(0.1e-3 * 20.0, rel=1e-6)
    assert world.ledger.balance_j("conversion") == pytest.approx((0.7e-3 + 0.4e-3) * above_s, rel=1e-6)
    closed(world)


@pytest.mark.parametrize(("initial_v", "rises"), [(2.95, True), (3.05, False)])
def test_an_edge_that_repels_is_left_the_way_it_was_met(initial_v: float, rises: bool) -> None:
    # at 1 mW 0.9 mW pass below the edge and 0.3 mW above: with 0.5 mW drawn the store rests there
    # at 2 mW 0.4 mW pass below and 1.8 mW above: with 1 mW drawn it would fall below and rise above
    powers_w = (1e-3, 2e-3)
    below, above = EfficiencyTable(powers_w, (0.9, 0.2)), EfficiencyTable(powers_w, (0.3, 0.9))
    converter = BandedConverter([ConverterBand(from_v=0.0, input=below), ConverterBand(from_v=3.0, input=above)])
    store = Capacitor(1e-3, max_v=3.6, initial_v=initial_v)
    world = Supply(TraceHarvester(np.array([0.0, 10.0]), np.array(powers_w)), converter, store, LOAD, 20.0)
    world.advance(10.0, 0.5e-3, "sleep")
    assert store.voltage_v == pytest.approx(3.0, rel=1e-12)
    world.advance(11.0, 1e-3, "sleep")
    assert store.voltage_v == pytest.approx(math.sqrt(9.0 + (1.6 if rises else -1.2)), rel=1e-9)
    closed(world)


def test_cold_start_takes_its_time_and_too_little_never_starts() -> None:
    cold = flat(0.05, min_input_w=15e-6, quiescent_w=1e-7)
    converter = BandedConverter([cold, flat(0.8, 1.8, quiescent_w=1e-6)])
    world = supply(converter, Capacitor(1e-4, max_v=3.6), power_w=1e-4)
    world.wait_for_power(1000.0)
    cold_s = 0.5e-4 * 1.8**2 / (0.05e-4 - 1e-7)
    assert world.off_s == pytest.approx(cold_s + 0.5e-4 * (2.4**2 - 1.8**2) / (0.8e-4 - 1e-6), rel=1e-9)
    assert world.powered
    closed(world)
    dim = supply(converter, Capacitor(1e-4, max_v=3.6), power_w=1e-5)
    dim.wait_for_power(900.0)
    assert (dim.powered, dim.now_s, dim.storage.voltage_v) == (False, 900.0, 0.0)
    assert dim.ledger.balance_j("conversion") == pytest.approx(1e-5 * 900.0, rel=1e-9)


def test_the_output_stage_drains_more_and_its_loss_is_conversion() -> None:
    converter = BandedConverter([flat(1.0, output=EfficiencyTable((1.0,), (0.8,)))])
    world = supply(converter, Capacitor(1e-3, max_v=3.6, initial_v=3.0), power_w=0.0)
    assert not world.advance(100.0, 1e-3, "compute")
    assert world.now_s == pytest.approx(0.5e-3 * (9.0 - 1.8**2) / 1.25e-3, rel=1e-12)
    assert world.ledger.balance_j("compute") == pytest.approx(1e-3 * world.now_s, rel=1e-9)
    assert world.ledger.balance_j("conversion") == pytest.approx(0.25e-3 * world.now_s, rel=1e-9)
    assert world.dearness == pytest.approx(1.25)
    closed(world)


def test_only_bands_that_a_store_can_reach_count() -> None:
    converter = BandedConverter([flat(0.1), flat(0.2, 1.0), flat(0.3, 3.5), flat(0.4, 5.0)])
    edges_v, bands_v = reachable_bands(converter, Capacitor(1e-3, max_v=3.6))
    assert edges_v == (1.0, 3.5)
    assert [converter.output_w(1.0, v) for v in bands_v] == [0.1, 0.2, 0.3]
    edges_v, bands_v = reachable_bands(converter, Battery(1.0, empty_v=3.0, full_v=4.0))
    assert (edges_v, [converter.output_w(1.0, v) for v in bands_v]) == ((3.5,), [0.2, 0.3])
    edges_v, bands_v = reachable_bands(converter, Battery(1.0, empty_v=2.0, full_v=3.0))
    assert (edges_v, [converter.output_w(1.0, v) for v in bands_v]) == ((), [0.2])
    assert reachable_bands(ConstantConverter(1.0), Capacitor(1e-3, max_v=3.6))[0] == ()


def test_brown_out_under_load_is_where_the_terminal_meets_the_threshold() -> None:
    # v − (P/v)·R = 1.8 V at 10 mW and 50 ohm: v² − 1.8·v − 0.5 = 0
    assert brownout_v(1.8, 0.01, 50.0) == pytest.approx((1.8 + math.sqrt(1.8**2 + 2.0)) / 2.0, rel=1e-12)
    assert brownout_v(1.8, 0.01, 0.0) == 1.8
    store = Capacitor(1e-3, max_v=3.6, initial_v=3.0, esr_ohm=50.0)
    world = supply(ConstantConverter(1.0), store, power_w=0.0)
    assert not world.advance(10.0, 0.01, "compute")
    assert store.voltage_v == pytest.approx(brownout_v(1.8, 0.01, 50.0), rel=1e-12)
    # asleep it would have lived longer, and a start from here browns out at once
    again = Capacitor(1e-3, max_v=3.6, initial_v=2.0, esr_ohm=50.0)
    other = supply(ConstantConverter(1.0), again, power_w=0.0)
    other.powered = True
    assert other.advance(1.0, 1e-6, "sleep")
    assert not other.advance(2.0, 0.01, "compute")
    assert other.now_s == 1.0


@pytest.mark.parametrize("esr_ohm", [1.0, 20.0, 80.0])
@pytest.mark.parametrize("initial_v", [2.6, 3.5])
def test_the_heat_of_series_resistance_stays_within_its_bound(esr_ohm: float, initial_v: float) -> None:
    draw_w, c = 0.01, 1e-3
    store = Capacitor(c, max_v=3.6, initial_v=initial_v, esr_ohm=esr_ohm)
    world = supply(ConstantConverter(1.0), store, power_w=0.0)
    start_j = store.energy_j
    assert not world.advance(100.0, draw_w, "compute")
    # dE/dt = −P − K/E with K = P²·R·C/2, solved for the time from E to F
    k = draw_w**2 * esr_ohm * c / 2.0
    end_j = store.energy_j
    exact_s = (start_j - end_j) / draw_w - k / draw_w**2 * math.log((draw_w * start_j + k) / (draw_w * end_j + k))
    exact_heat_j = start_j - end_j - draw_w * exact_s
    heat_j = world.ledger.balance_j("conversion")
    worst = draw_w * esr_ohm / store.voltage_v**2
    bound_j = STEP / (1.0 - STEP) * heat_j * (start_j / end_j) ** (worst / (1.0 + worst))
    # at the same end of energy the error appears in the time, which the draw turns into energy again
    assert abs(heat_j - exact_heat_j) <= bound_j
    assert abs(world.now_s - exact_s) * draw_w <= bound_j
    assert heat_j == pytest.approx(exact_heat_j, rel=0.011)
    closed(world)


def test_usable_energy_is_what_a_running_board_may_draw() -> None:
    store = Capacitor(1e-3, max_v=3.6, initial_v=3.0, esr_ohm=100.0)
    world = supply(ConstantConverter(1.0), store, power_w=0.0)
    limit_v = brownout_v(LOAD.off_v, world.running_w, 100.0)
    assert world.usable_j == pytest.approx(0.5e-3 * (9.0 - limit_v**2), rel=1e-12)
    assert world.full_j == pytest.approx(0.5e-3 * (3.6**2 - limit_v**2), rel=1e-12)
    # what costs no more than that is finished, without any harvest
    seconds = world.usable_j / world.cost_w(world.running_w)
    assert world.advance(seconds, world.running_w, "compute")
    assert store.voltage_v >= limit_v


def test_an_empty_battery_is_a_brown_out() -> None:
    store = Battery(1e-2, empty_v=2.0, full_v=3.0, initial_v=2.5)
    world = supply(ConstantConverter(1.0), store, power_w=0.0)
    assert not world.advance(100.0, 1e-3, "compute")
    assert world.now_s == pytest.approx(5.0)
    assert world.brownouts == 1
    closed(world)


def test_a_store_that_never_fills_and_one_that_is_full() -> None:
    world = supply(ConstantConverter(1.0), Capacitor(1.0, max_v=3.6, leakage_ohm=1e3))
    world.wait_for_power(1000.0)
    assert not world.powered
    assert world.storage.voltage_v < 1.0  # 1 V at 1 kohm takes all of it
    closed(world)
    full = supply(ConstantConverter(0.5), Capacitor(1e-4, max_v=3.6, initial_v=3.6))
    full.advance(10.0, 1e-4, "sleep")
    assert full.ledger.balance_j("clipped") == pytest.approx(4e-3, rel=1e-9)
    closed(full)


@st.composite
def converters(draw: st.DrawFn) -> Converter:
    edges_v = sorted(draw(st.sets(st.sampled_from([0.5, 1.8, 1.9, 2.4, 2.41, 3.0, 3.59, 3.6, 4.0]), max_size=5)))
    efficiency = st.floats(0.02, 1.0)
    bands = [
        ConverterBand(
            from_v=from_v,
            input=EfficiencyTable((1e-5, 1e-3), (draw(efficiency), draw(efficiency))),
            quiescent_w=draw(st.sampled_from([0.0, 1e-6, 3e-4])),
            min_input_w=draw(st.sampled_from([0.0, 1e-4])),
            output=draw(st.sampled_from([None, EfficiencyTable((1e-6, 1e-2), (0.4, 0.9))])),
        )
        for from_v in (0.0, *edges_v)
    ]
    return BandedConverter(bands)


@st.composite
def stores(draw: st.DrawFn) -> Storage:
    esr_ohm = draw(st.sampled_from([0.0, 1.0, 100.0]))
    initial = draw(st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0)))
    if draw(st.booleans()):
        return Capacitor(
            draw(st.sampled_from([1e-4, 1e-2])),
            max_v=3.6,
            initial_v=3.6 * initial,
            leakage_ohm=draw(st.sampled_from([math.inf, 1e4, 1e6])),
            esr_ohm=esr_ohm,
        )
    empty_v = draw(st.sampled_from([1.0, 1.8, 2.2]))
    return Battery(
        draw(st.sampled_from([1e-3, 1.0])),
        empty_v=empty_v,
        full_v=3.6,
        initial_v=min(3.6, empty_v + initial * (3.6 - empty_v)),
        charge_efficiency=draw(st.floats(0.3, 1.0)),
        max_charge_w=draw(st.sampled_from([math.inf, 1e-3])),
        self_discharge_tau_s=draw(st.sampled_from([math.inf, 30.0])),
        esr_ohm=esr_ohm,
    )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    converter=converters(),
    storage=stores(),
    powers_w=st.lists(st.one_of(st.just(0.0), st.floats(1e-7, 1e-2)), min_size=2, max_size=10),
    moves=st.lists(
        st.tuples(
            st.floats(1e-3, 9.0),
            st.sampled_from([0.0, 1e-6, 3e-4, 1e-2]),
            st.sampled_from([None, None, 2.4, 3.0, 3.3]),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_the_ledger_closes_for_random_paths_stores_and_loads(
    converter: Converter,
    storage: Storage,
    powers_w: list[float],
    moves: list[tuple[float, float, float | None]],
) -> None:
    load = replace(LOAD, clock_hz=300_000)
    trace = TraceHarvester(np.arange(len(powers_w)) * 7.3, np.array(powers_w), loop=True)
    world = Supply(trace, converter, storage, load, 100.0)
    steps, step = [0], world._feed.step

    def counted(*arguments: object, **options: object) -> tuple[float, Stop]:
        steps[0] += 1
        assert steps[0] < 3_000, "time stands still"
        before_j = storage.energy_j
        passed_s, stop = step(*arguments, **options)  # type: ignore[arg-type]
        if passed_s == 0.0:
            assert storage.energy_j == pytest.approx(before_j, rel=1e-12)
        return passed_s, stop

    world._feed.step = counted  # type: ignore[method-assign]
    for seconds, load_w, stop_v in moves:
        before_s = world.now_s
        if world.powered:
            world.advance(before_s + seconds, load_w, "sleep", stop_above_v=stop_v)
        else:
            world.wait_for_power(before_s + seconds)
        assert before_s <= world.now_s <= (before_s + seconds) * (1.0 + 1e-12)
        assert 0.0 <= storage.energy_j <= storage.full_energy_j * (1.0 + 1e-9)
        if world.powered and load_w > 0.0:
            assert storage.voltage_v >= load.off_v * (1.0 - 1e-9)
    record = world.ledger.close(storage.energy_j, provenance={})
    through_pj = max(record.harvested_pj, sum(record.spent_pj.values()), abs(record.stored_delta_pj))
    assert abs(record.residual_pj) <= 12 + 1e-9 * through_pj + 1e-15 * 1e12 * storage.full_energy_j * steps[0], record
    assert min(record.spent_pj.values()) >= -1
