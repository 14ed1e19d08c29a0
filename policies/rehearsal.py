# SPDX-License-Identifier: Apache-2.0
"""Lets a policy live through past days before its first run: a small model of the board, for fitting and tuning only.

Coarser than a simulation: the store advances from event to event, leakage and brown-outs are looked at there, nothing is
converted, and outcomes are drawn from the calibrated model. Scores of a rehearsal are never reported.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from joulet.policies.harvest import DAY_S
from joulet.policies.seam import Experience, Policy, PolicyContext, Stretch
from joulet.records import Action, Decision, Observation, OutcomeModel

_TRIES = 4  # questions about one event that waits


@dataclass(frozen=True, slots=True)
class _Piece:
    """A day of a stretch, or all of a shorter one: cumulative energy on a grid, events, time of day of its start."""

    step_s: float
    delivered_j: list[float]
    event_s: list[float]
    start_s: float

    @property
    def end_s(self) -> float:
        return self.step_s * (len(self.delivered_j) - 1)

    def at_j(self, time_s: float) -> float:
        """Energy delivered from the start of the piece to a time [J]."""
        place = min(max(time_s / self.step_s, 0.0), len(self.delivered_j) - 1.0)
        index = min(int(place), len(self.delivered_j) - 2)
        before_j = self.delivered_j[index]
        return before_j + (place - index) * (self.delivered_j[index + 1] - before_j)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalResult:
    """What a rehearsal came to: ``expected`` sums P(correct) of answers on time; ``failures`` counts brown-outs."""

    arrived: int
    expected: float
    failures: int

    @property
    def score(self) -> float:
        """Expected share of events answered right and on time, 0..1."""
        return self.expected / self.arrived if self.arrived else 0.0


class Rehearsal:
    """Past life, cut to a number of events that is affordable.

    Parameters
    ----------
    experience : Experience
        Stretches, outcomes and costs.
    most_events : int
        Whole days, or stretches, are picked evenly until about so many events are in.
    """

    def __init__(self, experience: Experience, most_events: int = 20_000) -> None:
        self._context, self._outcomes, self._seed = experience.context, experience.outcomes, experience.seed
        pieces = [piece for stretch in experience.stretches for piece in _pieces(stretch, self._context.period_s)]
        events = sum(len(piece.event_s) for piece in pieces)
        keep = max(1, min(len(pieces), round(len(pieces) * most_events / max(events, 1))))
        self._pieces = [pieces[i * len(pieces) // keep] for i in range(keep)] if pieces else []
        self._rows = _cumulative(self._outcomes)

    def run(self, policy: Policy) -> RehearsalResult:
        """Reset a policy and let it live; the same seed gives the same outcomes to every policy that asks alike."""
        policy.reset(self._context)
        life = _Life(policy, self._context, self._outcomes, self._rows, np.random.default_rng(self._seed))
        for piece in self._pieces:
            life.through(piece)
        return RehearsalResult(arrived=life.arrived, expected=life.expected, failures=life.failures)

    def best(self, candidates: Sequence[Policy]) -> int:
        """Return the index of the policy with the best score, the first of equals."""
        scores = [self.run(policy).expected for policy in candidates]
        return scores.index(max(scores))


def _pieces(stretch: Stretch, period_s: float) -> Iterator[_Piece]:
    power_w = np.asarray(stretch.power_w, np.float64)
    n, step_s = len(power_w), stretch.step_s
    if n == 0:
        return
    event_s = stretch.event_s if len(stretch.event_s) else np.arange(0.0, n * step_s, period_s)
    size = max(1, round(DAY_S / step_s))
    # the rest of a day at the end stays with the last one
    cuts = [*range(0, max(n - size // 2, 1), size), n]
    for first, last in pairwise(cuts):
        delivered_j = np.concatenate([[0.0], np.cumsum(power_w[first:last] * step_s)])
        inside = event_s[(event_s >= first * step_s) & (event_s < last * step_s)] - first * step_s
        yield _Piece(step_s, delivered_j.tolist(), inside.tolist(), (stretch.start_s + first * step_s) % DAY_S)


Rows = dict[tuple[int, int], list[list[float]]]


def _cumulative(outcomes: OutcomeModel) -> Rows:
    """Cumulative distribution over bins of each (from, to) node, one row for each bin at the beginning."""
    rows: Rows = {(-1, node): [np.cumsum(p).tolist()] for node, p in enumerate(outcomes.start)}
    for (begin, end), table in zip(outcomes.links.tolist(), outcomes.transition, strict=True):
        if begin >= 0:
            rows[begin, end] = np.cumsum(table, axis=1).tolist()
    return rows


class _Life:
    """The board, as far as a rehearsal knows it."""

    def __init__(
        self, policy: Policy, context: PolicyContext, outcomes: OutcomeModel, rows: Rows, rng: np.random.Generator
    ) -> None:
        self._policy, self._context, self._rows = policy, context, rows
        self._node_of = outcomes.node_of
        self._confidence, self._accuracy = outcomes.confidence_q15.tolist(), outcomes.accuracy.tolist()
        self._rng = rng
        self._draws: Iterator[float] = iter(())
        self._base_s = self._base_j = self._now_s = 0.0
        self._usable_j, self._powered = context.on_j, True
        self._harvest_w = 0.0
        self._piece = _Piece(1.0, [0.0, 0.0], [], 0.0)
        self.arrived = self.failures = 0
        self.expected = 0.0

    def through(self, piece: _Piece) -> None:
        """Live through a piece; time goes on where the last one ended."""
        self._base_s += self._piece.end_s
        self._base_j += self._piece.delivered_j[-1]
        self._piece, self._now_s = piece, 0.0
        for arrival_s in piece.event_s:
            self.arrived += 1
            self._advance(arrival_s)
            if self._powered and self._now_s <= arrival_s + self._context.deadline_s:
                self._serve(arrival_s)
        self._advance(piece.end_s)

    def _advance(self, until_s: float) -> None:
        passed_s = until_s - self._now_s
        if passed_s <= 0.0:
            return
        context = self._context
        gained_j = self._piece.at_j(until_s) - self._piece.at_j(self._now_s)
        self._now_s, self._harvest_w = until_s, gained_j / passed_s
        energy_j = self._usable_j + gained_j - (context.sleep_w * passed_s if self._powered else 0.0)
        if context.leak_tau_s < math.inf:
            energy_j = (energy_j + context.off_j) * math.exp(-passed_s / context.leak_tau_s) - context.off_j
        self._usable_j = min(max(energy_j, -context.off_j), context.full_j)
        if self._usable_j <= 0.0:
            self._fail()
        elif not self._powered and self._usable_j >= context.on_j:
            self._powered = True

    def _fail(self) -> None:
        self.failures += self._powered
        self._powered = False

    def _ask(self, arrival_s: float, path: int | None, exit: int | None, confidence_q15: int | None) -> Decision:
        self._usable_j -= self._context.decision_j
        time_s = self._base_s + self._now_s
        share = max(self._usable_j, 0.0) / self._context.full_j
        low, high = self._context.off_v**2, self._context.max_v**2
        return self._policy.decide(
            Observation(
                time_s=time_s,
                slot=int((self._piece.start_s + self._now_s) % DAY_S // 1800.0),
                store_voltage_v=math.sqrt(low + share * (high - low)),
                usable_energy_j=max(self._usable_j, 0.0),
                full_energy_j=self._context.full_j,
                harvest_power_w=self._harvest_w,
                backlog=1,
                deadline_left_s=arrival_s + self._context.deadline_s - self._now_s,
                path=path,
                exit=exit,
                confidence_q15=confidence_q15,
                delivered_j=self._base_j + self._piece.at_j(self._now_s),
            )
        )

    def _serve(self, arrival_s: float) -> None:
        context, wake_j = self._context, None
        for _ in range(_TRIES):
            if wake_j is None or self._usable_j >= min(wake_j, 0.999 * context.full_j):
                decision = self._ask(arrival_s, None, None, None)
                if decision.action is Action.OFF:
                    return
                wake_j = decision.wake_j
                if decision.action is Action.START:
                    path, exit = decision.path or 0, decision.exit or 0
                    wake_j = context.step_j[path][0][exit]
                    if self._usable_j >= wake_j:
                        self._infer(arrival_s, path, exit)
                        return
            self._advance(self._now_s + context.deadline_s / _TRIES)
            if not self._powered or self._now_s > arrival_s + context.deadline_s:
                return

    def _infer(self, arrival_s: float, path: int, exit: int) -> None:
        context, reached, node, bin, worth = self._context, -1, -1, 0, 0.0
        while True:
            self._advance(self._now_s + context.step_s[path][reached + 1][exit])
            self._usable_j -= context.step_j[path][reached + 1][exit]
            if self._usable_j < 0.0 or not self._powered:
                self._fail()
                break
            node, bin = self._draw(node, bin, self._node_of[path][exit])
            reached = exit
            worth = self._accuracy[node][bin] if self._now_s <= arrival_s + context.deadline_s else 0.0
            if reached == context.n_exits - 1:
                break
            decision = self._ask(arrival_s, path, reached, self._confidence[node][bin])
            if decision.action is Action.STOP:
                break
            path = path if decision.path is None else decision.path
            exit = reached + 1 if decision.exit is None else decision.exit
        self.expected += worth

    def _draw(self, node: int, bin: int, onto: int) -> tuple[int, int]:
        rows = self._rows.get((node, onto))
        row = self._rows[-1, onto][0] if rows is None else rows[bin if node >= 0 else 0]
        draw = next(self._draws, None)
        if draw is None:
            self._draws = iter(self._rng.random(4096).tolist())
            draw = next(self._draws)
        return onto, min(bisect_right(row, draw), len(row) - 1)
