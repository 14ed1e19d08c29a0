# SPDX-License-Identifier: Apache-2.0
"""What was drawn when, against what might have been: a cap over a sliding window, and a budget."""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass

from joulet.errors import UsageError
from joulet.units import parse_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A limit on mean power that may change at given times.

    ``steps`` are (time from the start of the run [s], power [W]), the first at 0, times rising.
    """

    steps: tuple[tuple[float, float], ...]

    def at_w(self, time_s: float) -> float:
        """Return the cap at a time [W]."""
        return self.steps[max(0, bisect.bisect_right([step[0] for step in self.steps], time_s) - 1)][1]

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Return what may be drawn from one time to another; before the run as at its start [J]."""
        total, at_s = 0.0, start_s
        for index, (_, power_w) in enumerate(self.steps):
            until_s = self.steps[index + 1][0] if index + 1 < len(self.steps) else end_s
            until_s = min(until_s, end_s)
            if until_s > at_s:
                total += power_w * (until_s - at_s)
                at_s = until_s
        return total


def parse_cap(text: str) -> Cap:
    """Read ``6W`` or ``6W,30s:4W``: from 30 s on, 4 W.

    Raises
    ------
    UsageError
        If it is something else.
    """
    steps: list[tuple[float, float]] = []
    for part in text.split(","):
        when, colon, power = part.rpartition(":")
        time_s = parse_quantity(when, "s", what="--power-cap") if colon else 0.0
        if bool(colon) != bool(steps) or (steps and time_s <= steps[-1][0]):
            raise UsageError(f"--power-cap {text}: write 6W, or 6W,30s:4W with rising times after the first")
        steps.append((time_s, parse_quantity(power, "W", what="--power-cap")))
    return Cap(steps=tuple(steps))


@dataclass(slots=True)
class _Slot:
    start_s: float
    end_s: float
    energy_j: float


class Account:
    """Energy over time in slots: foretold at first, then as the meter says.

    Parameters
    ----------
    cap : Cap, optional
        What is compared with.
    window_s : float
        Over which the mean is taken [s].
    """

    def __init__(self, cap: Cap | None, window_s: float) -> None:
        self._cap, self._window_s = cap, window_s
        self._slots: deque[_Slot] = deque()
        self._open: list[_Slot] = []
        self.total_j = 0.0
        self.windows = self.windows_over = 0
        self.over_j = self.worst_over_j = 0.0
        self.worst_mean_w: float | None = None
        self._next_s = window_s

    def add(self, start_s: float, end_s: float, foretold_j: float) -> None:
        """A slot has passed."""
        slot = _Slot(start_s, end_s, foretold_j)
        self._slots.append(slot)
        self._open.append(slot)
        while self._slots[0].end_s <= end_s - 2.0 * self._window_s and self._slots[0] is not self._open[0]:
            self._slots.popleft()

    def settle(self, energy_j: float) -> None:
        """Slots since the last time took so much altogether [J]."""
        foretold_j = sum(slot.energy_j for slot in self._open)
        length_s = sum(slot.end_s - slot.start_s for slot in self._open)
        for slot in self._open:
            share = (
                slot.energy_j / foretold_j if foretold_j > 0.0 else (slot.end_s - slot.start_s) / max(length_s, 1e-9)
            )
            slot.energy_j = energy_j * share
            self.total_j += slot.energy_j
        ends = [slot.end_s for slot in self._open]
        self._open.clear()
        for end_s in ends:
            self._judge(end_s)

    @property
    def open_j(self) -> float:
        """What slots that are not settled were foretold to take [J]."""
        return sum(slot.energy_j for slot in self._open)

    def spent_j(self, start_s: float, end_s: float) -> float:
        """Return what the slots between two times took, parts of slots by their length [J]."""
        total = 0.0
        for slot in reversed(self._slots):
            if slot.end_s <= start_s:
                break
            overlap_s = min(slot.end_s, end_s) - max(slot.start_s, start_s)
            if overlap_s > 0.0:
                total += slot.energy_j * overlap_s / (slot.end_s - slot.start_s)
        return total

    def room_j(self, end_s: float) -> float:
        """Return what the window that ends at a time still has room for; before the run it counts as full [J]."""
        assert self._cap is not None
        start_s = max(0.0, end_s - self._window_s)
        return self._cap.energy_j(start_s, end_s) - self.spent_j(start_s, end_s)

    def _judge(self, end_s: float) -> None:
        """Judge the sliding window that ends here, and each window that follows the last one."""
        if end_s >= self._window_s:
            spent_j = self.spent_j(end_s - self._window_s, end_s)
            mean_w = spent_j / self._window_s
            self.worst_mean_w = mean_w if self.worst_mean_w is None else max(self.worst_mean_w, mean_w)
            if self._cap is not None:
                over_j = spent_j - self._cap.energy_j(end_s - self._window_s, end_s)
                self.worst_over_j = max(self.worst_over_j, over_j)
        while self._next_s <= end_s + 1e-6:
            start_s = self._next_s - self._window_s
            self.windows += 1
            if self._cap is not None:
                over_j = self.spent_j(start_s, self._next_s) - self._cap.energy_j(start_s, self._next_s)
                self.windows_over += over_j > 0.0
                self.over_j += max(0.0, over_j)
            self._next_s += self._window_s
