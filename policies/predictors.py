# SPDX-License-Identifier: Apache-2.0
"""Forecasts of harvested power, slot by slot of the day.

Sources: EWMA, Kansal et al., "Power management in energy harvesting sensor networks" (ACM TECS 2007); WCMA, Recas
Piorno et al., "Prediction and management in energy harvested wireless sensor networks" (2009); Pro-Energy, Cammarano
et al. (MASS 2012); solar geometry, Cooper's declination (1969) as Duffie and Beckman give it. The published rules look
one slot ahead (EWMA a day); what is further away is ours: the weight of the last slot falls geometrically with distance.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Protocol

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

DAY_S = 86400.0
_FLOOR = 1e-2  # of the peak: below it a ratio to the usual says nothing
_FEWEST_ERRORS = 10  # before so many, a quantile is not told from the mean


class Predictor(Protocol):
    """Told the mean power of each slot as it ends; tells that of the slots to come. Deterministic."""

    def reset(self, slot: int = 0) -> None:
        """Forget everything; ``slot`` is the slot of the day that is observed next, 0 or more."""

    def observe(self, power_w: float) -> None:
        """Take the mean power of the slot that ended [W]; it may be negative in the dark."""

    def begin(self, slot: int) -> None:
        """Go on at a slot of a new day, after a gap; what was learnt of days is kept."""

    def predict(self, steps: int) -> F64:
        """Return ``(steps,)`` mean powers of the next slots [W]."""


class Persistence:
    """What was is what will be."""

    def __init__(self) -> None:
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget."""
        self._last_w = 0.0

    def begin(self, slot: int) -> None:
        """Do nothing: it knows no day."""

    def observe(self, power_w: float) -> None:
        """Remember the slot."""
        self._last_w = power_w

    def predict(self, steps: int) -> F64:
        """Repeat it."""
        return np.full(steps, self._last_w)


class Ewma:
    """Kansal's profile of the day: x̄_i ← a·x̄_i + (1 − a)·x_i. It knows nothing of today.

    Parameters
    ----------
    n_slots : int
        Slots of a day.
    keep : float
        a, the weight of the past, 0..1.
    """

    def __init__(self, n_slots: int = 48, keep: float = 0.5) -> None:
        self._n, self._keep = n_slots, keep
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget the profile."""
        self.profile_w: F64 = np.full(self._n, math.nan)
        self._slot, self._last_w = slot % self._n, 0.0

    def begin(self, slot: int) -> None:
        """Go on at a slot."""
        self._slot = slot % self._n

    def observe(self, power_w: float) -> None:
        """Move the slot's mean."""
        usual_w = self.profile_w[self._slot]
        known = usual_w == usual_w
        self.profile_w[self._slot] = self._keep * usual_w + (1.0 - self._keep) * power_w if known else power_w
        self._slot, self._last_w = (self._slot + 1) % self._n, power_w

    def predict(self, steps: int) -> F64:
        """Return the profile; the last power for slots never seen."""
        usual_w = self.profile_w[(self._slot + np.arange(steps)) % self._n]
        return np.where(np.isnan(usual_w), self._last_w, usual_w)


class _Days:
    """The last whole days and today, slot by slot; NaN where nothing was observed."""

    def __init__(self, n_slots: int, days: int, slot: int) -> None:
        self.n, self.slot, self.last_w = n_slots, slot % n_slots, 0.0
        self.rows: F64 = np.empty((0, n_slots))
        self.today: F64 = np.full(n_slots, math.nan)
        self.mean_w: F64 = np.full(n_slots, math.nan)
        self.peak_w = 0.0
        self._days = days

    def push(self, power_w: float) -> None:
        self.today[self.slot] = self.last_w = power_w
        self.slot += 1
        if self.slot == self.n:
            self._close()

    def begin(self, slot: int) -> None:
        """Close today, however little of it was seen, and go on at a slot of a new day."""
        if not np.isnan(self.today).all():
            self._close()
        self.slot = slot % self.n

    def _close(self) -> None:
        self.rows = np.vstack([self.rows, self.today])[-self._days :]
        self.slot, self.today = 0, np.full(self.n, math.nan)
        seen = ~np.isnan(self.rows)
        count = seen.sum(axis=0)
        total = np.where(seen, self.rows, 0.0).sum(axis=0)
        self.mean_w = np.where(count > 0, total / np.maximum(count, 1), math.nan)
        self.peak_w = float(np.nanmax(self.mean_w))

    def ahead(self, steps: int) -> npt.NDArray[np.intp]:
        return (self.slot + np.arange(steps)) % self.n


