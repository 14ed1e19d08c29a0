# SPDX-License-Identifier: Apache-2.0
"""Tabular Q-learning: trained on past days, frozen afterwards; a table of a few hundred bytes.

Source: Watkins and Dayan, "Q-learning" (1992), on the states that energy-harvesting studies use: stored energy, recent
harvest, time of day, backlog. The reward is the calibrated accuracy of an answer that the store could pay for; a missed
event earns 0, which makes the reward the score; a brown-out costs ``fail``. Many lives are led side by side, and learnt
from backwards; targets are averaged where lives meet in a state and action.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulet.policies.harvest import DAY_S, MeanPower
from joulet.policies.points import STOP, WAIT, Point, front, wait_for
from joulet.policies.seam import Experience, PolicyContext, Stretch
from joulet.records import Action, Decision, Observation, OutcomeModel

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

N_ENERGY, N_HARVEST, N_TIME, N_QUEUE = 12, 4, 6, 2
_LANES = 64  # lives side by side
_STEPS = 8_000  # of all lanes together, in one fit
_SHORTEST, _LONGEST = 200, 2200  # events of a life


@dataclass(frozen=True, slots=True, kw_only=True)
class Borders:
    """Where the bins of the table begin: a value lies in bin "number of borders at most it".

    Attributes
    ----------
    energy_j
        ``(11,)`` usable energy [J].
    harvest_w
        ``(3,)`` mean power since the last event [W].
    slot
        ``(5,)`` half-hour of the day.
    backlog
        ``(1,)`` events that wait.
    """

    energy_j: tuple[float, ...]
    harvest_w: tuple[float, ...]
    slot: tuple[int, ...] = (8, 16, 24, 32, 40)
    backlog: tuple[int, ...] = (2,)


class QLearning:
    """Looks a state up in a table of actions.

    Parameters
    ----------
    gamma : float, optional
        Discount of an event, 0..1; None looks as far as five stores last at full depth.
    fail : float
        Loss of a brown-out, in correct answers, 0 or more.
    """

    def __init__(self, gamma: float | None = None, fail: float = 0.5) -> None:
        self.name = "qlearning"
        self._gamma, self._fail = gamma, fail
        self._points: tuple[Point, ...] = ()
        self._learnt: tuple[npt.NDArray[np.int8], Borders] | None = None

    def fit(self, experience: Experience) -> None:
        """Learn the table; deterministic for one seed."""
        points = front(experience.context)
        tape = _Tape(experience)
        borders = _borders(experience.context, tape.power_w)
        gamma = _gamma(experience.context, points) if self._gamma is None else self._gamma
        training = _Training(points, borders, experience)
        length = min(len(tape), max(_SHORTEST, min(_LONGEST, int(1.5 * DAY_S / experience.context.period_s))))
        passes = max(3, _STEPS // length) if length else 0
        for number in range(passes):
            training.live(tape, length, max(0.02, 0.3 * (1.0 - 1.25 * number / passes)), gamma, self._fail)
        actions = training.q[1].argmax(axis=2).astype(np.int8) - 1
        rule = _rule(points, borders, experience.context)[:, :, :, 0].reshape(actions.shape)
        # states nobody came to keep the rule; a backlog was never lived through and acts as none
        table = np.where(training.count[1] > 0.0, actions, rule)
        cube = table.reshape(N_ENERGY, N_HARVEST, N_TIME, 1)
        self._learnt = np.ascontiguousarray(np.repeat(cube, N_QUEUE, axis=3)), borders

    def reset(self, context: PolicyContext) -> None:
        """Take the table learnt, or fill it by the rule: the most accurate point that takes at most a quarter of the bin."""
        self._points = front(context)
        borders = _borders(context, np.empty(0))
        if self._learnt is not None and int(self._learnt[0].max()) < len(self._points):
            cube, borders = self._learnt
        else:
            cube = _rule(self._points, borders, context)
        self._cube, self._borders = cube, borders
        self._actions: list[int] = cube.ravel().tolist()
        self._waits = [Decision(action=Action.DEFER, wake_j=border) for border in borders.energy_j] + [WAIT]
        self._power = MeanPower(0.25 * context.period_s, context.period_s)

    def table(self) -> tuple[npt.NDArray[np.int8], Borders]:
        """Return the table and its borders, after ``reset``.

        Returns
        -------
        actions : array (12, 4, 6, 2) int8
            By energy, harvest, time of day and backlog, the last fastest: state ((e·4 + h)·6 + t)·2 + q. −1 defers,
            else the index of an operating point worth having, cheapest first.
        borders : Borders
            Of each axis.
        """
        return self._cube.copy(), self._borders

    def decide(self, observation: Observation) -> Decision:
        """Look up; a point that the store cannot pay for gives way to a cheaper one."""
        if observation.exit is not None:
            return STOP
        borders, usable_j = self._borders, observation.usable_energy_j
        energy = bisect_right(borders.energy_j, usable_j)
        harvest = bisect_right(borders.harvest_w, self._power.update(observation))
        queue = 0 if observation.backlog < 2 else 1
        action = self._actions[((energy * N_HARVEST + harvest) * N_TIME + observation.slot // 8) * N_QUEUE + queue]
        if action < 0:
            return self._waits[energy]
        for point in self._points[action::-1]:
            if point.need_j <= usable_j and point.time_s <= observation.deadline_left_s:
                return point.start
        return wait_for(self._points[0])


def _gamma(context: PolicyContext, points: tuple[Point, ...]) -> float:
    """Discount that looks as far as five stores last at full depth, in the range in use."""
    return min(max(1.0 - 0.2 * points[-1].energy_j / context.full_j, 0.95), 0.999)


def _borders(context: PolicyContext, power_w: F64) -> Borders:
    """Energy in squares, finer where little is left; harvest by thirds of what was seen above the sleep current."""
    energy_j = tuple(context.full_j * (i / N_ENERGY) ** 2 for i in range(1, N_ENERGY))
    floor_w = context.sleep_w + 0.01 * front(context)[-1].energy_j / context.period_s
    light_w = power_w[power_w > floor_w]
    if len(light_w):
        middle, high = np.quantile(light_w, (1 / 3, 2 / 3)).tolist()
    else:
        high = front(context)[-1].energy_j / context.period_s
        middle = 0.3 * high
    return Borders(energy_j=energy_j, harvest_w=(floor_w, max(middle, floor_w), max(high, floor_w)))


def _rule(points: tuple[Point, ...], borders: Borders, context: PolicyContext) -> npt.NDArray[np.int8]:
    edges_j = [0.0, *borders.energy_j, context.full_j]
    actions = []
    for low_j, high_j in pairwise(edges_j):
        middle_j = 0.5 * (low_j + high_j)
        affordable = [k for k, point in enumerate(points) if 4.0 * point.energy_j <= middle_j]
        # the cheapest point waits for its energy by itself
        actions.append(affordable[-1] if affordable else 0)
    cube = np.empty((N_ENERGY, N_HARVEST, N_TIME, N_QUEUE), np.int8)
    cube[:] = np.asarray(actions, np.int8)[:, None, None, None]
    return cube


class _Tape:
    """Past life as one row of events: energy gained before each, time since the one before, half-hour of the day."""

    def __init__(self, experience: Experience) -> None:
        pieces = [_tape(stretch, experience.context.period_s) for stretch in experience.stretches]
        self.gained_j: F64 = np.concatenate([np.empty(0), *(piece[0] for piece in pieces)])
        self.passed_s: F64 = np.concatenate([np.empty(0), *(piece[1] for piece in pieces)])
        self.slot: I64 = np.concatenate([np.empty(0, np.int64), *(piece[2] for piece in pieces)])
        self.power_w = self.gained_j / np.maximum(self.passed_s, 1e-12)

    def __len__(self) -> int:
        return len(self.slot)


def _tape(stretch: Stretch, period_s: float) -> tuple[F64, F64, I64]:
    power_w = np.asarray(stretch.power_w, np.float64)
    grid_s = np.arange(len(power_w) + 1) * stretch.step_s
    delivered_j = np.concatenate([[0.0], np.cumsum(power_w * stretch.step_s)])
    event_s = stretch.event_s if len(stretch.event_s) else np.arange(0.0, grid_s[-1], period_s)
    gained_j = np.diff(np.interp(event_s, grid_s, delivered_j))
    slot = ((stretch.start_s + event_s[1:]) % DAY_S // 1800.0).astype(np.int64)
    return gained_j, np.diff(event_s), slot


def _earned(points: tuple[Point, ...], outcomes: OutcomeModel) -> F64:
    """Return P(correct) of each point by the calibrated model."""
    nodes = [outcomes.node_of[point.path][point.exit] for point in points]
    return np.array([float(outcomes.start[node] @ outcomes.accuracy[node]) for node in nodes])


class _Training:
    """Values of (powered, energy, harvest, time, action), the first action being to defer; backlog is left out.

    The harvest is sampled, so this is learning; what an action spends and earns is known, so at each event all actions
    are tried from the same store, and their differences do not drown in where within its bin the store stood. Between
    the middles of energy bins values are interpolated. A second set of states stands for the board without power.
    """

    def __init__(self, points: tuple[Point, ...], borders: Borders, experience: Experience) -> None:
        self._context, self._borders = experience.context, borders
        self._rng = np.random.default_rng(experience.seed)
        self._spend_j = np.array([0.0, *(point.energy_j for point in points)])
        self._earned = np.array([0.0, *_earned(points, experience.outcomes)])
        edges_j = np.array([0.0, *borders.energy_j, experience.context.full_j])
        self._middles_j = 0.5 * (edges_j[1:] + edges_j[:-1])
        # powered or not, energy, harvest × time, action
        self.q = np.zeros((2, N_ENERGY, N_HARVEST * N_TIME, len(points) + 1))
        self.best, self.count = np.zeros(self.q.shape[:3]), np.zeros(self.q.shape[:3])

    def live(self, tape: _Tape, length: int, epsilon: float, gamma: float, fail: float) -> None:
        """Live through so many events from evenly spread places of the tape, from stores filled at random."""
        at = (np.arange(_LANES) * len(tape) // _LANES + int(self._rng.integers(len(tape)))) % len(tape)
        usable_j, on = self._rng.uniform(0.0, 1.0, _LANES) * self._context.full_j, np.ones(_LANES, bool)
        rows = np.searchsorted(self._borders.harvest_w, tape.power_w, side="right") * N_TIME + tape.slot // 8
        lived = []
        for _ in range(length):
            row = rows[at]
            energy = np.searchsorted(self._borders.energy_j, usable_j, side="right")
            lived.append((usable_j, on, energy, row, at))
            explore = self._rng.random(_LANES) < epsilon
            best = self.q[1, energy, row].argmax(axis=1)
            spend_j = self._spend_j[np.where(explore, self._rng.integers(0, self.q.shape[3], _LANES), best)]
            usable_j = usable_j - np.where(on & (spend_j <= usable_j), spend_j, 0.0)
            at = (at + 1) % len(tape)
            usable_j, on, _ = self._gain(usable_j, on, tape.gained_j[at], tape.passed_s[at])
        # learnt from backwards: what a night was worth reaches the evening before in one go
        for usable_j, on, energy, row, at in lived[::-1]:
            after = (at + 1) % len(tape)
            paid = on[:, None] & (self._spend_j <= usable_j[:, None])
            left_j = usable_j[:, None] - paid * self._spend_j
            next_j, still, failed = self._gain(
                left_j, on[:, None], tape.gained_j[after][:, None], tape.passed_s[after][:, None]
            )
            value = self._value(next_j, still, rows[after][:, None])
            self._update(on, energy, row, self._earned * paid - fail * failed + gamma * value)

    def _gain(self, usable_j: F64, on: Bools, gained_j: F64, passed_s: F64) -> tuple[F64, Bools, Bools]:
        """Let time pass up to the next event; return energy, power, and where a board that was on browned out."""
        context = self._context
        energy_j = usable_j + gained_j - np.where(on, context.sleep_w * passed_s, 0.0)
        if context.leak_tau_s < math.inf:
            energy_j = (energy_j + context.off_j) * np.exp(-passed_s / context.leak_tau_s) - context.off_j
        energy_j = np.clip(energy_j, -context.off_j, context.full_j)
        failed = on & (energy_j <= 0.0)
        return energy_j, np.where(on, ~failed, (energy_j >= context.on_j) & (energy_j > 0.0)), failed

    def _value(self, usable_j: F64, on: Bools, row: I64) -> F64:
        """Best value, linear between the middles of energy bins."""
        best = self.best
        place = np.interp(usable_j, self._middles_j, np.arange(float(N_ENERGY)))
        low = np.minimum(place.astype(np.int64), N_ENERGY - 2)
        power, share = on.astype(np.int64), place - low
        return np.asarray((1.0 - share) * best[power, low, row] + share * best[power, low + 1, row])

    def _update(self, on: Bools, energy: I64, row: I64, target: F64) -> None:
        """Move each state towards the mean of its targets; the step falls with the times it was met, to 1/50."""
        q, count = self.q.reshape(-1, self.q.shape[3]), self.count.reshape(-1)
        state = (on * N_ENERGY + energy) * (N_HARVEST * N_TIME) + row
        times = np.bincount(state, minlength=len(q))
        met = np.flatnonzero(times)
        mean = np.stack([np.bincount(state, column, len(q)) for column in target.T], axis=1)[met] / times[met, None]
        count[met] += 1.0
        q[met] += np.maximum(0.02, 1.0 / count[met])[:, None] * (mean - q[met])
        self.best.reshape(-1)[met] = q[met].max(axis=1)
