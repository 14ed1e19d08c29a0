# SPDX-License-Identifier: Apache-2.0
"""How much an event may take now, so that over a horizon the store neither runs empty nor overflows.

Sources: Moser, Thiele, Brunelli, Benini, "Adaptive power management for environmentally powered systems" (IEEE ToC 2010)
for the receding horizon; the sum of one concave utility over slots under a storage law is maximised by the straightest
line between "store full" and "store empty" (Tutuncuoglu and Yener, "Optimum transmission policies for battery limited
energy harvesting nodes", IEEE TWC 2012). Only the first piece of that line is needed, and the search for it stops where it
bends. Ours: a slot is a quarter of what the store lasts at full depth, one event to half an hour; where a day or more was
lived through the forecast is WCMA, elsewhere the recent mean until the run is a day old.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

from joulet.policies.harvest import DAY_S, MeanPower, SlotPower
from joulet.policies.points import front
from joulet.policies.predictors import Quantile, Wcma
from joulet.policies.seam import Experience, PolicyContext
from joulet.records import Observation

_HORIZON = 48  # slots
_DAYS = 20  # of the past that WCMA is begun with
_SHORTEST_S = 300.0  # slot of a forecast by time of day
_LONGEST_S = 1800.0
_POOR = 0.2  # below this share of the store only what is likely to come is counted on


class SpendingPlan:
    """Budget of an event, re-solved at the end of each slot.

    Parameters
    ----------
    reserve : float
        Share of the store to be there at the end of the horizon, 0..1.
    """

    def __init__(self, reserve: float = 0.5) -> None:
        self._reserve = reserve
        self._past: tuple[float, Quantile] | None = None
        self.budget_j = 0.0

    def fit(self, experience: Experience) -> None:
        """Begin the forecast with the last days, where there was one."""
        self._past = None
        longest_s = max((len(s.power_w) * s.step_s for s in experience.stretches), default=0.0)
        if longest_s < DAY_S:
            return
        slot_s = slot_length_s(experience.context, daily=True)
        forecast = _forecast(slot_s)
        for start_s, means_w in _recent_days(experience, slot_s):
            forecast.begin(int(start_s % DAY_S // slot_s))
            for power_w in means_w:
                forecast.observe(power_w)
        self._past = slot_s, forecast

    def reset(self, context: PolicyContext) -> None:
        """Forget the run, keep the past."""
        self._context = context
        slot_s = slot_length_s(context, daily=self._past is not None)
        self._daily = self._past is not None and self._past[0] == slot_s
        self._forecast = deepcopy(self._past[1]) if self._past is not None and self._daily else _forecast(slot_s)
        self._slots = SlotPower(slot_s)
        self._power = MeanPower(0.25 * context.period_s, 4.0 * slot_s)
        self._begin_s = math.nan
        self.budget_j = 0.0

    def update(self, observation: Observation) -> bool:
        """Take an observation before a start; return whether :attr:`budget_j` was solved again."""
        ended_w = self._slots.update(observation)
        self._power.update(observation)
        if self._slots.jumped:
            self._forecast.begin(self._slots.slot)
            if self._begin_s != self._begin_s:
                self._begin_s = observation.time_s
        elif not ended_w:
            return False
        for power_w in ended_w:
            self._forecast.observe(power_w)
        context = self._context
        rate_w = straightest(
            self._ahead_w(observation),
            (self._slots.left_s, self._slots.slot_s),
            observation.usable_energy_j,
            observation.full_energy_j,
            self._reserve * observation.full_energy_j,
        )
        self.budget_j = rate_w * context.period_s
        return True

    def _ahead_w(self, observation: Observation) -> Sequence[float]:
        """Forecast of the slots to come, sleep paid [W]."""
        sleep_w, slot_s = self._context.sleep_w, self._slots.slot_s
        aged = slot_s >= _SHORTEST_S and observation.time_s - self._begin_s >= DAY_S + slot_s
        if not (self._daily or aged):
            return [self._power.slow_w - sleep_w] * _HORIZON
        poor = observation.usable_energy_j < _POOR * observation.full_energy_j
        forecast = self._forecast if poor else self._forecast.base
        ahead_w: list[float] = (forecast.predict(_HORIZON) - sleep_w).tolist()
        return ahead_w


def straightest(
    ahead_w: Sequence[float], lengths_s: tuple[float, float], usable_j: float, full_j: float, reserve_j: float
) -> float:
    """Return the power to spend now [W]: the first piece of the straightest line of spending over the horizon.

    Spending up to a time must not exceed what is stored and comes by then, nor fall below what the store cannot hold.

    Parameters
    ----------
    ahead_w : sequence of float
        Mean power of each slot, the present one first, sleep paid [W].
    lengths_s : (float, float)
        What is left of the present slot, and the length of the others [s].
    usable_j, full_j, reserve_j : float
        Stored now, at most, and to be left at the end [J].
    """
    low_w, high_w, time_s, come_j = 0.0, math.inf, 0.0, usable_j
    for index, power_w in enumerate(ahead_w):
        length_s = lengths_s[index > 0]
        time_s += length_s
        come_j += power_w * length_s
        most_w, least_w = max(come_j, 0.0) / time_s, (come_j - full_j) / time_s
        if least_w > high_w:
            return high_w  # empty first, full later: spend all until then
        if most_w < low_w:
            return low_w  # full first, empty later: spend no more than would be refused
        low_w, high_w = max(low_w, least_w), min(high_w, most_w)
    return min(max((come_j - reserve_j) / time_s, low_w), high_w)


def slot_length_s(context: PolicyContext, *, daily: bool) -> float:
    """Return a quarter of what a full store lasts at full depth, one period to half an hour, a day a whole number of them."""
    lasts_s = context.full_j / front(context)[-1].energy_j * context.period_s
    wanted_s = min(max(0.25 * lasts_s, context.period_s, _SHORTEST_S if daily else 0.0), _LONGEST_S)
    return DAY_S / max(1, round(DAY_S / wanted_s))


def _forecast(slot_s: float) -> Quantile:
    """Slots shorter than a minute are not forecast by time of day; their profile is coarse and never asked."""
    return Quantile(Wcma(min(1440, round(DAY_S / slot_s)), days=_DAYS), 0.2)


def _recent_days(experience: Experience, slot_s: float) -> list[tuple[float, list[float]]]:
    """Return (time of day [s], mean power of each slot [W]) of the last days lived through, oldest first."""
    found: list[tuple[float, list[float]]] = []
    left_s = _DAYS * DAY_S
    for stretch in reversed(experience.stretches):
        if left_s <= 0.0:
            break
        # whole slots, from the first that begins in the stretch
        skip = math.ceil((-stretch.start_s % slot_s) / stretch.step_s)
        per = max(1, round(slot_s / stretch.step_s))
        take = min((len(stretch.power_w) - skip) // per, math.ceil(left_s / slot_s))
        if take <= 0:
            continue
        first = skip + ((len(stretch.power_w) - skip) // per - take) * per
        means_w = stretch.power_w[first : first + take * per].reshape(take, per).mean(axis=1)
        found.append((stretch.start_s + first * stretch.step_s, means_w.tolist()))
        left_s -= take * slot_s
    return found[::-1]
