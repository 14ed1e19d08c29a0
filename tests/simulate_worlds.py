# SPDX-License-Identifier: Apache-2.0
"""Random scenarios on the fake board, and both loops over one: runtime/session.py and csrc/sim/simulate.c."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from session_fakes import LOAD, PREFIXES, FakeEngine, cost_table

from joulet.energy.banded import BandedConverter, ConverterBand
from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter, EfficiencyTable
from joulet.energy.seam import Converter, Storage
from joulet.energy.supply import Supply
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.errors import UsageError
from joulet.policies.seam import Policy, PolicyContext
from joulet.records import Action, Decision, LedgerRecord, LoadFigures, Observation, RunRecord, SampleOutcomes
from joulet.session import SessionSettings, policy_context
from joulet.session import run as run_session
from joulet.simulate.loop import STATUSES, Events, Governors, Model, Trajectory, overrun_s, run
from joulet.simulate.world import lay_out

SAMPLES = 6
NODES = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2))
NODE_OF = ((0, 2, 5), (1, 3, 6), (1, 4, 7))
CONVERTERS = ("ideal", "lossy", "stage", "cold", "narrow", "shelf", "bq25570")
STORES = ("capacitor", "resistive", "battery", "tired battery")


def fake_outcomes() -> SampleOutcomes:
    """What :class:`FakeEngine` says of each sample at each node."""
    exits = np.array([exit for _, exit in NODES])[:, np.newaxis]
    right = exits >= np.arange(SAMPLES) % 3
    return SampleOutcomes(
        nodes=NODES,
        node_of=NODE_OF,
        confidence_q15=np.where(right, 32600, 9000).astype(np.uint16),
        correct=right,
    )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that both loops need; ``storage`` makes a new store each time."""

    harvester: TraceHarvester
    converter: Converter
    store: str
    size_f: float
    esr_ohm: float
    leakage_ohm: float
    start: float
    load: LoadFigures
    scale: int
    settings: SessionSettings

    def storage(self) -> Storage:
        low_v, span_v = self.load.off_v - 0.3, self.load.max_v - self.load.off_v + 0.3
        if self.store.endswith("battery"):
            tired = self.store.startswith("tired")
            return Battery(
                0.5 * self.size_f * (self.load.max_v**2 - low_v**2),
                empty_v=low_v,
                full_v=self.load.max_v,
                initial_v=low_v + self.start * span_v,
                charge_efficiency=0.8 if tired else 0.95,
                max_charge_w=2e-3 if tired else math.inf,
                self_discharge_tau_s=self.leakage_ohm * self.size_f / 2.0,
                esr_ohm=self.esr_ohm,
            )
        return Capacitor(
            self.size_f,
            max_v=self.load.max_v,
            initial_v=self.start * self.load.max_v,
            leakage_ohm=self.leakage_ohm,
            esr_ohm=self.esr_ohm,
        )

    @property
    def duration_s(self) -> float:
        """Of the run."""
        return self.settings.duration_s or self.harvester.duration_s

    @property
    def event_s(self) -> npt.NDArray[np.float64]:
        """Times of events."""
        if self.settings.times_s:
            times = np.array(self.settings.times_s)
            return times[times < self.duration_s]
        count = math.ceil(self.duration_s / self.settings.period_s)
        return np.array([i * self.settings.period_s for i in range(count)])

    @property
    def deadline_s(self) -> float:
        """From event to answer."""
        mean_s = self.duration_s / len(self.event_s) if self.settings.times_s else self.settings.period_s
        return self.settings.deadline_s or mean_s

    @property
    def sensing_j(self) -> float:
        """Of one sample."""
        return self.load.sensing_j if self.settings.sensing_j is None else self.settings.sensing_j

    def context(self) -> PolicyContext:
        """What a policy is told."""
        world = Supply(self.harvester, self.converter, self.storage(), self.load, self.duration_s)
        period_s = self.duration_s / len(self.event_s)
        return policy_context(world, cost_table(self.scale), period_s, self.deadline_s, self.settings.queue)

    def session(self, policy: Policy) -> RunRecord:
        """Run the loop in Python."""
        samples = np.arange(SAMPLES, dtype=np.int8).reshape(SAMPLES, 1)
        return run_session(
            Answers(FakeEngine(), [samples], np.ones(SAMPLES, np.int64), PREFIXES),
            cost_table(self.scale),
            self.load,
            harvester=self.harvester,
            converter=self.converter,
            storage=self.storage(),
            policy=policy,
            settings=self.settings,
        )

    def simulate(self, policy: Policy | Governors) -> Trajectory:
        """Run the loop in C."""
        event_s, costs, context = self.event_s, cost_table(self.scale), self.context()
        if not isinstance(policy, Governors):
            policy.reset(context)
        supply = lay_out(
            self.harvester,
            self.converter,
            self.storage(),
            self.load,
            duration_s=self.duration_s,
            sensing_j=self.sensing_j,
            cost_scale=self.settings.cost_scale,
            overrun_s=overrun_s(costs, self.load, len(event_s)),
        )
        events = Events(
            event_s=event_s,
            deadline_s=self.deadline_s,
            queue=self.settings.queue,
            guard=self.settings.guard,
            sensing_j=self.sensing_j,
            read_noise=self.settings.read_noise,
            read_seed=self.settings.read_seed,
        )
        samples = (np.arange(len(event_s)) % SAMPLES).astype(np.uint32)
        return run(supply, Model(costs, fake_outcomes()), events, policy, context, self.load, samples=samples)


