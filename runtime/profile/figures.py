# SPDX-License-Identifier: Apache-2.0
"""What a profile says: energy and latency of an inference along each path to each exit, with intervals and provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError

FORMAT = "joulet-profile-1"
# two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 30; the normal one beyond
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
    2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval; ``low`` and ``high`` are infinitely far where one value tells nothing of the scatter."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width."""
        return 0.5 * (self.high - self.low)


def interval(values: Sequence[float] | npt.NDArray[np.float64], bias: float = 0.0) -> Interval:
    """Return the mean of a few values with its 95 % interval (Student's t), wider by ``bias`` on either side."""
    array = np.asarray(values, float)
    n, mean = len(array), float(np.mean(array))
    half = math.inf
    if n > 1:
        t = _T95[n - 2] if n - 2 < len(_T95) else 1.960
        half = t * float(np.std(array, ddof=1)) / math.sqrt(n) + bias
    return Interval(mean=mean, low=mean - half, high=mean + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """How power was put beside inferences.

    ``method`` is ``markers`` (pins of the board in the meter's digital inputs), ``clock fit`` (time stamps of the board and the
    host's clock) or ``host window`` (many inferences between two readings). ``error_s`` bounds where an end of a window may lie;
    for a host window it is the time between readings. ``exits`` says what tells which exit an inference reached: ``markers``
    (the pins show it, and the board agrees) or ``device records`` (the board alone).
    """

    method: str
    error_s: float
    detail: str
    exits: str = "device records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One path to one exit: ``n`` inferences (or windows of them) counted, ``excluded`` left out since samples were lost."""

    path: str
    exit: str
    n: int
    excluded: int
    energy_j: Interval
    latency_s: Interval
    power_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One op at one precision, ``n`` times; ``exit`` names the head it belongs to, None for the backbone."""

    precision: str
    op: int
    name: str
    exit: str | None
    n: int
    energy_j: Interval
    latency_s: Interval
    power_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Every op at every integer precision, all heads among them; ``method`` says how they were told apart."""

    method: str
    provenance: str
    rows: tuple[StepRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured.

    ``inside`` says what a window holds. ``idle_w`` is the power between inferences, None where it was not measured; the
    energies include it. ``coverage`` is the share of samples that arrived. ``steps`` are there where they were asked for, with a
    provenance of their own. ``board`` names the board, empty for this machine.
    """

    model: str
    model_hash: str
    engine: str
    meter: str
    provenance: str
    sync: Sync
    inside: str
    idle_w: float | None
    coverage: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    steps: Steps | None = None
    board: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON holds; what is infinite becomes null."""
        return {"format": FORMAT, **_plain(asdict(self))}

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_profile(path: Path) -> Profile:
    """Read what :meth:`Profile.save` wrote, or ``joulet profile --json`` printed.

    Raises
    ------
    DataError
        If it is not that.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise DataError(f"'{path}' is of format '{table['format']}'; this version reads {FORMAT}")
        return Profile(
            **{
                key: table[key]
                for key in ("model", "model_hash", "engine", "meter", "provenance", "inside", "coverage")
            },
            sync=Sync(**table["sync"]),
            idle_w=table["idle_w"],
            rows=tuple(_row(each) for each in table["rows"]),
            notes=tuple(table["notes"]),
            steps=_steps(table.get("steps")),
            board=str(table.get("board", "")),
        )
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is no profile of joulet profile --json or --out: {error}") from error


def _row(table: dict[str, Any]) -> Row:
    return Row(
        path=str(table["path"]), exit=str(table["exit"]), n=int(table["n"]), excluded=int(table["excluded"]),
        energy_j=_interval(table["energy_j"]), latency_s=_interval(table["latency_s"]), power_w=float(table["power_w"]),
    )  # fmt: skip


def _steps(table: dict[str, Any] | None) -> Steps | None:
    if table is None:
        return None
    rows = tuple(
        StepRow(
            precision=str(each["precision"]), op=int(each["op"]), name=str(each["name"]),
            exit=None if each["exit"] is None else str(each["exit"]), n=int(each["n"]),
            energy_j=_interval(each["energy_j"]), latency_s=_interval(each["latency_s"]), power_w=float(each["power_w"]),
        )
        for each in table["rows"]
    )  # fmt: skip
    return Steps(method=str(table["method"]), provenance=str(table["provenance"]), rows=rows)


def _interval(table: dict[str, Any]) -> Interval:
    low = -math.inf if table["low"] is None else float(table["low"])
    high = math.inf if table["high"] is None else float(table["high"])
    return Interval(mean=float(table["mean"]), low=low, high=high)
