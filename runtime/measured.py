# SPDX-License-Identifier: Apache-2.0
"""Cost tables that were measured: what a profile leaves in a board's file or in a container, with intervals and provenance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from joulet.errors import UsageError

KINDS = ("measured", "simulated")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredExit:
    """An inference along a path to an exit, heads before it skipped: energy [J] and time [s], ``n`` times."""

    path: str
    exit: str
    n: int
    energy_j: Figure
    latency_s: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """An op, by its index in the container, at a precision: energy [J] and time [s]."""

    precision: str
    op: int
    energy_j: Figure
    latency_s: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCosts:
    """What one model was seen to cost on one board.

    Attributes
    ----------
    board
        Name.
    model_hash
        SHA-256 of the model's canonical part, hexadecimal.
    kind
        ``measured`` on silicon, or ``simulated``; tables of two kinds are never merged.
    provenance
        Where energies of exits come from: meter, board, sync, day.
    exits, steps
        Rows; ``steps_provenance`` is that of the steps.
    """

    board: str
    model_hash: str
    kind: str
    provenance: str
    exits: tuple[MeasuredExit, ...]
    steps: tuple[MeasuredStep, ...] = ()
    steps_provenance: str = ""

    @property
    def power_w(self) -> float:
        """Mean power of a running inference, longer ones counting more [W]."""
        return sum(row.energy_j.mean for row in self.exits) / sum(row.latency_s.mean for row in self.exits)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON and TOML hold: intervals as [mean, low, high]."""
        table: dict[str, Any] = {
            "board": self.board,
            "model_hash": self.model_hash,
            "kind": self.kind,
            "provenance": self.provenance,
            "exits": [
                {"path": row.path, "exit": row.exit, "n": row.n, "energy_j": _list(row.energy_j), "latency_s": _list(row.latency_s)}
                for row in self.exits
            ],
        }  # fmt: skip
        if self.steps:
            table["steps_provenance"] = self.steps_provenance
            table["steps"] = [
                {"precision": row.precision, "op": row.op, "energy_j": _list(row.energy_j), "latency_s": _list(row.latency_s)}
                for row in self.steps
            ]  # fmt: skip
        return table


def _list(figure: Figure) -> list[float]:
    return [figure.mean, figure.low, figure.high]


def measured_from(table: Any) -> MeasuredCosts:
    """Check and return what :meth:`MeasuredCosts.to_dict` gave.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        found = MeasuredCosts(
            board=_text(table["board"]),
            model_hash=_text(table["model_hash"]),
            kind=_text(table["kind"]),
            provenance=_text(table["provenance"]),
            exits=tuple(_exit(row) for row in table["exits"]),
            steps=tuple(_step(row) for row in table.get("steps", ())),
            steps_provenance=_text(table.get("steps_provenance", "")),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a measured cost table lacks or misplaces {error}") from error
    if found.kind not in KINDS:
        raise ValueError(f"kind is '{found.kind}'; it is one of {', '.join(KINDS)}")
    if not found.exits:
        raise ValueError("a measured cost table has no exits")
    for keys in ([(row.path, row.exit) for row in found.exits], [(row.precision, row.op) for row in found.steps]):
        if len(set(keys)) != len(keys):
            raise ValueError("a measured cost table has a row twice")
    return found


def _exit(row: Mapping[str, Any]) -> MeasuredExit:
    return MeasuredExit(
        path=_text(row["path"]), exit=_text(row["exit"]), n=_count(row["n"]), energy_j=_figure(row["energy_j"], least=True),
        latency_s=_figure(row["latency_s"], least=True),
    )  # fmt: skip


def _step(row: Mapping[str, Any]) -> MeasuredStep:
    return MeasuredStep(
        precision=_text(row["precision"]), op=_count(row["op"]), energy_j=_figure(row["energy_j"]),
        latency_s=_figure(row["latency_s"]),
    )  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r}, which is no text")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r}, which is no count")
    return value


def _figure(value: Any, *, least: bool = False) -> Figure:
    """Return [mean, low, high]; with ``least`` the mean is more than zero."""
    numbers = [float(each) for each in value]
    if len(numbers) != 3 or any(isinstance(each, bool) for each in value) or not all(map(math.isfinite, numbers)):
        raise TypeError(f"{value!r}, which is not [mean, low, high]")
    mean, low, high = numbers
    if not low <= mean <= high or mean < 0.0 or (least and mean == 0.0):
        raise ValueError(f"{value!r} is no mean within its interval")
    return Figure(mean=mean, low=low, high=high)


def merged(old: MeasuredCosts, new: MeasuredCosts, where: str) -> MeasuredCosts:
    """Return a table with the rows of both; new ones win.

    Raises
    ------
    UsageError
        If they are of two kinds: what was measured and what was simulated do not go into one table.
    """
    refuse_two_kinds(old.kind, new.kind, where)
    exits = _over(old.exits, new.exits, lambda row: (row.path, row.exit))
    steps = _over(old.steps, new.steps, lambda row: (row.precision, row.op))
    both = tuple(dict.fromkeys([*old.provenance.split(" | "), new.provenance]))
    kept = len(exits) > len(new.exits)
    return replace(
        new,
        exits=exits,
        steps=steps,
        provenance=" | ".join(both) if kept else new.provenance,
        steps_provenance=new.steps_provenance or old.steps_provenance,
    )


def refuse_two_kinds(old: str, new: str, where: str) -> None:
    """Raise UsageError where a table of one kind would go beside one of the other."""
    if old != new:
        raise UsageError(
            f"{where} holds {old} costs, these are {new}: write elsewhere, or take the others out first (--replace)"
        )


def _over(old: Sequence[_T], new: Sequence[_T], key: Callable[[_T], object]) -> tuple[_T, ...]:
    fresh = {key(row) for row in new}
    return (*(row for row in old if key(row) not in fresh), *new)
