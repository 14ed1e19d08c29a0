# SPDX-License-Identifier: Apache-2.0
"""Operating points chosen by the store's voltage, with hysteresis, as Mementos and REHASH do for checkpoints and tasks."""

from __future__ import annotations

from joulet.policies.seam import PolicyContext
from joulet.records import Action, Decision, Observation

_MARGIN = 1.1  # start only with this multiple of the energy needed


class Threshold:
    """Divides brown-out..full evenly among the operating points worth having; a level is left only well below it.

    Levels follow the voltage, but nothing is started that the usable energy does not cover with a margin: what series
    resistance keeps back is not in it (Culpeo's point), so a sagging store is not trusted for its voltage.

    Parameters
    ----------
    hysteresis : float
        How far the voltage must fall below the level's threshold before it is left, as a fraction of one level's width.
    """

    def __init__(self, hysteresis: float = 0.5) -> None:
        self._hysteresis = hysteresis
        self.name = "threshold" if hysteresis == 0.5 else f"threshold:{hysteresis:g}"
        self._points: tuple[tuple[int, int, float], ...] = ()
        self._off_v = self._width_v = 1.0
        self._level = 0

    def reset(self, context: PolicyContext) -> None:
        """Find the operating points worth having: no other is both cheaper and at least as accurate."""
        self._points = worth_having(context)
        self._off_v = context.off_v
        self._width_v = (context.max_v - context.off_v) / len(self._points)
        self._level = 0

    def decide(self, observation: Observation) -> Decision:
        """Move between levels before a start; stop at the level's exit."""
        if observation.exit is not None:
            return Decision(action=Action.STOP)
        height = (observation.store_voltage_v - self._off_v) / self._width_v
        while self._level + 1 < len(self._points) and height >= self._level + 1:
            self._level += 1
        while self._level > 0 and height < self._level - self._hysteresis:
            self._level -= 1
        path, exit, energy_j = self._points[self._level]
        if observation.usable_energy_j < energy_j * _MARGIN:
            self._level = 0
            path, exit, energy_j = self._points[0]
        if observation.usable_energy_j < energy_j * _MARGIN:
            return Decision(action=Action.DEFER, wake_j=energy_j * _MARGIN)
        return Decision(action=Action.START, path=path, exit=exit)


def worth_having(context: PolicyContext) -> tuple[tuple[int, int, float], ...]:
    """Return (path, exit, energy [J]) of the operating points on the front of energy and accuracy, cheapest first.

    Without calibration, bits × depth stands in for accuracy.
    """
    points = []
    for path in range(context.n_paths):
        for exit in range(context.n_exits):
            merit = context.accuracy[path][exit] or 1e-6 * context.mean_bits[path] * (exit + 1)
            points.append((context.energy_j(path, exit), -merit, path, exit))
    front: list[tuple[int, int, float]] = []
    best = float("-inf")
    for energy_j, negative, path, exit in sorted(points):
        if -negative > best:
            best = -negative
            front.append((path, exit, energy_j))
    return tuple(front)
