# SPDX-License-Identifier: Apache-2.0
"""Which operating point next: the most value for the energy that a cap or a budget leaves, on the hull of all points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulet.edge.model import PowerModel
from joulet.edge.points import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the next slot may take.

    Attributes
    ----------
    mean_j
        On average, from here on [J].
    most_j
        This one, so that no window and no budget is passed [J].
    """

    mean_j: float
    most_j: float


class Controller:
    """Chooses points so that their mean energy follows what it may be.

    Energy against value has a convex hull; the best mix that costs ``mean_j`` on average is of its two corners on either side,
    and which of them comes next is a first-order delta-sigma. None of the points (an event goes unanswered) is a corner too.

    Parameters
    ----------
    points : sequence of Point
        All there are.
    model : PowerModel
        What they cost; read at every choice.
    """

    def __init__(self, points: Sequence[Point], model: PowerModel) -> None:
        self._points, self._model = points, model
        self._credit_j = 0.0

    def choose(self, seconds: float, limits: Limits, candidates: Sequence[int]) -> int | None:
        """Return the point for the next slot, None to leave its event unanswered.

        Parameters
        ----------
        seconds
            Length of the slot [s].
        limits
            What it may take.
        candidates
            Points that are in question.
        """
        hull = self._hull(seconds, candidates)
        want_j = limits.mean_j + self._credit_j
        low = max((k for k, (cost_j, _) in enumerate(hull) if cost_j <= limits.mean_j), default=0)
        high = min(low + 1, len(hull) - 1)
        pick = high if hull[high][0] <= want_j else low
        while pick > 0 and self._model.slot_j(hull[pick][1], seconds) > limits.most_j:
            pick -= 1
        cost_j, chosen = hull[pick]
        step_j = hull[high][0] - hull[low][0]
        self._credit_j = min(max(want_j - cost_j, -step_j), step_j) if high > low else 0.0
        return chosen

    def _hull(self, seconds: float, candidates: Sequence[int]) -> list[tuple[float, int | None]]:
        """Return (energy, point) of the corners, energy and value rising; the first is to do nothing."""
        first: list[tuple[float, float, int | None]] = [(self._model.slot_j(None, seconds), 0.0, None)]
        rows = first + sorted(
            ((self._hopeful_j(p, seconds), self._points[p].value, p) for p in candidates), key=lambda r: (r[0], -r[1])
        )
        hull: list[tuple[float, float, int | None]] = []
        for row in rows:
            if hull and row[1] <= hull[-1][1]:
                continue  # dearer, and no better
            while len(hull) >= 2 and _below(hull[-2], hull[-1], row):
                hull.pop()
            hull.append(row)
        return [(energy_j, point) for energy_j, _, point in hull]

    def _hopeful_j(self, point: int, seconds: float) -> float:
        """Return what a slot may cost; a point that was never measured is taken at one standard deviation less."""
        cost_j = self._model.slot_j(point, seconds)
        if self._model.measured[point]:
            return cost_j
        return cost_j - min(self._model.sd_j(point), 0.3 * self._model.energy_j(point))


def _below(
    a: tuple[float, float, int | None], b: tuple[float, float, int | None], c: tuple[float, float, int | None]
) -> bool:
    """Return whether b lies on or below the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
