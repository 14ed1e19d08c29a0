# SPDX-License-Identifier: Apache-2.0
"""What became of readings: energy since a mark, and least, mean and most power over a window that is stated."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from joulet.meters.seam import Quality, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of a rail now.

    ``energy_j`` and ``covered_s`` count from the mark; ``missed_s`` is time since then that no reading stands for. ``lost`` is
    True while the source does not answer: ``reading`` is then the last one there was. The window figures are over the last
    ``window_s`` that readings cover: ``mean_w`` is energy over time. None without readings.
    """

    rail: str
    reading: Reading
    energy_j: float
    covered_s: float
    missed_s: float
    window_s: float
    min_w: float | None
    mean_w: float | None
    max_w: float | None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Point:
    time_s: float
    energy_j: float
    covered_s: float
    low_w: float
    high_w: float


class RailTally:
    """Energy of one rail: by the meter's own counter where it has one, else by trapezoids between readings.

    Parameters
    ----------
    window_s
        Of min, mean and max [s].
    gap_s
        Two readings that are further apart are not joined: the time between is missed [s].
    """

    def __init__(self, window_s: float, gap_s: float) -> None:
        self._window_s, self._gap_s = window_s, gap_s
        self._points: deque[_Point] = deque()
        self._last: Reading | None = None
        self._energy_j = self._covered_s = self._missed_s = 0.0
        self._mark = (0.0, 0.0, 0.0)
        self._lost_s: float | None = None  # up to when lost time has been counted

    def mark(self) -> None:
        """Count energy from here."""
        self._mark = (self._energy_j, self._covered_s, self._missed_s)

    def interrupt(self, now_s: float) -> None:
        """The meter is lost: its counter will begin anew, and the time until its next reading is missed."""
        if self._last is not None:
            since_s = self._last.time_s if self._lost_s is None else self._lost_s
            self._missed_s += max(0.0, now_s - since_s)
            self._lost_s = max(now_s, since_s)

    def add(self, reading: Reading) -> None:
        """Take a reading."""
        before = self._last
        if self._lost_s is not None:
            self._missed_s += max(0.0, reading.time_s - self._lost_s)
            self._lost_s = before = None
        self._last = reading
        if before is not None:
            self._pass(before, reading)
        if reading.power_w is not None:
            low = reading.power_w if reading.low_w is None else reading.low_w
            high = reading.power_w if reading.high_w is None else reading.high_w
            self._points.append(_Point(reading.time_s, self._energy_j, self._covered_s, low, high))
            while len(self._points) > 2 and self._points[1].time_s <= reading.time_s - self._window_s:
                self._points.popleft()

    def _pass(self, before: Reading, reading: Reading) -> None:
        passed_s = reading.time_s - before.time_s
        if passed_s <= 0.0:
            return
        if before.energy_j is not None and reading.energy_j is not None:
            self._energy_j += reading.energy_j - before.energy_j
            own = before.covered_s is not None and reading.covered_s is not None
            self._covered_s += (reading.covered_s or 0.0) - (before.covered_s or 0.0) if own else passed_s
            self._missed_s += reading.lost_s
        elif passed_s > self._gap_s or before.power_w is None or reading.power_w is None:
            self._missed_s += passed_s
        else:
            self._energy_j += 0.5 * (before.power_w + reading.power_w) * passed_s
            self._covered_s += passed_s

    def figures(self) -> Figures | None:
        """Return what is known; None before the first reading."""
        reading = self._last
        if reading is None:
            return None
        first = self._points[0] if self._points else None
        low = high = mean = None
        covered_s = 0.0
        if first is not None:
            low, high = min(p.low_w for p in self._points), max(p.high_w for p in self._points)
            covered_s = self._covered_s - first.covered_s
            mean = (self._energy_j - first.energy_j) / covered_s if covered_s > 0.0 else reading.power_w
        return Figures(
            rail=reading.rail, reading=reading, energy_j=self._energy_j - self._mark[0],
            covered_s=self._covered_s - self._mark[1], missed_s=self._missed_s - self._mark[2], window_s=covered_s,
            min_w=low, mean_w=mean, max_w=high, lost=self._lost_s is not None,
        )  # fmt: skip


class Tally:
    """The rails of several sources, by (source, rail)."""

    def __init__(self, window_s: float, gap_s: float) -> None:
        self._window_s, self._gap_s = window_s, gap_s
        self._rails: dict[tuple[str, str], RailTally] = {}

    def add(self, source: str, reading: Reading) -> None:
        """Take a reading."""
        key = (source, reading.rail)
        if key not in self._rails:
            self._rails[key] = RailTally(self._window_s, self._gap_s)
        self._rails[key].add(reading)

    def interrupt(self, source: str, now_s: float) -> None:
        """A source is lost, still or anew."""
        for (name, _), rail in self._rails.items():
            if name == source:
                rail.interrupt(now_s)

    def mark(self) -> None:
        """Count energy from here."""
        for rail in self._rails.values():
            rail.mark()

    def figures(self) -> list[tuple[str, Figures]]:
        """Return (source, figures) of each rail that has readings."""
        return [(source, f) for (source, _), rail in self._rails.items() if (f := rail.figures()) is not None]


def total_w(figures: list[tuple[str, Figures]], source: str) -> tuple[float, Quality] | None:
    """Return the sum of a source's rails, those that lie within others left out [W], with what is wrong with it."""
    mine = [f.reading for name, f in figures if name == source and not f.lost]
    counted = [reading for reading in mine if reading.counts and reading.power_w is not None]
    if not counted:
        return None
    quality = Quality.OK
    for reading in counted:
        quality |= reading.quality & ~Quality.COARSE
    return sum(reading.power_w or 0.0 for reading in counted), quality