class Wcma:
    """Weather-conditioned moving average: the mean of the last days, scaled by how today compares with it.

    x̂_n = α·x_{n−1} + (1 − α)·GAP·M_D(n), GAP = Σ p_k·x/M_D over the last K slots / Σ p_k, p_k = k/K. For slot n + j − 1
    the weight α becomes α^j and GAP moves towards 1 by ``fade`` a slot.

    Parameters
    ----------
    n_slots : int
        Slots of a day.
    alpha : float
        Weight of the last slot, 0..1.
    days, window : int
        D and K.
    fade : float
        How much of GAP − 1 is left one slot further away, 0..1.
    highest : float
        Bound on one slot's x/M_D: at dawn M_D is small and says little.
    """

    def __init__(
        self,
        n_slots: int = 48,
        alpha: float = 0.2,
        days: int = 20,
        window: int = 1,
        *,
        fade: float = 0.95,
        highest: float = 5.0,
    ) -> None:
        self._n, self._alpha, self._depth, self._window = n_slots, alpha, days, window
        self._fade, self._highest = fade, highest
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget all days."""
        self._days = _Days(self._n, self._depth, slot)
        self._ratios: deque[float] = deque(maxlen=self._window)

    def begin(self, slot: int) -> None:
        """Go on at a slot of a new day, after a gap; the days before are kept."""
        self._days.begin(slot)
        self._ratios.clear()

    def observe(self, power_w: float) -> None:
        """Compare the slot with its usual power, then store it."""
        usual_w = self._days.mean_w[self._days.slot]
        sure = usual_w > _FLOOR * self._days.peak_w  # False for NaN
        self._ratios.append(min(max(power_w / usual_w, 0.0), self._highest) if sure else 1.0)
        self._days.push(power_w)

    @property
    def gap(self) -> float:
        """How today compares with the usual; 1 for a usual day."""
        if not self._ratios:
            return 1.0
        weights = range(1, len(self._ratios) + 1)
        return sum(w * r for w, r in zip(weights, self._ratios, strict=True)) / sum(weights)

    def predict(self, steps: int) -> F64:
        """Return the scaled mean; the last power for slots never seen."""
        days = self._days
        ahead = np.arange(1, steps + 1)
        usual_w = days.mean_w[days.ahead(steps)]
        last = self._alpha**ahead
        scaled_w = usual_w * (1.0 + (self.gap - 1.0) * self._fade ** (ahead - 1))
        return np.where(np.isnan(usual_w), days.last_w, last * days.last_w + (1.0 - last) * scaled_w)


class ProEnergy:
    """The stored day most like today's last slots, mixed with the last slot: x̂_n = γ·x_{n−1} + (1 − γ)·profile*_n.

    Keeps the last D days; the published pool of *typical* days is not kept.

    Parameters
    ----------
    n_slots : int
        Slots of a day.
    gamma : float
        Weight of the last slot, 0..1; of slot n + j − 1, γ^j.
    days, window : int
        D and K.
    """

    def __init__(self, n_slots: int = 48, gamma: float = 0.5, days: int = 20, window: int = 4) -> None:
        self._n, self._gamma, self._depth, self._window = n_slots, gamma, days, window
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget all days."""
        self._days = _Days(self._n, self._depth, slot)

    def begin(self, slot: int) -> None:
        """Go on at a slot of a new day; the days before are kept."""
        self._days.begin(slot)

    def observe(self, power_w: float) -> None:
        """Store the slot."""
        self._days.push(power_w)

    def predict(self, steps: int) -> F64:
        """Return the mix; the last power while no day is stored."""
        days = self._days
        if not len(days.rows):
            return np.full(steps, days.last_w)
        recent = slice(max(0, days.slot - self._window), days.slot)
        distance = np.abs(days.rows[:, recent] - days.today[recent])
        known = ~np.isnan(distance)
        mean = np.where(known, distance, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        # nothing to compare with right after midnight: the latest day
        chosen = days.rows[-1] if recent.start == recent.stop else days.rows[int(np.argmin(mean))]
        usual_w = chosen[days.ahead(steps)]
        last = self._gamma ** np.arange(1, steps + 1)
        return np.where(np.isnan(usual_w), days.last_w, last * days.last_w + (1.0 - last) * usual_w)


class DayOfYear:
    """The sun's height over the horizon at a latitude, scaled by how the last days compared with it: a prior for the day.

    Parameters
    ----------
    n_slots : int
        Slots of a day, the first beginning at midnight, solar time.
    latitude_deg : float
        North positive [°].
    day : int
        Day of the year of the first observation, 1..365.
    keep : float
        Weight of the past in the scale, updated once a day, 0..1.
    """

    def __init__(self, n_slots: int = 48, latitude_deg: float = 40.0, day: int = 80, keep: float = 0.7) -> None:
        self._n, self._latitude, self._first, self._keep = n_slots, math.radians(latitude_deg), day, keep
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget the scale, go back to the first day."""
        self._slot, self._day = slot % self._n, self._first
        self.scale_w = math.nan
        self._seen_w = self._clear = 0.0

    def begin(self, slot: int) -> None:
        """Go on at a slot of the next day."""
        if self._slot:
            self._day = self._day % 365 + 1
        self._slot, self._seen_w, self._clear = slot % self._n, 0.0, 0.0

    def height(self, day: int) -> F64:
        """Return ``(n_slots,)`` sine of the sun's height at the middle of each slot, 0 at night."""
        declination = math.radians(23.45) * math.sin(2.0 * math.pi * (284 + day) / 365.0)
        hour = 2.0 * math.pi * ((np.arange(self._n) + 0.5) / self._n - 0.5)
        level = math.sin(self._latitude) * math.sin(declination)
        swing = math.cos(self._latitude) * math.cos(declination)
        return np.asarray(np.maximum(0.0, level + swing * np.cos(hour)))

    def observe(self, power_w: float) -> None:
        """Add to the day; at its end move the scale."""
        self._seen_w += power_w
        self._clear += float(self.height(self._day)[self._slot])
        self._slot += 1
        if self._slot < self._n:
            return
        if self._clear > 0.0:
            today_w = self._seen_w / self._clear
            known = self.scale_w == self.scale_w
            self.scale_w = self._keep * self.scale_w + (1.0 - self._keep) * today_w if known else today_w
        self._slot, self._day = 0, self._day % 365 + 1
        self._seen_w = self._clear = 0.0

    def predict(self, steps: int) -> F64:
        """Return height × scale; during the first day the scale is that of the slots so far."""
        scale_w = self.scale_w
        if scale_w != scale_w:
            scale_w = self._seen_w / self._clear if self._clear > 0.0 else 0.0
        days = [self.height((self._day - 1 + d) % 365 + 1) for d in range(-(-(self._slot + steps) // self._n))]
        return np.concatenate(days)[self._slot : self._slot + steps] * scale_w


class Quantile:
    """A forecast that is kept with probability 1 − level: the base's, times a quantile of its relative errors x / x̂.

    Errors are those of one slot ahead, from slots forecast above 5 % of the highest power seen; they are applied at all
    distances.

    Parameters
    ----------
    base : Predictor
        What forecasts the middle.
    level : float
        0..1; 0.2 for "at least this much, four times in five".
    memory : int
        Errors kept.
    """

    def __init__(self, base: Predictor, level: float = 0.2, memory: int = 256) -> None:
        self.base, self._level, self._memory = base, level, memory
        self.reset()

    def reset(self, slot: int = 0) -> None:
        """Forget errors and the base's past."""
        self.base.reset(slot)
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._peak_w = 0.0

    def begin(self, slot: int) -> None:
        """Go on at a slot of a new day, after a gap; errors and the days before are kept."""
        self.base.begin(slot)

    def observe(self, power_w: float) -> None:
        """Keep the error of the last forecast."""
        expected_w = float(self.base.predict(1)[0])
        if expected_w > 0.05 * self._peak_w and expected_w > 0.0:
            if len(self._recent) == self._memory:
                del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
            ratio = max(power_w, 0.0) / expected_w
            self._recent.append(ratio)
            insort(self._sorted, ratio)
        self._peak_w = max(self._peak_w, power_w)
        self.base.observe(power_w)

    @property
    def factor(self) -> float:
        """Quantile of x / x̂; 1 before there are ten errors."""
        if len(self._sorted) < _FEWEST_ERRORS:
            return 1.0
        return self._sorted[round(self._level * (len(self._sorted) - 1))]

    def predict(self, steps: int) -> F64:
        """Return the base's forecast times the factor; negative powers stay as they are."""
        middle_w = self.base.predict(steps)
        return np.where(middle_w > 0.0, middle_w * self.factor, middle_w)
