# SPDX-License-Identifier: Apache-2.0
"""The one control loop: an event arrives, a policy decides, the engine steps, every joule is accounted.

Time advances from event to event in closed form. Answers come from a real engine on real input; time and energy come
from the board's cost table. A brown-out takes all volatile state: the running inference keeps only the answer of the
last exit it committed, and events that wait are lost.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from joulet.energy.counter import EnergyCounter
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.energy.supply import Supply
from joulet.engine.answers import Answers
from joulet.engine.learner import Learner
from joulet.errors import PolicyError, UsageError
from joulet.events import Event, summarise
from joulet.policies.seam import Policy, PolicyContext, fault, make_context
from joulet.records import (
    Action,
    CostTable,
    Decision,
    LoadFigures,
    Observation,
    PathRecord,
    RunRecord,
    Status,
    StepCost,
)

_SENSING_S = 1e-3  # the energy of a sample, or of a reading, is drawn over this time
__all__ = ["Answers", "Learning", "SessionSettings", "run"]

_NOT_MODELLED = ("redone", "memory", "nvm", "radio")  # nothing is redone until checkpoints exist


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How events arrive and what is asked of them.

    Attributes
    ----------
    period_s
        Time between events, the first at 0, unless ``times_s`` is given [s].
    times_s
        Times of events, not falling [s]; empty for periodic ones.
    deadline_s
        From event to answer; None for the mean time between events [s].
    queue
        Events that may wait, 1 or more; the newest wins.
    duration_s
        Length of the run; None for the harvester's [s].
    sensing_j
        Energy of taking one sample; None for the board's figure [J].
    cap_j
        Most energy that one inference may draw, inf for any: a step that would pass it is not begun, and what has been
        answered stands. It holds whatever the input, so that inputs made to pass every exit cost no more [J].
    guard
        Hold a start until the store has the energy of its first step, above the voltage at which the running board
        would brown out through the store's series resistance; ask nothing below that voltage.
    shuffle_seed
        Order of samples: None as they are, else a seed of a permutation.
    cost_scale
        Energy that running really draws over what the cost table says, more than 0: what a policy does not know.
    read_noise
        Standard deviation of a reading of the energy counter relative to its value, 0 or more.
    read_seed
        Of that noise.
    """

    period_s: float = 1.0
    times_s: tuple[float, ...] = ()
    deadline_s: float | None = None
    queue: int = 1
    duration_s: float | None = None
    sensing_j: float | None = None
    cap_j: float = math.inf
    guard: bool = True
    shuffle_seed: int | None = None
    cost_scale: float = 1.0
    read_noise: float = 0.0
    read_seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """An exit's head is fitted again between events, while energy is in surplus.

    Attributes
    ----------
    learner
        The head, and where its labels come from.
    surplus_v
        Voltage of the store from which on it is fitted [V].
    cycles
        Of one fit on the board, what keeping it takes among them; see :class:`joulet.boards.RefitFigures`.
    delay_s
        From an answer to its label; a label that comes when another inference has begun is of no use any more [s].
    """

    learner: Learner
    surplus_v: float
    cycles: float
    delay_s: float = 0.0


