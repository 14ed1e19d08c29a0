# SPDX-License-Identifier: Apache-2.0
"""What holds a plan up: which limits are tight, what relaxing each would give, and what is nearest where none can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from joulet.boards import Board
from joulet.container.isa_plan import Arenas
from joulet.plan.search import Limits, Point, point_of

UNITS = {"ram": "bytes", "flash": "bytes", "energy": "nJ"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """A tight limit, and what its absence would give.

    Attributes
    ----------
    limit
        ``ram``, ``flash`` or ``energy``.
    needed
        What the limit would have to be [bytes, bytes, nJ].
    saved_cycles
        Of an inference to the last exit, at the same path and exits [cycles].
    gained
        Of the score: accuracy, or the share of eight bits where accuracy is unknown.
    """

    limit: str
    needed: float
    saved_cycles: int
    gained: float


def tight_limits(
    chosen: Point, points: Sequence[Point], board: Board, limits: Limits, known: Arenas
) -> tuple[Relaxed, ...]:
    """Return the limits that cost the chosen point something, and what that is.

    Parameters
    ----------
    chosen, points
        Of the search.
    board, limits, known
        As the search had them.
    """
    found = []
    if chosen.bands:
        free = point_of(chosen.candidate, board, replace(limits, ram_bytes=None, work_bytes=None), known)
        found.append(_relaxed("ram", free.ram_bytes, chosen, free))
    if chosen.copies[0] < chosen.copies[1]:
        free = point_of(chosen.candidate, replace(board, model_bytes=None), replace(limits, flash_bytes=None), known)
        found.append(_relaxed("flash", free.flash_bytes, chosen, free))
    better = [point for point in points if point.score > chosen.score and set(point.excess(limits)) == {"energy"}]
    if better:
        nearest = min(better, key=lambda point: point.worst_nj)
        found.append(_relaxed("energy", nearest.worst_nj, chosen, nearest))
    return tuple(found)


def _relaxed(limit: str, needed: float, chosen: Point, free: Point) -> Relaxed:
    return Relaxed(
        limit=limit,
        needed=needed,
        saved_cycles=chosen.exit_cycles[-1] - free.exit_cycles[-1],
        gained=free.score - chosen.score,
    )


def nearest_text(points: Sequence[Point], limits: Limits) -> str:
    """Return, in words, which limits cannot be kept and what comes nearest; for points of which none keeps all."""
    given = {"ram": limits.ram_bytes, "flash": limits.flash_bytes, "energy": limits.energy_nj}
    lines = []
    for name, limit in given.items():
        if limit is None or any(name not in point.excess(limits) for point in points):
            continue
        least = min(points, key=lambda point: _taken(point, name))
        lines.append(
            f"--{name}-limit {_amount(name, limit)}: the least is {_amount(name, _taken(least, name))} "
            f"({least.path} to {least.exits[-1]})"
        )
    if lines:
        return "; ".join(lines)
    near = min(points, key=lambda point: max(point.excess(limits).values()))
    over = ", ".join(
        f"--{name}-limit {_amount(name, _taken(near, name))} instead of {_amount(name, given[name] or 0)}"
        for name in near.excess(limits)
    )
    return f"each limit can be kept, not all at once; nearest is {near.path} to {near.exits[-1]} with {over}"


def _taken(point: Point, name: str) -> float:
    return {"ram": point.ram_bytes, "flash": point.flash_bytes, "energy": point.worst_nj}[name]


def _amount(name: str, value: float) -> str:
    return f"{value / 1e3:,.1f} uJ" if name == "energy" else f"{value:,.0f} bytes"
