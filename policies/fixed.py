# SPDX-License-Identifier: Apache-2.0
"""The same operating point for every event, whatever the store says: the baseline to beat."""

from __future__ import annotations

from joulet.errors import UsageError
from joulet.policies.seam import PolicyContext
from joulet.records import Action, Decision, Observation


class Fixed:
    """Runs one path to one exit.

    Parameters
    ----------
    point : str
        ``full`` (``w8`` to the last exit, the imported model as it was; the path with most bits where there is no w8),
        ``smallest`` (cheapest path to the first exit), or ``PATH@EXIT`` with names or numbers, ``EXIT`` also ``last``.
    """

    def __init__(self, point: str = "full") -> None:
        self._point = point
        self.name = "fixed" if point == "full" else f"fixed:{point}"
        self._start = Decision(action=Action.OFF)
        self._stop = Decision(action=Action.STOP)

    def point(self, context: PolicyContext) -> tuple[int, int]:
        """Return the (path, exit) that every event runs."""
        return resolve_point(self._point, context)

    def reset(self, context: PolicyContext) -> None:
        """Look the operating point up in the model."""
        path, exit = self.point(context)
        self._start = Decision(action=Action.START, path=path, exit=exit)

    def decide(self, observation: Observation) -> Decision:
        """Start at once; stop at the exit."""
        return self._start if observation.exit is None else self._stop


def full_path(context: PolicyContext) -> int:
    """Return ``w8``; where there is none, the path with most bits, the cheaper of equals."""
    if "w8" in context.path_names:
        return context.path_names.index("w8")
    last = context.n_exits - 1
    return max(range(context.n_paths), key=lambda p: (context.mean_bits[p], -context.energy_j(p, last)))


def resolve_point(point: str, context: PolicyContext) -> tuple[int, int]:
    """Return (path, exit) of ``full``, ``smallest`` or ``PATH@EXIT``."""
    if point == "full":
        return full_path(context), context.n_exits - 1
    if point == "smallest":
        cheapest = min(range(context.n_paths), key=lambda p: context.energy_j(p, 0))
        return cheapest, 0
    path, at, exit = point.rpartition("@")
    if not at:
        path, exit = point, "last"
    return (
        _index(path, context.path_names, "path", point),
        context.n_exits - 1 if exit == "last" else _index(exit, context.exit_names, "exit", point),
    )


def _index(text: str, names: tuple[str, ...], what: str, point: str) -> int:
    if text in names:
        return names.index(text)
    if text.isdigit() and int(text) < len(names):
        return int(text)
    raise UsageError(f"policy fixed:{point}: no {what} '{text}'; this model has {', '.join(names)}")