def run(
    answers: Answers,
    costs: CostTable,
    load: LoadFigures,
    *,
    harvester: Harvester,
    converter: Converter,
    storage: Storage,
    policy: Policy,
    settings: SessionSettings,
    model: str = "",
    model_hash: str = "",
    provenance: Mapping[str, str] | None = None,
    progress: Callable[[float], None] | None = None,
    learning: Learning | None = None,
) -> RunRecord:
    """Run a model under a harvester.

    Parameters
    ----------
    answers : Answers
        Engine and samples.
    costs, load
        What the model costs on the board and what the board draws.
    harvester, converter, storage
        The energy path; ``storage`` is advanced in place and keeps its state afterwards.
    policy : Policy
        What decides; it is reset first.
    settings : SessionSettings
        Events, deadline, queue.
    provenance : mapping, optional
        Where the board's figures come from, by the keys of its file.
    progress : callable, optional
        Told the fraction done, 0..1, about a hundred times.
    learning : Learning, optional
        An exit's head that is fitted again; ``answers`` must be a :class:`joulet.engine.learner.LearningAnswers` then.

    Raises
    ------
    PolicyError
        If the policy answers with an illegal decision.
    UsageError
        If settings contradict each other or the board.
    """
    times_s, duration_s, deadline_s = timing(settings, harvester)
    if storage.voltage_at_v(storage.full_energy_j) < load.on_v:
        raise UsageError(f"the store is full below the power-good threshold of {load.on_v} V; the board never starts")
    world = Supply(harvester, converter, storage, load, duration_s)
    context = policy_context(world, costs, duration_s / max(len(times_s), 1), deadline_s, settings.queue)
    policy.reset(context)
    sensing_j = load.sensing_j if settings.sensing_j is None else settings.sensing_j
    counter = EnergyCounter(settings.read_noise, settings.read_seed)
    loop = _Loop(
        answers, costs, context, world, policy, settings, times_s, duration_s, deadline_s, sensing_j, counter, learning
    )
    loop.run(progress)
    sources = dict(provenance or {})
    record = RunRecord(
        model=model,
        model_hash=model_hash,
        board=costs.board,
        policy=policy.name,
        duration_s=duration_s,
        exit_names=costs.exit_names,
        paths=paths_of(costs, load),
        summary=summarise(
            loop.events,
            n_exits=len(costs.exit_names),
            labelled=answers.labels is not None,
            duration_s=duration_s,
            supply=world,
            decisions=loop.decisions,
        ),
        ledger=world.ledger.close(
            storage.energy_j,
            provenance=world.provenance(_with_readings(sources) if loop.readings and load.read_j > 0.0 else sources),
            not_modelled=_NOT_MODELLED + (() if sensing_j > 0.0 else ("sensing",)),
        ),
        events=tuple(event.record() for event in loop.events),
        timeline=tuple(world.timeline),
        settings=_settings_dict(settings, load, storage, deadline_s, sensing_j),
        provenance={**sources, "harvest": harvester.provenance, "converter": converter.provenance},
    )
    return record


def policy_context(world: Supply, costs: CostTable, period_s: float, deadline_s: float, queue: int) -> PolicyContext:
    """Return what the policy may know: every cost as what it takes from the store, at worst."""
    load, storage = world.load, world.storage
    on_j = storage.energy_at_j(load.on_v) - world.off_j
    if not on_j > 0.0:
        raise UsageError(
            f"at the power-good threshold of {load.on_v} V the store cannot bear the running board, which needs "
            f"{world.off_v:.3g} V at least; take a store with less series resistance or raise the threshold"
        )
    return make_context(
        costs,
        clock_hz=load.clock_hz,
        energy_j_per_cycle=load.energy_pj_per_cycle * 1e-12 * world.dearness,
        wake_cycles=load.wake_cycles,
        store_v=(world.off_v, load.on_v, storage.voltage_at_v(storage.full_energy_j)),
        full_j=world.full_j,
        period_s=period_s,
        deadline_s=deadline_s,
        off_j=world.off_j,
        on_j=on_j,
        sleep_w=world.cost_w(load.sleep_w),
        leak_tau_s=storage.leak_tau_s,
        decision_cycles=load.decision_cycles,
        queue=queue,
    )


def timing(settings: SessionSettings, harvester: Harvester) -> tuple[list[float], float, float]:
    """Return times of events, duration and deadline of a run [s]."""
    duration_s = settings.duration_s if settings.duration_s is not None else harvester.duration_s
    if not math.isfinite(duration_s) or duration_s <= 0.0:
        raise UsageError("the trace has no end; say how long to run (--duration)")
    if settings.queue < 1:
        raise UsageError(f"queue is {settings.queue}; it must be 1 or more")
    if settings.times_s:
        times_s = [time for time in settings.times_s if time < duration_s]
        if any(later < earlier for earlier, later in zip([0.0, *times_s], times_s, strict=False)):
            raise UsageError("times of events must be zero or more and must not fall")
    else:
        if not settings.period_s > 0.0:
            raise UsageError(f"period is {settings.period_s} s; it must be more than zero")
        times_s = [i * settings.period_s for i in range(math.ceil(duration_s / settings.period_s))]
    if not times_s:
        raise UsageError("no event falls into the run; lengthen it or shorten the period")
    mean_s = duration_s / len(times_s) if settings.times_s else settings.period_s
    deadline_s = mean_s if settings.deadline_s is None else settings.deadline_s
    if not (settings.cost_scale > 0.0 and math.isfinite(settings.cost_scale)):
        raise UsageError(f"cost scale is {settings.cost_scale}; it must be more than zero")
    if not settings.cap_j > 0.0:
        raise UsageError(f"cap is {settings.cap_j} J; it must be more than zero")
    if not deadline_s > 0.0:
        raise UsageError(f"deadline is {deadline_s} s; it must be more than zero")
    return times_s, duration_s, deadline_s


