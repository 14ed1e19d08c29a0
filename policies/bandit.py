# SPDX-License-Identifier: Apache-2.0
"""Bandits: which operating point, or which confidence threshold, pays best, learnt while running.

Sources: LinUCB, Li, Chu, Langford, Schapire, "A contextual-bandit approach to personalized news article recommendation"
(WWW 2010); UCB-V, Audibert, Munos, Szepesvári, "Exploration-exploitation tradeoff using variance estimates in
multi-armed bandits" (2009); bandits over exits with confidence as the reward, Pacheco et al. (UCBEE).

Both earn the confidence of the answer (calibrated accuracy at the last exit, where nobody asks), less the price of the
joules spent, less ``mu`` for an inference that a power failure took. A bandit is myopic and does not price future energy,
so the price comes from elsewhere: the slope of the concave envelope of operating points at the budget of
:mod:`joulet.policies.planning`. The price of an arm is known, so only what it earns is learnt. Nothing here is random: the
bonus explores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulet.policies.fixed import full_path
from joulet.policies.harvest import MeanPower
from joulet.policies.points import STOP, WAIT, Point, constant_paths, front, make_point, merits, need_j, wait_for
from joulet.policies.price import PlannedPrice
from joulet.policies.rehearsal import Rehearsal
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Action, Decision, Observation

_TRAINING_EVENTS = 10_000
_Q15 = 32768.0
_FEATURES = 8
_SLOW_PERIODS = 20.0  # of the slow mean power


class LinUcb:
    """An arm for each operating point worth having; its reward is linear in what is seen before the start.

    Features: 1, E/E_full, recent and slow mean power over that of the dearest arm, backlog, last confidence, sine and
    cosine of the time of day. Ridge 1 about the prior "earns its calibrated accuracy, whatever is seen".

    Parameters
    ----------
    name : str
        The spec it was made from.
    explore : float
        α, width of the confidence bound, 0 or more.
    mu : float
        Loss of a power failure, 0 or more.
    """

    def __init__(self, name: str = "bandit", *, explore: float = 0.2, mu: float = 1.0) -> None:
        self.name = name
        self._explore, self._mu = explore, mu
        self._price = PlannedPrice()
        self._points: tuple[Point, ...] = ()
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def fit(self, experience: Experience) -> None:
        """Live through past days once, and begin each run with what was learnt."""
        self._kept = None
        self._price.fit(experience)
        Rehearsal(experience, _TRAINING_EVENTS).run(self)
        self._kept = self._inverse.copy(), self._b.copy()

    def reset(self, context: PolicyContext) -> None:
        """Begin with what ``fit`` learnt, or with the prior."""
        self._points = front(context)
        n = len(self._points)
        self._merit = [point.merit for point in self._points]
        # A⁻¹ of each arm, and θ below it: one product with x gives both what is needed of them
        self._models = np.zeros((n, _FEATURES + 1, _FEATURES))
        self._flat = self._models.reshape(-1, _FEATURES)
        self._inverse, self._theta = self._models[:, :_FEATURES], self._models[:, _FEATURES]
        self._b = np.zeros((n, _FEATURES))
        if self._kept is not None and len(self._kept[1]) == n:
            self._inverse[:], self._b[:] = self._kept
        else:
            self._inverse[:] = np.eye(_FEATURES)
            self._b[:, 0] = self._merit
        self._theta[:] = np.einsum("kij,kj->ki", self._inverse, self._b)
        self._price.reset(context)
        self._power = MeanPower(0.25 * context.period_s, _SLOW_PERIODS * context.period_s)
        self._per_w = context.period_s / self._points[-1].energy_j
        self._x = np.zeros(_FEATURES)
        self._x[0] = 1.0
        self._last_exit = context.n_exits - 1
        self._confidence = 0.0
        self._pending = -1  # the arm that runs

    def decide(self, observation: Observation) -> Decision:
        """Learn from what ended; start the arm with the best bound less its price.

        No event that can be paid for is left out: a later one is worth no more.
        """
        if observation.exit is not None:
            if self._pending >= 0:
                self._learn((observation.confidence_q15 or 0) / _Q15)
            return STOP
        if self._pending >= 0:
            # nobody asked: it ended at the last exit, or a power failure took it
            at_end = self._points[self._pending].exit == self._last_exit
            self._learn(self._merit[self._pending] if at_end else -self._mu)
        x = self._look(observation)
        seen = (self._flat @ x).reshape(-1, _FEATURES + 1)
        width, bound = seen[:, :_FEATURES], seen[:, _FEATURES].tolist()
        spread = (width @ x).tolist()
        usable_j = observation.usable_energy_j
        price = self._price.update(observation)
        best, arm = -math.inf, -1
        for k, point in enumerate(self._points):
            if point.need_j > usable_j:
                break
            value = bound[k] + self._explore * math.sqrt(max(spread[k], 0.0)) - price * point.energy_j
            if value > best and point.time_s <= observation.deadline_left_s:
                best, arm = value, k
        if arm < 0:
            cheapest = self._points[0]
            return wait_for(cheapest) if cheapest.need_j > usable_j else WAIT
        self._pending, self._width = arm, width[arm]
        self._used = x.copy()
        return self._points[arm].start

    def _look(self, observation: Observation) -> np.ndarray:
        recent_w = self._power.update(observation)
        angle = observation.slot * (math.pi / 24.0)
        x = self._x
        x[1] = observation.usable_energy_j / observation.full_energy_j
        x[2] = min(recent_w * self._per_w, 2.0)
        x[3] = min(self._power.slow_w * self._per_w, 2.0)
        x[4] = observation.backlog - 1.0
        x[5] = self._confidence
        x[6] = math.sin(angle)
        x[7] = math.cos(angle)
        return x

    def _learn(self, earned: float) -> None:
        """Sherman and Morrison's update of one arm."""
        k, x, width = self._pending, self._used, self._width
        self._pending = -1
        self._confidence = max(earned, 0.0)
        inverse = self._inverse[k]
        inverse -= (width / (1.0 + float(width @ x)))[:, None] * width
        self._b[k] += earned * x
        self._theta[k] = inverse @ self._b[k]


