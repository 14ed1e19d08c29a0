# SPDX-License-Identifier: Apache-2.0
"""Operating points as policies weigh them: energy, time, and how good the answer is."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.policies.seam import PolicyContext
from joulet.policies.threshold import worth_having
from joulet.records import Action, Decision

RESERVE = 1.02  # start only with this multiple of the energy needed, and two decisions on top

STOP = Decision(action=Action.STOP)
WAIT = Decision(action=Action.DEFER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One operating point.

    Attributes
    ----------
    path, exit
        Indices in the container.
    energy_j, time_s
        From sleep to the exit's head [J], [s].
    need_j
        Usable energy with which it may be started [J].
    merit
        P(correct) on calibration data; without calibration weight bits × depth as a share of the most, 0..1.
    start
        The decision that starts it.
    """

    path: int
    exit: int
    energy_j: float
    time_s: float
    need_j: float
    merit: float
    start: Decision


def need_j(context: PolicyContext, energy_j: float) -> float:
    """Return the usable energy with which something that takes ``energy_j`` may be started [J]."""
    return energy_j * RESERVE + 2.0 * context.decision_j


def merits(context: PolicyContext) -> tuple[tuple[float, ...], ...]:
    """Return ``merit[path][exit]``, 0..1: accuracy, or bits × depth where nothing was calibrated."""
    if any(any(row) for row in context.accuracy):
        return context.accuracy
    most = max(context.mean_bits) * context.n_exits or 1.0
    return tuple(tuple(bits * (exit + 1) / most for exit in range(context.n_exits)) for bits in context.mean_bits)


def make_point(context: PolicyContext, path: int, exit: int) -> Point:
    """Return the operating point of a path and an exit."""
    energy_j = context.energy_j(path, exit)
    return Point(
        path=path,
        exit=exit,
        energy_j=energy_j,
        time_s=context.step_s[path][0][exit],
        need_j=need_j(context, energy_j),
        merit=merits(context)[path][exit],
        start=Decision(action=Action.START, path=path, exit=exit),
    )


def front(context: PolicyContext) -> tuple[Point, ...]:
    """Return the operating points worth having, cheapest first: merit rises with energy."""
    return tuple(make_point(context, path, exit) for path, exit, _ in worth_having(context))


def wait_for(point: Point) -> Decision:
    """Return the decision to ask again once a point can be started."""
    return Decision(action=Action.DEFER, wake_j=point.need_j)


def constant_paths(context: PolicyContext) -> tuple[int, ...]:
    """Return the paths that keep one precision throughout, all of them where none does."""
    constant = tuple(p for p, name in enumerate(context.path_names) if ">" not in name)
    return constant or tuple(range(context.n_paths))