@dataclass(slots=True)
class _Loop:
    """The control loop of one run."""

    answers: Answers
    costs: CostTable
    context: PolicyContext
    world: Supply
    policy: Policy
    settings: SessionSettings
    times_s: list[float]
    duration_s: float
    deadline_s: float
    sensing_j: float
    counter: EnergyCounter
    learning: Learning | None = None
    heard_s: float = 0.0
    reading: float | None = None
    readings: int = 0
    events: list[Event] = field(default_factory=list)
    waiting: deque[Event] = field(default_factory=deque)
    decisions: int = 0
    order: list[int] = field(default_factory=list)

    def run(self, progress: Callable[[float], None] | None) -> None:
        world = self.world
        seed, n = self.settings.shuffle_seed, self.answers.n_samples
        self.order = list(range(n)) if seed is None else np.random.default_rng(seed).permutation(n).tolist()
        end_s = self.duration_s
        tell_s = end_s / 100.0
        world.mark("power_good" if world.powered else "sample")
        while True:
            self.take_in(world.now_s)
            if world.now_s >= end_s:
                break
            if progress is not None and world.now_s >= tell_s:
                progress(world.now_s / end_s)
                tell_s = world.now_s + end_s / 100.0
            next_s = self.times_s[len(self.events)] if len(self.events) < len(self.times_s) else end_s
            if not world.powered:
                world.wait_for_power(min(next_s, end_s))
            elif not self.waiting:
                self.rest(min(next_s, end_s))
            else:
                self.serve(min(next_s, end_s))
        if progress is not None:
            progress(1.0)

    def take_in(self, upto_s: float) -> None:
        """Let all events up to a time happen; those while the board is off are missed."""
        while len(self.events) < len(self.times_s) and self.times_s[len(self.events)] <= upto_s:
            event = self.arrive()
            if not self.world.powered:
                event.status = Status.MISSED
                continue
            self.waiting.append(event)
            if len(self.waiting) > self.settings.queue:
                self.waiting.popleft().status = Status.DROPPED
            if self.sensing_j > 0.0:
                self.spend(self.sensing_j / _SENSING_S, _SENSING_S, "sensing", event)
        while self.waiting and self.world.now_s > self.waiting[0].arrival_s + self.deadline_s:
            self.waiting.popleft().status = Status.EXPIRED

    def arrive(self) -> Event:
        """Let the next event happen."""
        index = len(self.events)
        sample, labels = self.order[index % len(self.order)], self.answers.labels
        event = Event(index, sample, self.times_s[index], None if labels is None else labels[sample])
        self.events.append(event)
        return event

    def rest(self, until_s: float) -> None:
        """Nothing waits: fit a head where there is a label and energy to spare, else sleep."""
        learning, world = self.learning, self.world
        if learning is None or learning.learner.pending is None:
            self.sleep(until_s)
            return
        if world.now_s < self.heard_s:
            self.sleep(min(until_s, self.heard_s))
            return
        cost_j = learning.cycles * world.load.energy_pj_per_cycle * 1e-12 * world.dearness
        if world.storage.voltage_v < learning.surplus_v or world.usable_j < 2.0 * cost_j:
            # another look soon, at the pace at which a deferred event is looked at
            self.sleep(min(until_s, world.now_s + self.deadline_s / 4.0 + 1e-3))
            return
        seconds = learning.cycles / world.load.clock_hz
        if world.advance(world.now_s + seconds, world.running_w * self.settings.cost_scale, "refit"):
            learning.learner.learn()
        else:
            self.lose_waiting()

    def sleep(self, until_s: float, *, wake_v: float | None = None) -> None:
        """Sleep until a time or a voltage; a brown-out takes what waits."""
        if not self.world.advance(until_s, self.world.load.sleep_w, "sleep", stop_above_v=wake_v):
            self.lose_waiting()

    def spend(self, power_w: float, duration_s: float, account: str | None, event: Event) -> bool:
        """Draw power for an event; events that arrive meanwhile are taken in later. False after a brown-out."""
        alive = self.world.advance(self.world.now_s + duration_s, power_w, account)
        event.energy_j += self.world.last_drawn_j
        if not alive:
            self.lose_waiting()
        return alive

    def lose_waiting(self) -> None:
        self.counter.clear()
        self.reading = None
        if self.learning is not None:
            self.learning.learner.lost()
        # what arrived before the cut waits in RAM too, and goes with it
        while len(self.events) < len(self.times_s) and self.times_s[len(self.events)] <= self.world.now_s:
            self.arrive().status = Status.LOST
        while self.waiting:
            self.waiting.popleft().status = Status.LOST

    def ask(self, event: Event, backlog: int) -> Decision | None:
        """Ask the policy and pay for it; None after a brown-out."""
        world = self.world
        observation = Observation(
            time_s=world.now_s,
            slot=int(world.now_s % 86400.0 // 1800.0),
            store_voltage_v=world.storage.voltage_v,
            usable_energy_j=world.usable_j,
            full_energy_j=world.full_j,
            harvest_power_w=world.given_w,
            backlog=backlog,
            deadline_left_s=event.arrival_s + self.deadline_s - world.now_s,
            path=event.path,
            exit=event.exit,
            confidence_q15=event.confidence_q15,
            spent_j=event.energy_j,
            delivered_j=world.delivered_j,
            energy_ratio=self.reading,
        )
        self.reading = None
        decision = self.policy.decide(observation)
        wrong = fault(observation, decision, self.context)
        if wrong is not None:
            raise PolicyError(f"policy '{self.policy.name}' {wrong}, at {world.now_s:.3f} s, event {event.index}")
        self.decisions += 1
        event.decisions += 1
        seconds = world.load.decision_cycles / world.load.clock_hz
        alive = self.spend(world.running_w * self.settings.cost_scale, seconds, "policy", event)
        if alive and decision.read:
            alive = self.read(event)
        return decision if alive else None

    def read(self, event: Event) -> bool:
        """Read the energy counter and pay for it; False after a brown-out."""
        self.reading = self.counter.read()
        self.readings += 1
        read_j = self.world.load.read_j
        return read_j <= 0.0 or self.spend(read_j / _SENSING_S, _SENSING_S, "policy", event)

    def serve(self, next_s: float) -> None:
        """Decide on the oldest event that waits, and run it if the policy says so."""
        event = self.waiting[0]
        if self.settings.guard and self.world.sags and self.world.usable_j < 2.0 * self.context.decision_j:
            # through series resistance, asking alone would pull the terminal down to brown-out
            self.defer(event, next_s, 4.0 * self.context.decision_j)
            return
        decision = self.ask(event, len(self.waiting))
        if decision is None:
            return
        if decision.action is Action.OFF:
            while self.waiting:
                self.waiting.popleft().status = Status.DROPPED
            return
        wake_j = decision.wake_j
        if decision.action is Action.START:
            path, exit = decision.path or 0, decision.exit or 0
            need_j = self.context.step_j[path][0][exit]
            if not self.settings.guard or self.world.usable_j >= need_j:
                self.waiting.popleft()
                self.infer(event, path, exit)
                return
            # asking again has its price too: woken at need_j itself, the board would ask, fall short, and ask for ever
            load = self.world.load
            wake_j = 1.02 * need_j + 2.0 * load.decision_cycles * load.energy_pj_per_cycle * 1e-12 * self.world.dearness
        self.defer(event, next_s, wake_j)

    def defer(self, event: Event, next_s: float, wake_j: float | None) -> None:
        """Sleep until something changes: energy, the next event, the deadline, or a quarter of the deadline."""
        world = self.world
        expiry_s = math.nextafter(event.arrival_s + self.deadline_s, math.inf)
        pace_s = world.now_s + max(self.deadline_s / 4.0, 1e-3)
        wake_v = None
        # a hair more than asked: woken exactly at it, rounding could find it just short and ask for ever
        if wake_j is not None and world.usable_j < wake_j < world.full_j * (1.0 - 1e-6):
            wake_v = world.storage.voltage_at_v((world.off_j + wake_j) * (1.0 + 1e-9))
        before_s = world.now_s
        self.sleep(min(next_s, expiry_s) if wake_v is not None else min(next_s, expiry_s, pace_s), wake_v=wake_v)
        if world.now_s == before_s and world.powered:
            self.sleep(min(next_s, pace_s))

    def infer(self, event: Event, path: int, exit: int) -> None:
        """Run one inference, exit by exit, as the policy decides; commit the answer of each exit."""
        world, reached = self.world, -1
        event.start_s = world.now_s
        if self.learning is not None:
            self.learning.learner.begin()
        while True:
            step = self.costs.steps[path][reached + 1][exit]
            assert step is not None  # fault() has checked exit > reached
            if not self.within_cap(event, step):
                break
            if not self.step(event, step, waking=reached < 0):
                event.cut = True
                break
            reached = exit
            event.path, event.exit, event.end_s = path, exit, world.now_s
            event.confidence_q15, event.predicted = self.answers.at(event.sample, path, exit)
            event.macs, event.cycles = event.macs + step.macs, event.cycles + step.cycles
            event.bit_macs += step.bit_macs
            if reached == self.context.n_exits - 1:
                break
            decision = self.ask(event, 1 + len(self.waiting))
            if decision is None:
                event.cut = True
            if decision is None or decision.action is Action.STOP:
                break
            path = path if decision.path is None else decision.path
            exit = reached + 1 if decision.exit is None else decision.exit
        if event.end_s is None:
            event.status = Status.LOST if event.cut else Status.DROPPED
            return
        on_time = event.end_s <= event.arrival_s + self.deadline_s
        event.status = Status.ON_TIME if on_time else Status.LATE
        world.sample("answer", event.path, event.exit)
        if self.learning is not None and world.powered:
            assert event.exit is not None
            confidence_q15 = event.confidence_q15 or 0
            self.learning.learner.answered(event.sample, event.exit, confidence_q15, event.predicted)
            self.heard_s = world.now_s + self.learning.delay_s

    def within_cap(self, event: Event, step: StepCost) -> bool:
        """Tell whether the inference may still begin a step; without an answer the event ends here."""
        cycles = event.cycles + step.cycles + self.world.load.wake_cycles
        allowed = cycles * self.world.load.energy_pj_per_cycle * 1e-12 * self.settings.cost_scale <= self.settings.cap_j
        if not allowed and event.end_s is None:
            event.status = Status.DROPPED
        return allowed

    def step(self, event: Event, step: StepCost, *, waking: bool) -> bool:
        """Spend what a step costs; its energy is compute when it completes and abandoned when it does not."""
        world = self.world
        cycles = step.cycles + (world.load.wake_cycles if waking else 0)
        seconds = cycles / world.load.clock_hz
        alive = self.spend(world.running_w * self.settings.cost_scale, seconds, None, event)
        world.ledger.post("compute" if alive else "abandoned", world.last_drawn_j)
        if alive:
            self.counter.count(world.last_drawn_j, world.running_w * seconds)
        return alive


def _with_readings(sources: Mapping[str, str]) -> dict[str, str]:
    deciding, reading = (sources.get(key, "not stated") for key in ("decision_cycles", "read_j"))
    return {**sources, "decision_cycles": f"{deciding}; readings: {reading}"}


def paths_of(costs: CostTable, load: LoadFigures) -> tuple[PathRecord, ...]:
    """Return what the board spends along each path, losses of its supply not included."""
    records = []
    energy_j = load.energy_pj_per_cycle * 1e-12
    for path, name in enumerate(costs.path_names):
        steps = [step for step in costs.steps[path][0] if step is not None]
        records.append(
            PathRecord(
                name=name,
                energy_j=tuple((step.cycles + load.wake_cycles) * energy_j for step in steps),
                cycles=tuple(step.cycles for step in steps),
                accuracy=costs.accuracy[path],
                mean_bits=tuple(step.bit_macs / step.macs if step.macs else 0.0 for step in steps),
            )
        )
    return tuple(records)


def _settings_dict(
    settings: SessionSettings, load: LoadFigures, storage: Storage, deadline_s: float, sensing_j: float
) -> dict[str, float | int | str | None]:
    return {
        "period_s": None if settings.times_s else settings.period_s,
        "deadline_s": deadline_s,
        "queue": settings.queue,
        "cap_j": settings.cap_j if math.isfinite(settings.cap_j) else None,
        "guard": int(settings.guard),
        "shuffle_seed": settings.shuffle_seed,
        "sensing_j": sensing_j,
        "cost_scale": settings.cost_scale,
        "full_energy_j": storage.full_energy_j,
        "off_v": load.off_v,
        "on_v": load.on_v,
        "max_v": storage.voltage_at_v(storage.full_energy_j),
        "clock_hz": load.clock_hz,
        "energy_pj_per_cycle": load.energy_pj_per_cycle,
        "sleep_w": load.sleep_w,
    }
