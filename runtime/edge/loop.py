# SPDX-License-Identifier: Apache-2.0
"""Events by the clock, a point for each, the meter's word after each block: the loop of a machine that has its own rails.

``runtime/session.py`` runs a board's day in closed form; here time and energy pass by themselves and are only watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from joulet.edge.account import Account, Cap
from joulet.edge.controller import Controller, Limits
from joulet.edge.exits import ExitRule, Reached, can_decide
from joulet.edge.metered import Metered, Sum
from joulet.edge.model import PowerModel
from joulet.edge.points import Point
from joulet.engine.seam import Array, Engine, SteppedEngine
from joulet.errors import MeterError, UsageError
from joulet.knobs.seam import Knob
from joulet.metered_run import CapRecord, EdgeEvent, EdgeLedger, EdgeRecord, PointRecord, PowerSample, thinned
from joulet.meters.machine import Machine
from joulet.records import CostTable

_MARGIN = 0.01  # of the cap, kept free for what a meter is off by
_NOISE = 0.03  # of a block's energy: how far off the meter may be
_COVERED = 0.5  # of a block, for the model to learn from it
_NAP_S = 0.05
_LATENCY_WEIGHT = 0.3
_SETTLE_TRIES = 40
_MOST_SAMPLES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What is asked of a run.

    Attributes
    ----------
    period_s, deadline_s, duration_s
        Between events, from an event to its answer (None: the period), of the run [s].
    cap, window_s
        Mean power over windows of this length, None for any [s].
    budget_j, horizon_s
        Energy until the horizon, None for any [J, s].
    idle_s
        Idle power is measured so long before [s].
    block_s
        The meter is asked at least so far apart [s].
    values
        What the points' values are, for the record.
    """

    period_s: float
    duration_s: float
    deadline_s: float | None = None
    cap: Cap | None = None
    window_s: float = 10.0
    budget_j: float | None = None
    horizon_s: float | None = None
    idle_s: float = 1.0
    block_s: float = 0.5
    values: str = ""


def run(
    engine: Engine,
    inputs: Sequence[Array],
    labels: npt.NDArray[np.int64] | None,
    points: Sequence[Point],
    metered: Metered,
    machine: Machine,
    settings: EdgeSettings,
    *,
    knob: Knob | None = None,
    table: CostTable | None = None,
    progress: Callable[[float], None] | None = None,
) -> EdgeRecord:
    """Run for a while.

    Parameters
    ----------
    engine : Engine
        What computes.
    inputs, labels
        Samples, ``(n, …)`` each, and their classes ``(n,)`` or None.
    points : sequence of Point
        To choose from; with a knob, of all its levels.
    metered : Metered
        What measures.
    machine : Machine
        Its clock and its sleep.
    settings : EdgeSettings
        Events, cap, budget.
    knob : optional
        What levels of points mean.
    table : CostTable, optional
        Of a stepped engine's container: at each exit there is a decision whether to go on. Without, or where accuracies are not
        known, an event is answered at the exit of its point.

    Raises
    ------
    UsageError
        If settings contradict each other.
    MeterError
        If the meter tells no power at the beginning. One that is lost later, where estimates are not allowed, ends the run: the
        record says so in ``ended``, and its last block is an estimate.
    """
    _check(settings)
    unit_j, idle_w = _begin(engine, inputs, points, metered, machine, settings)
    model = PowerModel([point.relative for point in points], unit_j, idle_w, 0.02 * idle_w + 1e-6)
    exits = None
    if table is not None and can_decide(table, points):
        window = math.inf if settings.cap is None else settings.window_s / settings.period_s
        exits = ExitRule(cast(SteppedEngine, engine), table, points, model, window)
    loop = _Loop(engine, inputs, labels, points, metered, machine, settings, knob, model, exits)
    loop.run(progress)
    return loop.record()


def _check(settings: EdgeSettings) -> None:
    if settings.cap is None and settings.budget_j is None:
        raise UsageError("say what to keep to: --power-cap W, or --budget-j J with --horizon S")
    if (settings.budget_j is None) != (settings.horizon_s is None):
        raise UsageError("--budget-j and --horizon belong together: so much energy until then")
    if settings.cap is not None and settings.window_s < 2.0 * max(settings.block_s, settings.period_s):
        raise UsageError(
            f"--window is {settings.window_s:g} s; it must be at least twice the period and the "
            f"{settings.block_s:g} s between two looks at the meter"
        )


