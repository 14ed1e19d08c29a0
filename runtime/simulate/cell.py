# SPDX-License-Identifier: Apache-2.0
"""One cell of a study: policies on one trace, store and stream of events, beside the bounds that know the future."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from joulet.energy.battery import Battery
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.energy.supply import Supply
from joulet.optimum.bound import Costs, World, oracle_all, oracle_energy
from joulet.optimum.costs import link_values
from joulet.optimum.outcomes import fit_outcomes
from joulet.optimum.plans import make_menus
from joulet.policies.seam import Experience, Learner, Policy, PolicyContext, Stretch
from joulet.policies.shadow import Shadow
from joulet.records import ACCOUNTS, Block, CostTable, LoadFigures, OutcomeModel, SampleOutcomes, SimulationRecord
from joulet.report.bootstrap import score_interval
from joulet.session import policy_context
from joulet.simulate.arrivals import Arrivals
from joulet.simulate.folds import DAY_S, Folded, Folds, divide_samples, make_folds, select, stretches_of
from joulet.simulate.learning import SimulatedLearning
from joulet.simulate.loop import STATUSES, Events, Governors, Model, Trajectory, overrun_s, run
from joulet.simulate.world import Floor, SupplyArrays, floor_of, lay_out

_PARTS = 12  # blocks of a run shorter than two days
_ALL_LINKS_BELOW = 1.5  # full-depth inferences: such a store may need plans that no price would choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a cell is made of.

    Attributes
    ----------
    model, trace, family
        Names.
    costs, load
        Of the model on the board, and of the board.
    outcomes
        Of every sample at every exit of every path.
    harvester, span_s
        Source over the whole run, and the length of one pass of its recording [s].
    converter, storage
        The storage's state is where the run begins.
    arrivals, duration_s, deadline_s, queue, guard, sensing_j, clock_start_s, seed
        Events; ``deadline_s`` None for the mean time between them.
    capacitor_f, harvest_ratio
        For the record.
    training
        Recordings to learn from, beginning at midnight; without, the other blocks of the trace.
    learning
        An exit's head that is fitted again while real samples are run; None where none is.
    """

    model: str
    trace: str
    family: str
    costs: CostTable
    load: LoadFigures
    outcomes: SampleOutcomes
    harvester: Harvester
    span_s: float
    converter: Converter
    storage: Storage
    arrivals: Arrivals
    duration_s: float
    capacitor_f: float
    deadline_s: float | None = None
    queue: int = 1
    guard: bool = True
    sensing_j: float = 0.0
    clock_start_s: float = 0.0
    seed: int = 0
    harvest_ratio: float | None = None
    training: Sequence[Harvester] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    learning: SimulatedLearning | None = None


