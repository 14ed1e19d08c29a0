# SPDX-License-Identifier: Apache-2.0
"""Operating points of this machine: a path, an exit, and the level of a knob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from joulet.errors import UsageError
from joulet.records import CostTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One way to answer an event.

    Attributes
    ----------
    path, exit
        As for :meth:`joulet.engine.seam.Engine.infer`.
    name
        ``w8@last``, with ``/1500MHz`` where a knob has levels.
    value
        What an answer is worth: its accuracy, 0..1, or its rank where no accuracy is known; only differences count.
    relative
        Energy of an inference before anything was measured, the cheapest being 1; only ratios count.
    level
        Of the knob; 0 without one.
    """

    path: str
    exit: int
    name: str
    value: float
    relative: float
    level: int = 0


def points_of_table(table: CostTable, *, leave_out: Sequence[str] = ()) -> tuple[tuple[Point, ...], str]:
    """Return the points of a container and what their value is: every path to every exit.

    Parameters
    ----------
    table
        Costs of the container on any board: only ratios are used.
    leave_out
        Paths not to take.

    Raises
    ------
    UsageError
        If no path is left.
    """
    found = []
    for number, path in enumerate(table.path_names):
        if path in leave_out:
            continue
        for exit, exit_name in enumerate(table.exit_names):
            step = table.steps[number][0][exit]
            if step is not None and step.cycles > 0:
                name = f"{path}@{exit_name}"
                value = table.accuracy[number][exit]
                found.append(Point(path=path, exit=exit, name=name, value=value, relative=float(step.cycles)))
    if not found:
        raise UsageError("no operating point is left; give a container with an integer path")
    known = all(point.value > 0.0 for point in found)
    return _scaled(found, ranked=not known), "accuracy in the container" if known else "rank by cost: no accuracies"


def points_of_ladder(names: Sequence[str], seconds: Sequence[float], values: Sequence[float]) -> tuple[Point, ...]:
    """Return the points of a ladder of files, or of anything with one exit.

    Parameters
    ----------
    names
        Paths.
    seconds
        Time of one inference of each, from which relative energy is guessed [s].
    values
        Of each.
    """
    found = [
        Point(path=name, exit=0, name=name, value=value, relative=max(time_s, 1e-9))
        for name, time_s, value in zip(names, seconds, values, strict=True)
    ]
    return _scaled(found, ranked=False)


def with_levels(points: Sequence[Point], names: Sequence[str], speeds: Sequence[float]) -> tuple[Point, ...]:
    """Return every point at every level of a knob.

    The first guess of energy is half of it as the square of the clock (voltage follows it), half unchanged: what is measured
    replaces it.

    Parameters
    ----------
    names, speeds
        Of the levels; speeds are relative to the fastest, 0..1.
    """
    return tuple(
        replace(
            point,
            name=f"{point.name}/{name}",
            level=level,
            relative=point.relative * (0.5 + 0.5 * speed * speed),
        )
        for point in points
        for level, (name, speed) in enumerate(zip(names, speeds, strict=True))
    )


def _scaled(points: Sequence[Point], *, ranked: bool) -> tuple[Point, ...]:
    least = min(point.relative for point in points)
    order = sorted(points, key=lambda point: point.relative)
    return tuple(
        replace(
            point,
            relative=point.relative / least,
            value=(1.0 + order.index(point)) / len(points) if ranked else point.value,
        )
        for point in points
    )