def _begin(
    engine: Engine, inputs: Sequence[Array], points: Sequence[Point], metered: Metered, machine: Machine,
    settings: EdgeSettings,
) -> tuple[float, float]:  # fmt: skip
    """Wait for the meter, measure idle power; return a first guess of an inference's energy [J], and idle power [W]."""
    for attempt in range(_SETTLE_TRIES):
        metered.now()
        if metered.tells:
            break
        if attempt == _SETTLE_TRIES - 1:
            raise MeterError(f"meter '{metered.source}' tells no power; try it with joulet power {metered.source}")
        machine.sleep(_NAP_S)
    before, began_s = metered.now(), machine.clock()
    while machine.clock() - began_s < settings.idle_s:
        machine.sleep(_NAP_S)
    after = metered.now()
    if after.covered_s > before.covered_s:
        idle_w = (after.energy_j - before.energy_j) / (after.covered_s - before.covered_s)
    else:
        idle_w = metered.power_w or 0.0
    cheapest = min(points, key=lambda point: point.relative)
    started_s = machine.clock()
    engine.infer([x[:1] for x in inputs], path=cheapest.path, depth=cheapest.exit)
    # as if computing drew as much again as idling: the first block that is measured replaces it
    return max(idle_w, 0.1) * max(machine.clock() - started_s, 1e-6), idle_w


