# SPDX-License-Identifier: Apache-2.0
"""What a run in real time under a meter leaves: events, points, power over time, and where the energy went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
class PowerSample:
    """A stretch between two looks at the meter [s]: what it measured, and what was estimated where it told nothing [J]."""

    start_s: float
    end_s: float
    measured_j: float
    estimated_j: float

    @property
    def power_w(self) -> float:
        """Mean power [W]."""
        return (self.measured_j + self.estimated_j) / max(self.end_s - self.start_s, 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLedger:
    """Double entry: what the meter says was drawn, against idle power and the inferences of each point as learnt [J].

    ``drawn_j`` = ``idle_j`` + sum of ``points_j`` + ``residual_j``. Idle and inferences are taken block by block, as known then.
    """

    drawn_j: float
    idle_j: float
    points_j: Mapping[str, float]
    residual_j: float

    @property
    def residual_fraction(self) -> float:
        """Share of what was drawn that idle power and inferences do not explain, 0..1."""
        return abs(self.residual_j) / self.drawn_j if self.drawn_j > 0.0 else 0.0

    @property
    def closes(self) -> bool:
        """True when that is at most 2 %: blocks of a meter are trusted to 3 % each."""
        return self.residual_fraction <= 0.02


def thinned(samples: Sequence[PowerSample], most: int) -> tuple[PowerSample, ...]:
    """Return at most so many samples, neighbours added up: energies are kept."""
    group = -(-len(samples) // most) if samples else 1
    return tuple(
        PowerSample(
            start_s=part[0].start_s,
            end_s=part[-1].end_s,
            measured_j=sum(each.measured_j for each in part),
            estimated_j=sum(each.estimated_j for each in part),
        )
        for part in (samples[k : k + group] for k in range(0, len(samples), group))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRecord:
    """A run. ``measured_j`` and ``estimated_j`` are apart: the latter is for time that the meter did not cover [J].

    ``values`` says what the value of a point is, ``decided`` when its exit is chosen, ``provenance`` where energies come from,
    ``notes`` what a reader must know. ``power`` is thinned to some thousands of stretches; ``events`` is complete. ``settings``
    holds the options as numbers in base units. ``ended`` says what ended the run before its time, None where nothing did.
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
    ledger: EdgeLedger
    power: tuple[PowerSample, ...] = ()
    events: tuple[EdgeEvent, ...] = ()
    model: str = ""
    model_hash: str = ""
    engine: str = ""
    settings: Mapping[str, float | int | str | None] = field(default_factory=dict)
    ended: str | None = None

    @property
    def correct_on_time(self) -> int | None:
        """Answers that were right and on time; None without labels."""
        if self.correct is None:
            return None
        return sum(event.correct is True and event.status == "on_time" for event in self.events)

    @property
    def score(self) -> float | None:
        """Share of the events that arrived whose answer was right and on time, 0..1; None without labels."""
        right = self.correct_on_time
        return None if right is None or not self.arrived else right / self.arrived

    @property
    def mean_w(self) -> float:
        """Mean power over the run [W]."""
        return self.energy_j / self.duration_s if self.duration_s > 0.0 else 0.0

    @property
    def answer_j(self) -> float | None:
        """Mean energy of an answer above idle power, as learnt [J]; None without any."""
        return sum(self.ledger.points_j.values()) / self.answered if self.answered else None

    def latency_s(self, share: float) -> float | None:
        """Return the latency that a share of the answers stay within [s]; None without any."""
        found = sorted(event.latency_s for event in self.events if event.latency_s is not None)
        return found[min(len(found) - 1, math.ceil(share * len(found)) - 1)] if found else None

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
        """Return everything but events and power over time."""
        told = asdict(replace(self, events=(), power=()))
        del told["events"], told["power"]
        if self.cap is not None:
            told["cap"]["kept"] = self.cap.kept
        told["ledger"]["closes"] = self.ledger.closes
        return {**told, "energy_j": self.energy_j, "kept": self.kept, "score": self.score}