def converter(name: str, rng: np.random.Generator) -> Converter:
    """Return one of :data:`CONVERTERS`."""
    if name == "bq25570":
        return bq25570()
    if name == "ideal":
        return ConstantConverter(1.0)
    if name == "lossy":
        return ConstantConverter(0.7, quiescent_w=5e-6)
    table, stage = EfficiencyTable((1e-5, 1e-2), (0.6, 0.9)), EfficiencyTable((1e-6, 1e-3, 1e-1), (0.5, 0.8, 0.9))
    if name == "stage":
        return BandedConverter([ConverterBand(from_v=0.0, input=table, output=stage)])
    if name == "shelf":  # nothing gets in above the edge: a store that fills rests there
        low = ConverterBand(from_v=0.0, input=table, output=stage)
        edge_v = float(rng.uniform(2.0, 3.4))
        high = ConverterBand(from_v=edge_v, input=table, quiescent_w=2e-6, min_input_w=1.0, output=stage)
        return BandedConverter([low, high])
    edges_v = np.sort(rng.uniform(1.2, 3.5, 1 if name == "cold" else 5))
    cold = ConverterBand(from_v=0.0, input=EfficiencyTable((1.0,), (0.1,)), quiescent_w=1e-6, min_input_w=2e-5)
    bands = [cold]
    for number, edge_v in enumerate(edges_v.tolist()):
        efficiency = float(rng.uniform(0.2, 1.0))
        bands.append(
            ConverterBand(
                from_v=edge_v,
                input=EfficiencyTable((1e-5, 1e-3), (efficiency * 0.7, efficiency)),
                quiescent_w=float(rng.choice([0.0, 1e-6, 4e-6])),
                min_input_w=float(rng.choice([0.0, 3e-5])),
                output=stage if number % 2 == 0 and name == "narrow" else None,
            )
        )
    return BandedConverter(bands)