class _Loop:
    """The state of one run."""

    def __init__(
        self, engine: Engine, inputs: Sequence[Array], labels: npt.NDArray[np.int64] | None, points: Sequence[Point],
        metered: Metered, machine: Machine, settings: EdgeSettings, knob: Knob | None, model: PowerModel,
        exits: ExitRule | None,
    ) -> None:  # fmt: skip
        self.engine, self.inputs, self.labels, self.points = engine, inputs, labels, points
        self.metered, self.machine, self.settings, self.knob, self.model = metered, machine, settings, knob, model
        self.exits = exits
        self.controller = Controller(points, model)
        self.account = Account(settings.cap, settings.window_s)
        self.latency_s: list[float | None] = [None] * len(points)
        self.chosen = np.zeros(len(points), np.int64)
        self.counts = np.zeros(len(points), np.int64)
        self.events: list[EdgeEvent] = []
        self.measured_j = self.estimated_j = self.estimated_s = self.idle_j = 0.0
        self.points_j = np.zeros(len(points))
        self.power: list[PowerSample] = []
        self.began_s = machine.clock()
        self.slot_s = self.block_s = 0.0  # where the running slot and block began
        self.turned_s = -np.inf
        self.broken_s: float | None = None
        self.ended: str | None = None
        self.sum: Sum = metered.now()

    def now_s(self) -> float:
        """Return time since the start [s]."""
        return self.machine.clock() - self.began_s

    def run(self, progress: Callable[[float], None] | None) -> None:
        """Run to the end, or until the user has seen enough."""
        try:
            self.serve_all(progress)
        except KeyboardInterrupt:
            self.broken_s = self.now_s()
        except MeterError as error:
            self.ended = str(error)
        self.close_slot(None)
        try:
            self.close_block()
        except MeterError as error:
            self.ended = self.ended or str(error)
            self.close_blind()
        if progress is not None:
            progress(1.0)

    def serve_all(self, progress: Callable[[float], None] | None) -> None:
        """Serve each event in its time."""
        settings = self.settings
        count = max(1, int(settings.duration_s / settings.period_s))
        for index in range(count):
            arrival_s = index * settings.period_s
            self.wait(arrival_s)
            self.serve(index, arrival_s)
            if progress is not None and index % max(1, count // 100) == 0:
                progress(index / count)
        self.wait(max(settings.duration_s, self.slot_s))

    def wait(self, until_s: float) -> None:
        """Sleep; a lost meter is seen meanwhile."""
        while (left_s := until_s - self.now_s()) > 1e-6:
            self.machine.sleep(min(left_s, _NAP_S))

    def serve(self, index: int, arrival_s: float) -> None:
        """Decide on one event and answer it, or not."""
        now_s, n = self.now_s(), len(self.inputs[0])
        event = EdgeEvent(index=index, sample=index % n, arrival_s=arrival_s, status="missed")
        deadline_s = self.settings.deadline_s or self.settings.period_s
        if now_s - arrival_s > deadline_s:
            self.events.append(event)
            return
        if self.slot_s < now_s:
            self.close_slot(None)
        if now_s - self.block_s >= self.settings.block_s:
            self.close_block()
        point = self.pick(now_s)
        if point is None:
            self.events.append(EdgeEvent(index=index, sample=event.sample, arrival_s=arrival_s, status="skipped"))
            return
        self.turn(self.points[point].level)
        self.answer(index, arrival_s, point, deadline_s)

    def answer(self, index: int, arrival_s: float, point: int, deadline_s: float) -> None:
        """Compute, and write down what came of it."""
        sample, began_s = index % len(self.inputs[0]), self.now_s()
        reached = self.compute(sample, point, began_s, arrival_s + deadline_s)
        ended_s, point = self.now_s(), reached.point
        took_s, before = ended_s - began_s, self.latency_s[point]
        self.latency_s[point] = took_s if before is None else before + _LATENCY_WEIGHT * (took_s - before)
        if self.exits is not None:
            self.exits.took(point, took_s)
        self.chosen[point] += 1
        output = np.asarray(reached.output).reshape(-1)
        predicted = int(np.argmax(output)) if output.size > 1 else None
        correct = None if self.labels is None or predicted is None else predicted == int(self.labels[sample])
        self.events.append(
            EdgeEvent(
                index=index, sample=sample, arrival_s=arrival_s,
                status="on_time" if ended_s - arrival_s <= deadline_s else "late",
                point=self.points[point].name, latency_s=ended_s - arrival_s, predicted=predicted, correct=correct,
                confidence_q15=reached.confidence_q15,
            )
        )  # fmt: skip
        self.close_slot(point)

    def compute(self, sample: int, point: int, now_s: float, until_s: float) -> Reached:
        """Run one inference: to the exit of a point, or from exit to exit as far as it is worth going."""
        if self.exits is not None and self.model.measured.any():
            idle_j, limits = self.model.idle_w * self.settings.period_s, self.limits(now_s)
            above = Limits(mean_j=limits.mean_j - idle_j, most_j=limits.most_j - idle_j)
            return self.exits.answer([x[sample] for x in self.inputs], point, above, until_s - now_s)
        chosen = self.points[point]
        result = self.engine.infer([x[sample : sample + 1] for x in self.inputs], path=chosen.path, depth=chosen.exit)
        return Reached(point=point, output=result.outputs[0], confidence_q15=int(result.confidence_q15[0]))

    def pick(self, now_s: float) -> int | None:
        """Return the point for the slot that begins now."""
        period_s, deadline_s = self.settings.period_s, self.settings.deadline_s or self.settings.period_s
        held = self.knob is not None and now_s - self.turned_s < self.knob.dwell_s
        candidates = [
            k
            for k, point in enumerate(self.points)
            if (not held or self.knob is None or point.level == self.knob.level)
            and (self.latency_s[k] or 0.0) <= deadline_s
        ]
        if not candidates:
            # all are too slow by what is known: the quickest
            candidates = [min(range(len(self.points)), key=lambda k: self.latency_s[k] or 0.0)]
        if not self.model.measured.any() and not self.chosen.any():
            return min(candidates, key=lambda k: self.points[k].relative)
        return self.controller.choose(period_s, self.limits(now_s), candidates)

    def limits(self, now_s: float) -> Limits:
        """Return what the next slot may take."""
        settings, period_s = self.settings, self.settings.period_s
        mean_j = most_j = float("inf")
        if settings.cap is not None:
            room_j = self.account.room_j(now_s + period_s)
            mean_j = (1.0 - _MARGIN) * settings.cap.at_w(now_s) * period_s
            # what a window still has room for beyond that is used up over a window, and what it lacks is won back
            slack_j = room_j - mean_j
            mean_j += slack_j * period_s / settings.window_s
            most_j = room_j
        if settings.budget_j is not None and settings.horizon_s is not None:
            left_j = settings.budget_j - self.spent_j()
            left_s = max(settings.horizon_s - now_s, period_s)
            mean_j = min(mean_j, left_j * period_s / left_s)
            # the rest of the time passes in any case
            most_j = min(most_j, left_j - self.model.idle_w * max(0.0, left_s - period_s))
        return Limits(mean_j=mean_j, most_j=most_j)

    def spent_j(self) -> float:
        """Return what was drawn so far, open blocks as foretold [J]."""
        return self.account.total_j + self.account.open_j

    def turn(self, level: int) -> None:
        """Set the knob."""
        if self.knob is not None and level != self.knob.level:
            self.knob.set(level)
            self.turned_s = self.now_s()

    def close_slot(self, point: int | None) -> None:
        """A slot ends now: with one inference in it, or with none."""
        end_s = self.now_s()
        if end_s > self.slot_s or point is not None:
            end_s = max(end_s, self.slot_s + 1e-9)
            self.account.add(self.slot_s, end_s, self.model.slot_j(point, end_s - self.slot_s))
            self.slot_s = end_s
        if point is not None:
            self.counts[point] += 1

    def close_block(self) -> None:
        """Ask the meter what the slots since the last time took, and learn from it."""
        end_s, sums = self.slot_s, self.metered.now()
        length_s = end_s - self.block_s
        if length_s <= 0.0:
            return
        measured_j = sums.energy_j - self.sum.energy_j
        open_s = min(max(0.0, sums.missed_s - self.sum.missed_s), length_s)
        if length_s - open_s >= _COVERED * length_s:
            energy_j = measured_j * length_s / (length_s - open_s) if open_s > 0.0 else measured_j
            self.model.learn(length_s, self.counts, energy_j, _NOISE * abs(energy_j))
            if self.exits is not None:
                self.exits.learnt()
        else:
            foretold_j = self.model.idle_w * length_s + sum(
                int(n) * self.model.energy_j(k) for k, n in enumerate(self.counts) if n
            )
            energy_j = measured_j + foretold_j * open_s / length_s
        self.book(end_s, measured_j, energy_j - measured_j)
        self.estimated_s += open_s
        self.account.settle(energy_j)
        self.sum, self.block_s = sums, end_s
        self.counts[:] = 0

    def close_blind(self) -> None:
        """The meter is gone: what the last slots took is what was foretold."""
        length_s, foretold_j = self.slot_s - self.block_s, self.account.open_j
        if length_s > 0.0:
            self.book(self.slot_s, 0.0, foretold_j)
            self.estimated_s += length_s
            self.account.settle(foretold_j)

    def book(self, end_s: float, measured_j: float, estimated_j: float) -> None:
        """Enter a block: what was drawn, and what idle power and inferences make of it."""
        self.measured_j += measured_j
        self.estimated_j += estimated_j
        self.idle_j += self.model.idle_w * (end_s - self.block_s)
        self.points_j += self.counts * np.array([self.model.energy_j(k) for k in range(len(self.points))])
        self.power.append(
            PowerSample(start_s=self.block_s, end_s=end_s, measured_j=measured_j, estimated_j=estimated_j)
        )

    def ledger(self) -> EdgeLedger:
        """Return where the energy went."""
        drawn_j = self.measured_j + self.estimated_j
        points_j = {point.name: float(j) for point, j in zip(self.points, self.points_j, strict=True) if j > 0.0}
        return EdgeLedger(
            drawn_j=drawn_j, idle_j=self.idle_j, points_j=points_j,
            residual_j=drawn_j - self.idle_j - sum(points_j.values()),
        )  # fmt: skip

    def record(self) -> EdgeRecord:
        """Return what the run leaves."""
        settings, account, end_s = self.settings, self.account, self.slot_s
        status = [event.status for event in self.events]
        answered = [event for event in self.events if event.point is not None]
        cap = None
        if settings.cap is not None:
            cap = CapRecord(
                steps=settings.cap.steps, window_s=settings.window_s, allowed_j=settings.cap.energy_j(0.0, end_s),
                mean_w=account.total_j / end_s, worst_mean_w=account.worst_mean_w, windows=account.windows,
                windows_over=account.windows_over, over_j=account.over_j, worst_over_j=account.worst_over_j,
            )  # fmt: skip
        return EdgeRecord(
            meter=self.metered.source, duration_s=end_s, period_s=settings.period_s, arrived=len(self.events),
            answered=len(answered), on_time=status.count("on_time"), skipped=status.count("skipped"),
            missed=status.count("missed"),
            correct=None if self.labels is None else sum(event.correct is True for event in answered),
            measured_j=self.measured_j, estimated_j=self.estimated_j, estimated_s=self.estimated_s,
            idle_w=self.model.idle_w, cap=cap, budget_j=settings.budget_j, horizon_s=settings.horizon_s,
            points=tuple(
                PointRecord(
                    name=point.name, value=point.value, energy_j=self.model.energy_j(k), sd_j=self.model.sd_j(k),
                    latency_s=self.latency_s[k], chosen=int(self.chosen[k]),
                )
                for k, point in enumerate(self.points)
            ),
            values=settings.values, decided="before each event" if self.exits is None else "at each exit",
            knob=None if self.knob is None else self.knob.name,
            provenance=tuple(self.metered.provenance), notes=self.notes(),
            ledger=self.ledger(), power=thinned(self.power, _MOST_SAMPLES), events=tuple(self.events),
            model_hash=self.engine.model_hash, ended=self.ended,
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know."""
        notes = self.metered.notes()
        if self.broken_s is not None:
            notes.append(f"interrupted after {self.broken_s:.1f} s of {self.settings.duration_s:g} s")
        words = self.metered.quality.words()
        if words:
            notes.append(f"readings are {', '.join(words)}")
        cap = self.settings.cap
        if cap is not None and self.model.idle_w > min(power for _, power in cap.steps):
            notes.append(
                "idle power alone is above the cap: no choice here can keep it; raise the cap or lower what idles"
            )
        return tuple(dict.fromkeys(notes))
