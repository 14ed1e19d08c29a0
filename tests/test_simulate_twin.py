# SPDX-License-Identifier: Apache-2.0
"""The loop in C is the loop in Python: the same events, the same answers and the same ledger, whatever the energy path."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from session_fakes import LOAD, cost_table
from simulate_worlds import CONVERTERS, STORES, Reader, Scene, assert_twins, random_legal_scene

from joulet.energy import feed
from joulet.energy.banded import BandedConverter, ConverterBand
from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter, EfficiencyTable, TableConverter
from joulet.energy.seam import Converter
from joulet.energy.segments import outputs_w
from joulet.energy.synthetic import ConstantHarvester
from joulet.energy.trace import TraceHarvester
from joulet.errors import PolicyError, UsageError
from joulet.policies import make_policy
from joulet.policies.seam import Policy, PolicyContext
from joulet.policies.shadow import Shadow
from joulet.records import Action, Decision, Observation
from joulet.session import SessionSettings
from joulet.simulate.loop import STATUSES, Governors, Trajectory
from joulet.simulate.world import lay_out

SPECS = ("fixed", "fixed:smallest", "threshold", "linear", "reader")


def make(spec: str) -> Policy:
    return Reader() if spec == "reader" else make_policy(spec)


def check(scene: Scene, spec: str) -> Trajectory:
    c = scene.simulate(make(spec))
    assert_twins(scene.session(make(spec)), c)
    return c


@pytest.mark.parametrize("block", range(10))
def test_random_scenes_run_alike(block: int) -> None:
    found: Counter[str] = Counter()
    for number in range(50):
        seed = block * 50 + number
        c = check(random_legal_scene(seed), SPECS[seed % len(SPECS)])
        found.update(STATUSES[status] for status in c.status)
    assert found["on_time"] > 50  # the scenes are worth comparing
    assert found["missed"] > 50


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("kind", CONVERTERS)
def test_every_converter_with_every_store(kind: str, store: str) -> None:
    for number in range(4):
        check(random_legal_scene(5000 + number, kind=kind, store=store), SPECS[number])


def test_the_scenes_reach_every_kind_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: Counter[str] = Counter()
    step, rest = feed.Feed.step, feed.Feed._rest

    def counting(name: str, method: Callable[..., tuple[float, feed.Stop]]) -> Callable[..., tuple[float, feed.Stop]]:
        def counted(*args: object, **options: object) -> tuple[float, feed.Stop]:
            found = method(*args, **options)
            stops[f"{name} {found[1].name}"] += 1
            return found

        return counted

    monkeypatch.setattr(feed.Feed, "step", counting("step", step))
    monkeypatch.setattr(feed.Feed, "_rest", counting("rest", rest))
    for seed in range(60):
        random_legal_scene(seed).session(make("linear"))
        random_legal_scene(seed, kind="shelf").session(make("linear"))
    for name in ("step TIME", "step REACHED", "step BROWNOUT", "step EDGE", "step BOUND", "rest TIME"):
        assert stops[name] > 10, stops


@pytest.mark.parametrize("seed", range(6))
def test_the_price_policy_decides_alike_called_back_and_by_its_tables(seed: int) -> None:
    scene = random_legal_scene(7000 + seed, kind=CONVERTERS[seed + 1])
    scene = replace(scene, settings=replace(scene.settings, cost_scale=1.0))
    shadow = Shadow()
    shadow.reset(scene.context())
    assert shadow.table is not None
    record = scene.session(shadow)
    assert_twins(record, scene.simulate(shadow))
    assert_twins(record, scene.simulate(Governors("shadow", (shadow.table.to_bytes(),))))


STEADY = Scene(
    harvester=TraceHarvester(np.arange(20.0), np.full(20, 2e-3)),
    converter=ConstantConverter(1.0),
    store="capacitor",
    size_f=1e-3,
    esr_ohm=0.0,
    leakage_ohm=math.inf,
    start=2.0 / 3.0,
    load=LOAD,
    scale=1,
    settings=SessionSettings(duration_s=10.05),
)


def test_an_inference_goes_on_after_the_end_and_so_does_the_harvest() -> None:
    c = check(STEADY, "fixed")
    assert c.latency_s[-1] == pytest.approx(0.12)
    assert c.ledger.harvested_pj == pytest.approx(2e-3 * 10.12 * 1e12)


def test_events_that_arrive_while_samples_are_taken_wait_their_turn() -> None:
    times_s = tuple(np.sort(np.concatenate([np.arange(8.0), np.arange(8.0) + 4e-4, np.arange(8.0) + 1.5e-3])))
    for queue in (1, 2, 3):
        settings = SessionSettings(times_s=times_s, queue=queue, sensing_j=1e-5, duration_s=9.0)
        for start in (0.667, 0.6675, 0.9):
            check(replace(STEADY, settings=settings, start=start), "fixed")


@pytest.mark.parametrize(("power_w", "start", "served"), [(2e-3, 0.0, True), (1e-7, 0.0, False), (0.0, 1.0, True)])
def test_an_empty_store_one_that_never_fills_and_one_that_only_drains(
    power_w: float, start: float, served: bool
) -> None:
    harvester = ConstantHarvester(power_w)
    scene = replace(STEADY, harvester=harvester, start=start, settings=SessionSettings(duration_s=60.0))
    c = check(scene, "fixed")
    assert bool((c.exit >= 0).any()) == served
    assert (c.status[0] == STATUSES.index("missed")) == (start == 0.0)


def test_a_reading_is_drawn_over_foretold_and_its_noise_is_the_session_s() -> None:
    load = replace(LOAD, decision_cycles=200, read_j=2e-6)
    for noise in (0.0, 0.2):
        settings = SessionSettings(duration_s=30.0, cost_scale=1.3, read_noise=noise, read_seed=3, queue=2)
        scene = replace(STEADY, load=load, settings=settings)
        seen: dict[str, list[float | None]] = {"python": [], "c": []}

        class Listener(Reader):
            def __init__(self, told: list[float | None]) -> None:
                self._told = told

            def decide(self, observation: Observation) -> Decision:
                self._told.append(observation.energy_ratio)
                return super().decide(observation)

        assert_twins(scene.session(Listener(seen["python"])), scene.simulate(Listener(seen["c"])))
        assert seen["python"] == seen["c"]
        ratios = [ratio for ratio in seen["c"] if ratio is not None]
        assert len(ratios) > 20
        assert np.mean(ratios) == pytest.approx(1.3, rel=0.1 if noise else 1e-9)


def test_a_policy_that_breaks_its_contract_is_told_by_the_same_words() -> None:
    class Rogue:
        name = "rogue"

        def reset(self, context: PolicyContext) -> None:
            pass

        def decide(self, observation: Observation) -> Decision:
            return Decision(action=Action.CONTINUE)

    told = []
    for loop in (STEADY.session, STEADY.simulate):
        with pytest.raises(PolicyError) as caught:
            loop(Rogue())
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_the_c_code_takes_capacitors_and_batteries_only() -> None:
    def laid(storage: object) -> object:
        return lay_out(STEADY.harvester, STEADY.converter, storage, LOAD, duration_s=10.0)  # type: ignore[arg-type]

    laid(Battery(1.0, empty_v=1.5, full_v=3.6, initial_v=3.0))
    with pytest.raises(UsageError, match=r"Other cannot be simulated in C; take a capacitor or a battery"):
        laid(_other(Capacitor(1e-3, max_v=3.6, initial_v=3.0)))
    with pytest.raises(UsageError, match=r"full below the power-good threshold"):
        laid(Capacitor(1e-3, max_v=2.0, initial_v=2.0))
    with pytest.raises(UsageError, match=r"cannot be laid out"):
        lay_out(STEADY.harvester, STEADY.converter, Capacitor(1e-3, max_v=3.6), LOAD, duration_s=math.inf)


def _other(storage: Capacitor) -> object:
    class Other:
        def __getattr__(self, name: str) -> object:
            return getattr(storage, name)

    return Other()


@pytest.mark.parametrize(
    "converter",
    [
        ConstantConverter(0.7, quiescent_w=1e-6),
        TableConverter((1e-5, 1e-3), (0.3, 0.8)),
        bq25570(),
        BandedConverter([ConverterBand(from_v=0.0, input=EfficiencyTable((1e-5,), (0.5,)), min_input_w=2e-5)]),
    ],
    ids=("constant", "table", "bq25570", "banded"),
)
def test_many_powers_at_once_are_each_power_on_its_own(converter: Converter) -> None:
    powers_w = np.concatenate([[0.0, 1e-5, 2e-5, 1e-3], 10.0 ** np.random.default_rng(0).uniform(-7.0, 0.0, 200)])
    for volts in (0.5, 1.73, 2.4, 3.0, math.inf):
        alone = [converter.output_w(power_w, volts) for power_w in powers_w.tolist()]
        assert outputs_w(converter, powers_w, volts).tolist() == alone


@pytest.mark.wall_clock
def test_a_year_of_minutes_takes_less_than_a_second() -> None:
    minutes = 365 * 24 * 60
    sun = np.maximum(0.0, np.sin(np.arange(minutes) * 60.0 / 86400.0 * 2.0 * math.pi)) * 4e-6
    scene = replace(
        STEADY,
        harvester=TraceHarvester(np.arange(minutes) * 60.0, sun),
        leakage_ohm=1e7,
        size_f=2e-3,
        load=replace(LOAD, sleep_w=1e-7),
        settings=SessionSettings(period_s=60.0),
    )
    shadow = Shadow()
    shadow.reset(scene.context())
    assert shadow.table is not None
    governors = Governors("shadow", (shadow.table.to_bytes(),))
    began_s = time.process_time()
    c = scene.simulate(governors)
    assert time.process_time() - began_s < 1.0
    assert len(c.status) == minutes
    assert cost_table(1).exit_names[int(c.exit.max())] == "last"