@dataclass(slots=True)
class _Arm:
    """Count, mean and sum of squared deviations of what a threshold earned, mean energy that it took [J]."""

    n: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    energy_j: float = 0.0

    def add(self, earned: float, energy_j: float) -> None:
        self.n += 1.0
        away = earned - self.mean
        self.mean += away / self.n
        self.squares += away * (earned - self.mean)
        self.energy_j += (energy_j - self.energy_j) / self.n

    def bound(self, log_t: float, price: float) -> float:
        """UCB-V of what it earns, in an interval of length 1, less what its energy costs now."""
        n = self.n
        if n == 0.0:
            return math.inf
        known = self.mean - price * self.energy_j
        return known + math.sqrt(2.0 * self.squares * log_t) / n + 3.0 * log_t / n


class UcbV:
    """An arm for each confidence threshold, apart for each quarter of the store; go on while confidence is below it.

    The path is that of ``linear``: the full one with half a store or more, below it the cheapest.

    Parameters
    ----------
    explore : float
        ζ, factor on ln t in the bound, more than 0.
    mu : float
        Loss of a power failure, 0 or more.
    """

    THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.01)
    QUARTERS = 4

    def __init__(self, explore: float = 0.02, mu: float = 1.0) -> None:
        self.name = "bandit:ucbv"
        self._explore, self._mu = explore, mu
        self._price = PlannedPrice()
        self._context: PolicyContext | None = None
        self._arms: list[list[_Arm]] = []
        self._kept: list[list[tuple[float, float, float, float]]] | None = None

    def fit(self, experience: Experience) -> None:
        """Live through past days once, and begin each run with what was learnt."""
        self._kept = None
        self._price.fit(experience)
        Rehearsal(experience, _TRAINING_EVENTS).run(self)
        self._kept = [[(arm.n, arm.mean, arm.squares, arm.energy_j) for arm in arms] for arms in self._arms]

    def reset(self, context: PolicyContext) -> None:
        """Begin with what ``fit`` learnt, or with nothing."""
        self._context = context
        blank = [[(0.0, 0.0, 0.0, 0.0)] * len(self.THRESHOLDS)] * self.QUARTERS
        self._arms = [[_Arm(*figures) for figures in row] for row in self._kept or blank]
        last = context.n_exits - 1
        poor = min(constant_paths(context), key=lambda p: context.energy_j(p, last))
        self._rich, self._poor = full_path(context), poor
        self._first = {path: make_point(context, path, 0) for path in (self._rich, self._poor)}
        self._merit = merits(context)
        self._price.reset(context)
        self._running: _Arm | None = None
        self._path, self._next = 0, 0  # the path that runs and the exit it will reach
        self._threshold = 0.0

    def decide(self, observation: Observation) -> Decision:
        """Before a start pick a threshold; at an exit hold the confidence against it."""
        context = self._context
        assert context is not None
        if observation.exit is not None:
            return self._at_exit(observation, observation.exit, context)
        if self._running is not None:
            at_end = self._next == context.n_exits - 1
            self._learn(context, self._merit[self._path][self._next] if at_end else -self._mu, self._next)
        price = self._price.update(observation)
        usable_j = observation.usable_energy_j
        share = usable_j / observation.full_energy_j
        path = self._rich if share >= 0.5 else self._poor
        if self._first[path].need_j > usable_j:
            path = self._poor
        first = self._first[path]
        if first.need_j > usable_j:
            return wait_for(first)
        if first.time_s > observation.deadline_left_s:
            return WAIT
        arms = self._arms[min(int(share * self.QUARTERS), self.QUARTERS - 1)]
        log_t = self._explore * math.log(1.0 + sum(arm.n for arm in arms))
        bounds = [arm.bound(log_t, price) for arm in arms]
        chosen = bounds.index(max(bounds))
        self._running, self._threshold = arms[chosen], self.THRESHOLDS[chosen]
        self._path, self._next = path, 0
        return first.start

    def _at_exit(self, observation: Observation, exit: int, context: PolicyContext) -> Decision:
        confidence = (observation.confidence_q15 or 0) / _Q15
        path = observation.path or 0
        if exit < context.n_exits - 1 and confidence < self._threshold:
            need = need_j(context, context.step_j[path][exit + 1][exit + 1])
            late = context.step_s[path][exit + 1][exit + 1] > observation.deadline_left_s
            if need <= observation.usable_energy_j and not late:
                self._path, self._next = path, exit + 1
                return Decision(action=Action.CONTINUE)
        if self._running is not None:
            self._learn(context, confidence, exit)
        return STOP

    def _learn(self, context: PolicyContext, earned: float, exit: int) -> None:
        if self._running is not None:
            self._running.add(earned, context.energy_j(self._path, exit))
        self._running = None