def random_scene(seed: int, *, kind: str | None = None, store: str | None = None) -> Scene:
    """Return a scenario: a trace with zeros and a gap, arrivals, a store that may be empty or never fill, and a board."""
    rng = np.random.default_rng(seed)
    store = store or str(rng.choice(STORES))
    step_s, n = float(rng.choice([1.0, 0.7, 5.0])), int(rng.integers(12, 30))
    times_s = np.arange(n) * step_s
    times_s[n // 2 :] += float(rng.choice([0.0, 8.0])) * step_s  # a gap
    mean_w = float(10.0 ** rng.uniform(-5.0, -2.3)) if rng.random() < 0.9 else 0.0
    powers_w = mean_w * rng.choice([0.0, 0.3, 1.0, 2.5], n)
    load = replace(
        LOAD,
        wake_cycles=int(rng.choice([0, 500])),
        decision_cycles=int(rng.choice([0, 200, 2000])),
        sleep_w=float(rng.choice([0.0, 1e-6, 5e-5])),
        read_j=float(rng.choice([0.0, 2e-6])),
    )
    harvester = TraceHarvester(times_s, powers_w, loop=bool(rng.random() < 0.3))
    duration_s = harvester.span_s * float(rng.choice([1.0, 0.8, 1.3]))
    period_s = float(rng.choice([0.5, 1.0, 1.7]))
    arrivals: tuple[float, ...] = ()
    if rng.random() < 0.6:
        arrivals = tuple(np.sort(rng.uniform(0.0, duration_s, max(1, int(duration_s / period_s)))).tolist())
    settings = SessionSettings(
        period_s=period_s,
        times_s=arrivals,
        deadline_s=None if rng.random() < 0.5 else float(rng.choice([0.3, 2.0, 6.0])),
        queue=int(rng.integers(1, 4)),
        duration_s=duration_s,
        sensing_j=float(rng.choice([0.0, 3e-6, 5e-5])),
        guard=bool(rng.random() < 0.7),
        cost_scale=float(rng.choice([1.0, 1.0, 0.8, 1.4])),
        read_noise=float(rng.choice([0.0, 0.1])),
        read_seed=seed,
    )
    resistive = store == "resistive" or (store.endswith("battery") and rng.random() < 0.4)
    return Scene(
        harvester=harvester,
        converter=converter(kind or str(rng.choice(CONVERTERS)), rng),
        store=store,
        size_f=float(10.0 ** rng.uniform(-4.3, -2.0)),
        esr_ohm=float(rng.choice([20.0, 300.0, 900.0])) if resistive else 0.0,
        leakage_ohm=float(rng.choice([1e4, 1e6, math.inf])),
        start=float(rng.choice([0.0, 0.5, 2.0 / 3.0, 0.9, 1.0])),
        load=load,
        scale=int(rng.integers(1, 6)),
        settings=settings,
    )


def random_legal_scene(seed: int, *, kind: str | None = None, store: str | None = None) -> Scene:
    """The same, leaving out stores that cannot bear the running board."""
    for attempt in range(100):
        scene = random_scene(seed * 1000 + attempt, kind=kind, store=store)
        try:
            scene.context()
        except UsageError:
            continue
        return scene
    raise AssertionError("no legal scene")


class Reader:
    """Reads the energy counter now and then, and goes deeper or less deep by what it says."""

    name = "reader"

    def reset(self, context: PolicyContext) -> None:
        """Forget."""
        self._asked, self._ratio = 0, 1.0

    def decide(self, observation: Observation) -> Decision:
        """Start at an exit that depends on the last reading."""
        self._asked += 1
        if observation.energy_ratio is not None:
            self._ratio = observation.energy_ratio
        read = self._asked % 3 != 0
        if observation.exit is None:
            return Decision(action=Action.START, path=self._asked % 3, exit=0 if self._ratio > 1.05 else 1, read=read)
        if self._asked % 2 == 0:
            return Decision(action=Action.STOP, read=read)
        return Decision(action=Action.CONTINUE, read=read)


def entries(ledger: LedgerRecord) -> dict[str, int]:
    return {**ledger.spent_pj, "harvested": ledger.harvested_pj, "stored": ledger.stored_delta_pj}


def assert_twins(python: RunRecord, c: Trajectory) -> None:
    """Every event alike; times to a rounding of 32 bits; every account to 1e-9 of what went through."""
    assert [event.status.value for event in python.events] == [STATUSES[status] for status in c.status]
    assert [-1 if event.path is None else event.path for event in python.events] == c.path.tolist()
    assert [-1 if event.exit is None else event.exit for event in python.events] == c.exit.tolist()
    answered = c.exit >= 0
    assert [event.correct for event in python.events if event.exit is not None] == (c.value[answered] == 1.0).tolist()
    latency_s = [event.end_s - event.arrival_s for event in python.events if event.end_s is not None]
    np.testing.assert_allclose(c.latency_s[answered], latency_s, rtol=1e-6)
    assert np.isnan(c.latency_s[~answered]).all()
    s = python.summary
    assert (s.decisions, s.brownouts, s.cut) == (c.decisions, c.brownouts, c.cut)
    assert c.off_s == pytest.approx(s.off_s, rel=1e-9)
    assert c.longest_outage_s == pytest.approx(s.longest_outage_s, rel=1e-9)
    ours, theirs = entries(python.ledger), entries(c.ledger)
    through_pj = max(python.ledger.harvested_pj, sum(python.ledger.spent_pj.values()), abs(ours["stored"]), 1)
    for name in ours:
        assert abs(ours[name] - theirs[name]) <= 1 + 1e-9 * through_pj, name
    assert c.ledger.residual_fraction < 1e-6