class Cell:
    """A scenario laid out; what is needed by several policies is computed once."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        s = scenario
        event_s = s.arrivals.times_s(s.duration_s, s.seed)
        self.supply = lay_out(
            s.harvester,
            s.converter,
            s.storage,
            s.load,
            duration_s=s.duration_s,
            sensing_j=s.sensing_j,
            overrun_s=overrun_s(s.costs, s.load, len(event_s)),
        )
        self.period_s = s.arrivals.mean_s
        self.deadline_s = self.period_s if s.deadline_s is None else s.deadline_s
        self.events = Events(
            event_s=event_s,
            deadline_s=self.deadline_s,
            queue=s.queue,
            guard=s.guard,
            sensing_j=s.sensing_j,
            clock_start_s=s.clock_start_s,
        )
        world = Supply(s.harvester, s.converter, s.storage, s.load, s.duration_s)
        self.context: PolicyContext = policy_context(world, s.costs, self.period_s, self.deadline_s, s.queue)
        self.provenance = world.provenance(s.provenance)
        self.folds: Folds = make_folds(s.span_s, s.duration_s)
        self._sample_folds = divide_samples(s.outcomes, s.seed)

    @cached_property
    def samples(self) -> npt.NDArray[np.uint32]:
        """Sample of each event: those of its fold in random order, again and again."""
        count = len(self.events.event_s)
        chosen = np.empty(count, np.uint32)
        if self.scenario.training:
            chosen[:] = np.resize(self._sample_folds[1], count)
            return chosen
        fold = self.folds.of(self.events.event_s)
        for which in (0, 1):
            mask = fold == which
            chosen[mask] = np.resize(self._sample_folds[which], int(mask.sum()))
        return chosen

    @cached_property
    def judged_model(self) -> OutcomeModel:
        """The calibrated model under which expected scores and the bound are compared: that of the judged samples."""
        judged = np.unique(self.samples).astype(np.int64)
        return fit_outcomes(select(self.scenario.outcomes, judged), smoothing=0.0)

    @property
    def store_inferences(self) -> float:
        """Full-depth inferences in a full store."""
        return self.context.full_j / max(rows[0][-1] for rows in self.context.step_j)

    def experience(self, judged_fold: int | None) -> Experience:
        """Return what a policy that decides on a fold may learn from; None: on days to come, from all there is."""
        s = self.scenario
        # fine enough for small stores, coarse enough for a year
        step_s = self.period_s / 4.0
        if s.training:
            stretches = [
                stretch for harvester in s.training for stretch in _whole_past(harvester, s, step_s, self.period_s)
            ]
            samples = self._sample_folds[0]
        else:
            others = (0, 1) if judged_fold is None else (1 - judged_fold,)
            blocks = sorted(block for fold in others for block in self.folds.blocks(fold))
            stretches = list(
                stretches_of(self.supply, self.events.event_s, blocks, step_s=step_s, clock_start_s=s.clock_start_s)
            )
            samples = np.concatenate([self._sample_folds[fold] for fold in others])
        return Experience(
            context=self.context,
            outcomes=fit_outcomes(select(s.outcomes, samples)),
            stretches=tuple(stretches),
            seed=s.seed,
        )

    def prepare(self, make: Callable[[], Policy]) -> Policy | Governors:
        """Return what decides on this cell: fitted where it learns, as tables where it has them."""
        policy = make()
        if not isinstance(policy, Learner):
            policy.reset(self.context)
            return policy
        fitted = [policy]
        policy.fit(self.experience(0))
        if not self.scenario.training:
            second = make()
            assert isinstance(second, Learner)
            second.fit(self.experience(1))
            fitted.append(second)
        tables = [each.table for each in fitted if isinstance(each, Shadow) and each.table is not None]
        if len(tables) == len(fitted):
            return Governors(policy.name, tuple(t.to_bytes() for t in tables), fold_s=self.folds.block_s)
        if len(fitted) == 1:
            policy.reset(self.context)
            return policy
        folded = Folded((fitted[0], fitted[1]), self.folds)
        folded.reset(self.context)
        return folded

    def realise(self, policy: Policy | Governors) -> Trajectory:
        """Run a policy on real samples."""
        return self._run(policy, self._realised_model, self.samples, self.scenario.learning)

    def expect(self, policy: Policy | Governors) -> Trajectory:
        """Run a policy on outcomes drawn from the calibrated model."""
        return self._run(policy, self._expected_model, None)

    def _run(
        self,
        policy: Policy | Governors,
        model: Model,
        samples: npt.NDArray[np.uint32] | None,
        learning: SimulatedLearning | None = None,
    ) -> Trajectory:
        if not isinstance(policy, Governors):
            policy.reset(self.context)
        return run(
            self.supply,
            model,
            self.events,
            policy,
            self.context,
            self.scenario.load,
            samples=samples,
            provenance=self.provenance,
            learning=learning,
        )

    @cached_property
    def _realised_model(self) -> Model:
        return Model(self.scenario.costs, self.scenario.outcomes)

    @cached_property
    def _expected_model(self) -> Model:
        return Model(self.scenario.costs, self.judged_model, seed=self.scenario.seed)

    @cached_property
    def _floor(self) -> Floor:
        return floor_of(self.scenario.converter, self.scenario.storage, self.scenario.load, self.scenario.sensing_j)

    @cached_property
    def _world(self) -> World:
        supply, storage = self.supply, self.scenario.storage
        return World(
            segment_s=supply.segment_s,
            duration_s=supply.duration_s,
            band_j=supply.band_j,
            output_w=supply.output_w,
            full_j=supply.full_j,
            off_j=storage.energy_at_j(self.scenario.load.off_v),
            on_j=supply.on_j,
            initial_j=supply.initial_j,
            leak_tau_s=supply.leak_tau_s,
            sleep_w=self._floor.sleep_w,
            event_s=self.events.event_s,
            deadline_s=self.deadline_s,
            period_s=self.period_s,
            queue=self.events.queue,
            brownout_j=self._floor.brownout_j,
            charge_efficiency=storage.charge_efficiency if isinstance(storage, Battery) else 1.0,
        )

    @cached_property
    def _costs(self) -> Costs:
        step_s, run_w = self.context.step_s, self._floor.running_w
        step_j = tuple(tuple(tuple(seconds * run_w for seconds in row) for row in rows) for rows in step_s)
        return Costs(step_j=step_j, step_s=step_s)

    @cached_property
    def oracle_energy(self) -> float:
        """Upper bound of expected right answers on time."""
        model = self.judged_model
        links = None
        if self.store_inferences > _ALL_LINKS_BELOW:
            links = make_menus(model, link_values(model, self._costs.step_j)).links
        return oracle_energy(self._world, self._costs, model, links=links)

    @cached_property
    def oracle_all(self) -> float:
        """Upper bound of right answers on time when all is known."""
        s, world, costs = self.scenario, self._world, self._costs
        best_w = float(max(0.0, self.supply.output_w.max()))
        cheapest = np.full(s.outcomes.n_samples, np.inf)
        for node, (path, exit) in enumerate(s.outcomes.nodes):
            # energy of sleep is not drawn while computing, and harvest comes in meanwhile
            seconds = costs.step_s[path][0][exit]
            price_j = max(costs.step_j[path][0][exit] - world.sleep_w * seconds, 0.0)
            if price_j <= world.full_j - world.off_j + best_w * seconds and seconds <= self.deadline_s:
                cheapest = np.where(s.outcomes.correct[node], np.minimum(cheapest, price_j), cheapest)
        return oracle_all(self._world, self._costs, np.ascontiguousarray(cheapest[self.samples]))

    def record(self, policy: Policy | Governors, *, oracles: bool = True) -> SimulationRecord:
        """Run a policy on real and on drawn outcomes and return all its figures."""
        realised, expected = self.realise(policy), self.expect(policy)
        return to_record(self, policy.name, realised, expected, oracles=oracles)


def _whole_past(harvester: Harvester, s: Scenario, step_s: float, period_s: float) -> list[Stretch]:
    span_s = harvester.duration_s
    supply = lay_out(harvester, s.converter, s.storage, s.load, duration_s=span_s)
    event_s = s.arrivals.times_s(span_s, s.seed + 1)
    days = [(float(d), float(min(d + DAY_S, span_s))) for d in np.arange(0.0, span_s, DAY_S)]
    blocks = [block for block in days if block[1] - block[0] > 4.0 * period_s] or days
    # recordings to learn from begin at midnight, as traces do; the judged one says for itself when it begins
    return list(stretches_of(supply, event_s, blocks, step_s=step_s, clock_start_s=0.0))


def to_record(cell: Cell, name: str, realised: Trajectory, expected: Trajectory, *, oracles: bool) -> SimulationRecord:
    """Return the record of a policy's two runs."""
    s = cell.scenario
    arrived = len(realised.status)
    right = realised.correct()
    score, expected_score = float(right.sum()) / arrived, float(expected.correct().sum()) / arrived
    bound = cell.oracle_energy / arrived if oracles else None
    everything = cell.oracle_all / arrived if oracles else None
    blocks = _blocks(cell, right, expected.correct())
    interval = score_interval(blocks, seed=s.seed)
    counts = {status: int((realised.status == code).sum()) for code, status in enumerate(STATUSES)}
    served = counts["on_time"] + counts["late"]
    latencies = realised.latency_s[~np.isnan(realised.latency_s)]
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).tolist() if latencies.size else (None, None, None)
    answered = realised.exit >= 0
    ledger = realised.ledger
    energy_nj = {"harvested": ledger.harvested_pj / 1e3, "stored": ledger.stored_delta_pj / 1e3}
    energy_nj |= {account: ledger.spent_pj[account] / 1e3 for account in ACCOUNTS}
    energy_nj["residual"] = ledger.residual_pj / 1e3
    return SimulationRecord(
        policy=name,
        model=s.model,
        board=s.costs.board,
        trace=s.trace,
        family=s.family,
        capacitor_f=s.capacitor_f,
        arrivals=s.arrivals.spec,
        harvest_ratio=s.harvest_ratio,
        store_inferences=cell.store_inferences,
        arrived=arrived,
        served=served,
        **counts,
        correct_on_time=int(right.sum()),
        score=score,
        score_low=interval.low,
        score_high=interval.high,
        expected_score=expected_score,
        oracle_energy_score=bound,
        oracle_all_score=everything,
        pct_of_oracle_energy=_percent(expected_score, bound),
        pct_of_oracle_all=_percent(score, everything),
        brownouts=realised.brownouts,
        cut=realised.cut,
        time_off=realised.off_s / s.duration_s,
        longest_outage_s=realised.longest_outage_s,
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_p99_s=p99,
        mean_bits=realised.bit_macs / realised.macs if realised.macs else None,
        mean_exit=float(realised.exit[answered].mean()) if answered.any() else None,
        exits_taken=tuple(np.bincount(realised.exit[answered], minlength=len(s.costs.exit_names)).tolist()),
        paths_taken=tuple(np.bincount(realised.path[answered], minlength=len(s.costs.path_names)).tolist()),
        decisions=realised.decisions,
        energy_nj=energy_nj,
        residual=ledger.residual_fraction,
        blocks=blocks,
        provenance=dict(ledger.provenance),
        learning=realised.learning,
    )


def _percent(score: float, bound: float | None) -> float | None:
    return None if bound is None or bound <= 0.0 else 100.0 * score / bound


def _blocks(cell: Cell, right: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> tuple[Block, ...]:
    duration_s = cell.scenario.duration_s
    days = duration_s >= 2.0 * DAY_S
    edges = np.arange(0.0, duration_s, DAY_S) if days else np.linspace(0.0, duration_s, _PARTS, endpoint=False)
    index = np.searchsorted(edges, cell.events.event_s, side="right") - 1
    count = len(edges)
    arrived = np.bincount(index, minlength=count)
    return tuple(
        Block(arrived=int(a), correct=round(c), expected=float(e))
        for a, c, e in zip(
            arrived,
            np.bincount(index, right, minlength=count),
            np.bincount(index, expected, minlength=count),
            strict=True,
        )
    )


__all__ = ["Cell", "Scenario", "SupplyArrays", "to_record"]
