# SPDX-License-Identifier: Apache-2.0
"""What a metered run leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeEvent:
    """One event: when it arrived [s], what answered it (None: nothing), how long that took [s], what was predicted.

    ``confidence_q15`` is the exit's P(correct) in 1/32768.
    """

    index: int
    sample: int
    arrival_s: float
    status: str
    point: str | None = None
    latency_s: float | None = None
    predicted: int | None = None
    correct: bool | None = None
    confidence_q15: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRecord:
    """A point at the end of a run: energy of one inference above idle and its standard deviation [J], and times chosen."""

    name: str
    value: float
    energy_j: float
    sd_j: float
    latency_s: float | None
    chosen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRecord:
    """A cap and what became of it.

    ``mean_w`` is over the run. Windows follow one another; ``over_j`` is the sum of what those over the cap had too much.
    ``worst_mean_w`` and ``worst_over_j`` are of the window that slides from event to event. ``kept``: ``over_j`` is at most 1 %
    of what the cap allowed.
    """

    steps: tuple[tuple[float, float], ...]
    window_s: float
    allowed_j: float
    mean_w: float
    worst_mean_w: float | None
    windows: int
    windows_over: int
    over_j: float
    worst_over_j: float

    @property
    def kept(self) -> bool:
        """True when what was over is at most 1 % of what was allowed."""
        return self.over_j <= 0.01 * self.allowed_j


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRecord:
    """A run. ``measured_j`` and ``estimated_j`` are apart: the latter is for time that the meter did not cover [J].

    ``values`` says what the value of a point is, ``decided`` when its exit is chosen, ``provenance`` where energies come from,
    ``notes`` what a reader must know.
    """

    meter: str
    duration_s: float
    period_s: float
    arrived: int
    answered: int
    on_time: int
    skipped: int
    missed: int
    correct: int | None
    measured_j: float
    estimated_j: float
    estimated_s: float
    idle_w: float
    cap: CapRecord | None
    budget_j: float | None
    horizon_s: float | None
    points: tuple[PointRecord, ...]
    values: str
    decided: str
    knob: str | None
    provenance: tuple[str, ...]
    notes: tuple[str, ...]
    events: tuple[EdgeEvent, ...] = ()

    @property
    def energy_j(self) -> float:
        """Measured and estimated energy [J]."""
        return self.measured_j + self.estimated_j

    @property
    def kept(self) -> bool:
        """True when cap and budget were kept."""
        within = self.budget_j is None or self.energy_j <= 1.01 * self.budget_j
        return within and (self.cap is None or self.cap.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the events."""
        told = asdict(self)
        del told["events"]
        if self.cap is not None:
            told["cap"]["kept"] = self.cap.kept
        return {**told, "energy_j": self.energy_j, "kept": self.kept}
