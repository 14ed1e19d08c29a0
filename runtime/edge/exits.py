# SPDX-License-Identifier: Apache-2.0
"""At each exit: answer, or go on? The rule of the boards' policies, at energies that the meter has taught.

:class:`joulet.policies.moves.TableMoves` goes on where the errors that it mends are worth their joules. The price of a joule
is where the table of accuracies puts it for what an event may take in the mean, times a factor: an integral of what events took
against what they might. It is slow against single events, which stop early or late by their own nature, and leaves room in the
window of a cap, so that a doubtful event after several others is not cut short for want of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.edge.controller import Limits
from joulet.edge.model import PowerModel
from joulet.edge.points import Point
from joulet.engine.seam import Array, SteppedEngine
from joulet.policies.moves import TableMoves
from joulet.policies.seam import PolicyContext, make_context
from joulet.records import Action, CostTable, Observation

_INTEGRAL = 0.05  # by which the price's logarithm moves where an event takes nothing, or twice what it may
_SPARE, _MOST_SPARE = (
    2.0,
    0.1,
)  # room left in a window: inferences at the dearest point, and share of the window, at most
_LEAST = 0.003  # of the price from which on nothing goes on: here nearly every doubt is worth its joules
_WEIGHT = 0.3  # of a new time in the mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reached:
    """Where an inference ended, and its answer."""

    point: int
    output: Array
    confidence_q15: int


class ExitRule:
    """Carries an inference from exit to exit.

    Parameters
    ----------
    engine : SteppedEngine
        What computes.
    table : CostTable
        Cycles of the way from exit to exit, of which only ratios are used, and accuracies.
    points : sequence of Point
        Every exit of every path that may be taken, at every level of a knob.
    model : PowerModel
        What they cost.
    window : float
        Events in the window of a cap; infinite without one.
    """

    def __init__(
        self, engine: SteppedEngine, table: CostTable, points: Sequence[Point], model: PowerModel, window: float
    ) -> None:
        self._window = window
        self._engine, self._points, self._model = engine, points, model
        self._plan = make_context(
            _only(table, tuple(dict.fromkeys(point.path for point in points))),
            clock_hz=1.0, energy_j_per_cycle=1.0, wake_cycles=0, store_v=(0.0, 0.0, 0.0), full_j=float("inf"),
            period_s=1.0, deadline_s=1.0,
        )  # fmt: skip
        self._names = self._plan.path_names
        self._at = {(point.path, point.exit, point.level): k for k, point in enumerate(points)}
        self._moves: dict[int, TableMoves] = {}
        self._cycle_s: dict[int, float] = {}
        self._factor = 1.0

    def learnt(self) -> None:
        """The model has changed."""
        self._moves.clear()

    def answer(self, inputs: Sequence[Array], point: int, limits: Limits, left_s: float) -> Reached:
        """Run one inference.

        Parameters
        ----------
        inputs
            One sample an input of the model, without a batch's axis.
        point
            Whose level is set; its path is taken where the rule can pay for none.
        limits
            What the inference may take above idle power [J].
        left_s
            Until the event's deadline [s].
        """
        level = self._points[point].level
        moves = self._moves_at(level, limits.mean_j)
        seen = Observation(
            time_s=0.0, slot=0, store_voltage_v=0.0, usable_energy_j=limits.most_j, full_energy_j=float("inf"),
            harvest_power_w=0.0, backlog=1, deadline_left_s=left_s,
        )  # fmt: skip
        first = moves.start(seen)
        path = self._names.index(self._points[point].path)
        if first.action is Action.START and first.path is not None:
            path = first.path
        path, exit, confidence_q15 = self._walk(inputs, path, moves, seen, level)
        ended = self._at[self._names[path], exit, level]
        self._account(self._model.energy_j(ended), limits.mean_j)
        return Reached(point=ended, output=self._engine.answer(), confidence_q15=confidence_q15)

    def took(self, point: int, seconds: float) -> None:
        """An inference that ended at a point took so long."""
        level = self._points[point].level
        path, exit = self._names.index(self._points[point].path), self._points[point].exit
        cycle_s = seconds / self._plan.step_s[path][0][exit]
        before = self._cycle_s.get(level, cycle_s)
        self._cycle_s[level] = before + _WEIGHT * (cycle_s - before)

    def _walk(
        self, inputs: Sequence[Array], path: int, moves: TableMoves, seen: Observation, level: int
    ) -> tuple[int, int, int]:
        """Go from exit to exit; return path, exit and confidence where it ended."""
        engine_paths = self._engine.path_names
        self._engine.start(inputs, engine_paths.index(self._names[path]))
        exit = 0
        while True:
            reached = self._engine.run_to_exit(exit)
            spent_j = self._model.energy_j(self._at[self._names[path], exit, level])
            spent_s = self._plan.step_s[path][0][exit] * self._cycle_s.get(level, 0.0)
            decision = moves.at_exit(
                replace(
                    seen, path=path, exit=exit, confidence_q15=reached.confidence_q15, spent_j=spent_j,
                    usable_energy_j=seen.usable_energy_j - spent_j, deadline_left_s=seen.deadline_left_s - spent_s,
                ),
                exit,
            )  # fmt: skip
            if decision.action is not Action.CONTINUE or decision.exit is None:
                return path, exit, reached.confidence_q15
            if decision.path is not None and decision.path != path:
                path = decision.path
                self._engine.switch(engine_paths.index(self._names[path]))
            exit = decision.exit

    def _account(self, took_j: float, mean_j: float) -> None:
        """Move the price after an event that took so much of what it might in the mean [J]."""
        dearest_j = max(self._model.energy_j(k) for k in range(len(self._points)))
        may_j = mean_j - min(_SPARE * dearest_j / self._window, _MOST_SPARE * mean_j)
        over = 1.0 if may_j <= 0.0 else min(took_j / may_j - 1.0, 1.0 / _INTEGRAL)
        self._factor *= math.exp(_INTEGRAL * over)

    def _moves_at(self, level: int, mean_j: float) -> TableMoves:
        """Return the rule at a level of the knob, at today's energies, times and price."""
        if level not in self._moves:
            self._moves[level] = TableMoves(self._context(level))
        moves = self._moves[level]
        moves.spend(mean_j)
        least, most = _LEAST * moves.top_price, moves.top_price
        table = min(max(moves.price, least), most)
        moves.price = min(max(table * self._factor, least), most)
        self._factor = moves.price / table if table > 0.0 else 1.0  # no further than what has an effect
        return moves

    def _context(self, level: int) -> PolicyContext:
        plan, cycle_s = self._plan, self._cycle_s.get(level, 0.0)

        def learnt_j(path: int, start: int, exit: int) -> float:
            whole_j = self._model.energy_j(self._at[self._names[path], exit, level])
            return whole_j * plan.step_j[path][start][exit] / plan.step_j[path][0][exit]

        n_exits = plan.n_exits
        return replace(
            plan,
            step_j=tuple(
                tuple(tuple(learnt_j(path, start, exit) for exit in range(n_exits)) for start in range(n_exits))
                for path in range(plan.n_paths)
            ),
            step_s=tuple(
                tuple(tuple(each * cycle_s if np.isfinite(each) else each for each in row) for row in rows)
                for rows in plan.step_s
            ),
        )


def can_decide(table: CostTable, points: Sequence[Point]) -> bool:
    """Return whether a rule has something to decide: several exits, all accuracies known, and no exit left out."""
    paths = dict.fromkeys(point.path for point in points)
    n_exits = len(table.exit_names)
    levels = len({point.level for point in points})
    known = all(all(table.accuracy[table.path_names.index(path)]) for path in paths)
    return n_exits > 1 and known and len(points) == len(paths) * n_exits * levels


def _only(table: CostTable, names: tuple[str, ...]) -> CostTable:
    """Return a table of some paths."""
    rows = [table.path_names.index(name) for name in names]
    return replace(
        table,
        path_names=names,
        steps=tuple(table.steps[row] for row in rows),
        prefixes=tuple(table.prefixes[row] for row in rows),
        accuracy=tuple(table.accuracy[row] for row in rows),
    )
