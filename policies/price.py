# SPDX-License-Identifier: Apache-2.0
"""The price of a joule from a budget: slopes of the concave envelope of (energy, accuracy)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

from joulet.policies.planning import SpendingPlan
from joulet.policies.points import front
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Observation


class Envelope:
    """Upper concave hull of the points and of doing nothing, and its slope as a continuous function of the budget.

    Between two vertices the slope is the hull's at the middle of the edge and linear in between, so that a little more
    to spend is a little cheaper; it is 0 from the last vertex on.

    Parameters
    ----------
    points : iterable of (float, float)
        Energy [J] and merit of each point, 0..1.
    """

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        hull = [(0.0, 0.0)]
        for energy, merit in sorted(points):
            if merit <= hull[-1][1]:
                continue
            while len(hull) > 1 and _turns_up(hull[-2], hull[-1], (energy, merit)):
                hull.pop()
            hull.append((energy, merit))
        self.vertices = tuple(hull)
        self._middles = [(a[0] + b[0]) / 2.0 for a, b in pairwise(hull)]
        self._slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(hull)]
        self._middles.append(hull[-1][0])
        self._slopes.append(0.0)

    def price(self, budget_j: float) -> float:
        """Return what one more joule brings at a budget for each event [1/J]."""
        at = bisect_right(self._middles, budget_j)
        if at == 0:
            return self._slopes[0]
        if at == len(self._middles):
            return 0.0
        share = (budget_j - self._middles[at - 1]) / (self._middles[at] - self._middles[at - 1])
        return self._slopes[at - 1] + share * (self._slopes[at] - self._slopes[at - 1])


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


class PlannedPrice:
    """The slope of the envelope of operating points at the budget of the plan."""

    def __init__(self) -> None:
        self._plan = SpendingPlan()
        self._envelope = Envelope([])
        self._price = 0.0

    def fit(self, experience: Experience) -> None:
        """Give the plan its past."""
        self._plan.fit(experience)

    def reset(self, context: PolicyContext) -> None:
        """Forget the run."""
        self._plan.reset(context)
        self._envelope = Envelope((point.energy_j, point.merit) for point in front(context))
        self._price = 0.0

    def update(self, observation: Observation) -> float:
        """Take an observation before a start; return the price [1/J]."""
        if self._plan.update(observation):
            self._price = self._envelope.price(self._plan.budget_j)
        return self._price
