# SPDX-License-Identifier: Apache-2.0
"""Starts and ways on, chosen at a price of a joule that follows from a budget for each event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from joulet.policies.points import STOP, WAIT, front, merits, need_j
from joulet.policies.price import Envelope
from joulet.policies.seam import PolicyContext
from joulet.policies.stopping import Way, plan_stopping
from joulet.records import Action, Decision, Observation, OutcomeModel

_PRICES = 48
_Q15 = 32768.0


@dataclass(frozen=True, slots=True)
class Move:
    """A decision, what the store and the deadline must bear for it, and what it earns and costs."""

    decision: Decision
    need_j: float
    time_s: float
    energy_j: float
    gain: float = 0.0


class Moves(Protocol):
    """What to do at the price of the day."""

    def spend(self, budget_j: float) -> None:
        """Set the energy that an event may take in the mean [J]."""

    def start(self, observation: Observation) -> Decision:
        """Answer before a start."""

    def at_exit(self, observation: Observation, exit: int) -> Decision:
        """Answer at an exit."""


class FittedMoves:
    """Moves by the stopping problem of the calibrated model."""

    def __init__(self, context: PolicyContext, outcomes: OutcomeModel) -> None:
        cheapest = front(context)[0]
        dearest = max(cheapest.merit, 0.1) / cheapest.energy_j
        prices = np.concatenate([[0.0], np.geomspace(dearest * 1e-3, dearest, _PRICES - 1)])
        plan = plan_stopping(context, outcomes, prices)
        # from poor to rich, as interpolation wants it
        self._budgets_j, self._order = plan.energy_j[::-1].tolist(), list(range(_PRICES))[::-1]
        self._starts = [[_move(context, way, Action.START) for way in ways] for ways in plan.starts]
        self._moves = [[_move(context, way, Action.CONTINUE) for way in ways] for ways in plan.ways]
        self._onward = plan.onward
        self._node_of = outcomes.node_of
        self._borders = outcomes.borders_q15.tolist()
        self._at = 0

    def spend(self, budget_j: float) -> None:
        """Take the price at which an event costs the budget in the mean."""
        at = bisect_right(self._budgets_j, budget_j)
        self._at = self._order[max(0, at - 1)]

    def start(self, observation: Observation) -> Decision:
        """Best start that can be paid."""
        return _first(self._starts[self._at], observation)

    def at_exit(self, observation: Observation, exit: int) -> Decision:
        """Follow the plan where it can be paid."""
        node = self._node_of[observation.path or 0][exit]
        bin = bisect_right(self._borders[node], observation.confidence_q15 or 0)
        way = self._onward[self._at][node][bin]
        if way < 0:
            return STOP
        move = self._moves[node][way]
        payable = move.need_j <= observation.usable_energy_j and move.time_s <= observation.deadline_left_s
        return move.decision if payable else STOP


def _move(context: PolicyContext, way: Way, action: Action) -> Move:
    return Move(
        Decision(action=action, path=way.path, exit=way.exit), need_j(context, way.energy_j), way.time_s, way.energy_j
    )


class TableMoves:
    """Moves by the accuracy table alone. ``price`` is that of a joule [1/J]; it may be set by whoever knows it better."""

    def __init__(self, context: PolicyContext) -> None:
        self._points = front(context)
        self._envelope = Envelope((point.energy_j, point.merit) for point in self._points)
        merit = merits(context)
        self._ways = [
            [_ways(context, merit, path, exit) for exit in range(context.n_exits)] for path in range(context.n_paths)
        ]
        self._first = {p.path: Decision(action=Action.START, path=p.path, exit=0) for p in self._points}
        self.price = self._envelope.price(0.0)

    def spend(self, budget_j: float) -> None:
        """Take the slope of the envelope at the budget."""
        # at the steepest slope the cheapest point is worth just what it costs: below it, by a hair
        self.price = 0.999 * self._envelope.price(budget_j)

    @property
    def top_price(self) -> float:
        """Price of a joule from which on no way past an exit is worth its joules, whatever the doubt [1/J]."""
        ways = [move for path in self._ways for moves in path for move in moves]
        return max((move.gain / move.energy_j for move in ways if move.energy_j > 0.0), default=0.0)

    def start(self, observation: Observation) -> Decision:
        """Aim at the point that earns most, evaluate every exit on the way."""
        best, chosen = 0.0, None
        for point in self._points:
            if point.need_j > observation.usable_energy_j:
                break
            value = point.merit - self.price * point.energy_j
            if value > best and point.time_s <= observation.deadline_left_s:
                best, chosen = value, point
        if chosen is not None:
            return self._first[chosen.path]
        return _wait(self._points[0].need_j, observation)

    def at_exit(self, observation: Observation, exit: int) -> Decision:
        """Go on where the errors mended are worth the energy."""
        doubt = 1.0 - (observation.confidence_q15 or 0) / _Q15
        best, decision = 0.0, STOP
        for move in self._ways[observation.path or 0][exit]:
            value = doubt * move.gain - self.price * move.energy_j
            if (
                value > best
                and move.need_j <= observation.usable_energy_j
                and move.time_s <= observation.deadline_left_s
            ):
                best, decision = value, move.decision
        return decision


def _ways(context: PolicyContext, merit: Sequence[Sequence[float]], path: int, exit: int) -> list[Move]:
    """Ways on from an exit, each with the share of errors that it mends on calibration data."""
    wrong = max(1.0 - merit[path][exit], 1e-9)
    return [
        Move(
            Decision(action=Action.CONTINUE, path=q, exit=k),
            need_j(context, context.step_j[q][exit + 1][k]),
            context.step_s[q][exit + 1][k],
            context.step_j[q][exit + 1][k],
            max(0.0, (merit[q][k] - merit[path][exit]) / wrong),
        )
        for q in context.switches[path][exit]
        for k in range(exit + 1, context.n_exits)
    ]


def _first(moves: Sequence[Move], observation: Observation) -> Decision:
    for move in moves:
        if move.need_j <= observation.usable_energy_j and move.time_s <= observation.deadline_left_s:
            return move.decision
    return _wait(min(move.need_j for move in moves), observation)


def _wait(least_j: float, observation: Observation) -> Decision:
    short = least_j > observation.usable_energy_j
    return Decision(action=Action.DEFER, wake_j=least_j) if short else WAIT
