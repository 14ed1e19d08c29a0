# SPDX-License-Identifier: Apache-2.0
"""What a policy can know of the harvest: mean powers from the counter of delivered energy, never the instant."""

from __future__ import annotations

import math

from joulet.records import Observation

DAY_S = 86400.0
_GAP_S = 0.5 * DAY_S


class MeanPower:
    """Mean power between decisions, and a slow mean of it.

    Parameters
    ----------
    span_s : float
        Decisions closer together than this count as one [s].
    slow_s : float
        Time constant of the slow mean [s].
    """

    def __init__(self, span_s: float, slow_s: float) -> None:
        self._span_s, self._slow_s = span_s, slow_s
        self._time_s = math.nan
        self._delivered_j = 0.0
        self.recent_w = self.slow_w = 0.0

    def update(self, observation: Observation) -> float:
        """Take an observation; return the mean power since the last one that counted [W]."""
        passed_s = observation.time_s - self._time_s
        if passed_s >= self._span_s:
            self.recent_w = (observation.delivered_j - self._delivered_j) / passed_s
            self.slow_w += (1.0 - math.exp(-passed_s / self._slow_s)) * (self.recent_w - self.slow_w)
        elif not passed_s < 0.0 and passed_s == passed_s:
            return self.recent_w
        else:  # the first one: there is only the instant
            self.recent_w = self.slow_w = observation.harvest_power_w
        self._time_s, self._delivered_j = observation.time_s, observation.delivered_j
        return self.recent_w


class SlotPower:
    """Mean power of whole slots of the day, in order, whatever the times of the decisions.

    What was delivered between two decisions is spread evenly over the time between them, so that a night without
    decisions is a row of equal slots. A gap of more than half a day says nothing of its slots: they are left out, and
    :attr:`jumped` is set, as it is at the first observation.

    Parameters
    ----------
    slot_s : float
        Length of a slot; a day holds a whole number of them unless it is longer than the run [s].
    """

    def __init__(self, slot_s: float) -> None:
        self.slot_s = slot_s
        self.slot = -1
        self.jumped = False
        self._time_s = self._delivered_j = self._from_s = self._from_j = self._end_s = 0.0

    def update(self, observation: Observation) -> list[float]:
        """Take an observation; return the mean powers of the slots that ended since the last one [W]."""
        time_s, delivered_j = observation.time_s, observation.delivered_j
        self.jumped = self.slot < 0 or not 0.0 <= time_s - self._time_s <= _GAP_S
        if self.jumped:
            into_s = (observation.slot * 1800.0 + time_s % 1800.0) % DAY_S
            self.slot = int(into_s // self.slot_s)
            self._end_s = time_s + self.slot_s - into_s % self.slot_s
            self._from_s, self._from_j = time_s, delivered_j
        ended: list[float] = []
        if time_s >= self._end_s:
            rate_w = (delivered_j - self._delivered_j) / (time_s - self._time_s)
            while time_s >= self._end_s:
                at_j = self._delivered_j + rate_w * (self._end_s - self._time_s)
                ended.append((at_j - self._from_j) / (self._end_s - self._from_s))
                self._from_s, self._from_j = self._end_s, at_j
                self._end_s += self.slot_s
                self.slot += 1
        self._time_s, self._delivered_j = time_s, delivered_j
        return ended

    @property
    def left_s(self) -> float:
        """Time until the slot ends [s]."""
        return self._end_s - self._time_s
