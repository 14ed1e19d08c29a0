# SPDX-License-Identifier: Apache-2.0
"""What stands between harvester and store, and between store and load, where the store's voltage does not matter.

For converters whose behaviour changes with the store's voltage see :mod:`joulet.energy.banded`.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import UsageError


@dataclass(frozen=True, slots=True)
class EfficiencyTable:
    """An efficiency over power, interpolated linearly, constant beyond its ends.

    Attributes
    ----------
    power_w
        Powers, rising, one or more [W].
    efficiency
        Out over in at each, more than 0 and at most 1.
    """

    power_w: tuple[float, ...]
    efficiency: tuple[float, ...]

    def __post_init__(self) -> None:
        powers, efficiencies = len(self.power_w), len(self.efficiency)
        if powers != efficiencies or not powers:
            raise UsageError(f"converter: {powers} powers but {efficiencies} efficiencies; give one for each")
        for value in self.efficiency:
            check_efficiency(value)
        if not all(math.isfinite(power) for power in self.power_w) or any(
            not later > earlier for earlier, later in itertools.pairwise(self.power_w)
        ):
            raise UsageError("converter: the powers of an efficiency table must rise")

    def at(self, power_w: float) -> float:
        """Return the efficiency at a power."""
        right = bisect_right(self.power_w, power_w)
        if right == 0:
            return self.efficiency[0]
        if right == len(self.power_w):
            return self.efficiency[-1]
        low, high = self.power_w[right - 1], self.power_w[right]
        share = (power_w - low) / (high - low)
        return self.efficiency[right - 1] * (1.0 - share) + self.efficiency[right] * share

    def at_each(self, power_w: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the efficiency at each of many powers: the same numbers as :meth:`at`."""
        powers, efficiency = np.asarray(self.power_w), np.asarray(self.efficiency)
        right = np.searchsorted(powers, power_w, side="right")
        above, below = np.clip(right, 0, len(powers) - 1), np.clip(right - 1, 0, len(powers) - 1)
        span_w = powers[above] - powers[below]
        share = (power_w - powers[below]) / np.where(span_w > 0.0, span_w, 1.0)
        between = efficiency[below] * (1.0 - share) + efficiency[above] * share
        return np.where(span_w > 0.0, between, efficiency[above])


class ConstantConverter:
    """A converter of constant efficiency; the load is fed straight from the store.

    Parameters
    ----------
    efficiency : float
        Out over in, more than 0 and at most 1.
    quiescent_w : float
        Drawn all the time, 0 or more [W].
    """

    band_edges_v: tuple[float, ...] = ()
    on_v: float | None = None
    off_v: float | None = None

    def __init__(self, efficiency: float, *, quiescent_w: float = 0.0, provenance: str = "") -> None:
        check_quiescent(quiescent_w)
        check_efficiency(efficiency)
        self._efficiency = efficiency
        self._quiescent_w = quiescent_w
        self.provenance = provenance or f"modelled: constant efficiency {efficiency:g}, quiescent {quiescent_w:g} W"

    def output_w(self, power_w: float, voltage_v: float = math.inf) -> float:
        """Return the power that reaches the store [W]; negative in the dark."""
        return self._efficiency * power_w - self._quiescent_w

    def outputs_w(self, power_w: npt.NDArray[np.float64], voltage_v: float = math.inf) -> npt.NDArray[np.float64]:
        """Return what reaches the store at each of many powers [W]."""
        return self._efficiency * power_w - self._quiescent_w

    def draw_w(self, load_w: float, voltage_v: float = math.inf) -> float:
        """Return the power drawn from the store for a load [W]: the load's own."""
        return load_w


class TableConverter:
    """A converter whose efficiency is a table over input power; the load is fed straight from the store.

    Parameters
    ----------
    power_w : sequence of float
        Input powers, rising [W].
    efficiency : sequence of float
        Out over in at each, more than 0 and at most 1.
    quiescent_w : float
        Drawn all the time, 0 or more [W].
    """

    band_edges_v: tuple[float, ...] = ()
    on_v: float | None = None
    off_v: float | None = None

    def __init__(
        self, power_w: Sequence[float], efficiency: Sequence[float], *, quiescent_w: float = 0.0, provenance: str = ""
    ) -> None:
        check_quiescent(quiescent_w)
        self._table = EfficiencyTable(tuple(power_w), tuple(efficiency))
        self._quiescent_w = quiescent_w
        self.provenance = provenance or f"modelled: efficiency table of {len(power_w)} points"

    def output_w(self, power_w: float, voltage_v: float = math.inf) -> float:
        """Return the power that reaches the store [W]; negative in the dark."""
        return self._table.at(power_w) * power_w - self._quiescent_w

    def outputs_w(self, power_w: npt.NDArray[np.float64], voltage_v: float = math.inf) -> npt.NDArray[np.float64]:
        """Return what reaches the store at each of many powers [W]."""
        return self._table.at_each(power_w) * power_w - self._quiescent_w

    def draw_w(self, load_w: float, voltage_v: float = math.inf) -> float:
        """Return the power drawn from the store for a load [W]: the load's own."""
        return load_w


def check_efficiency(value: float) -> None:
    """Refuse what is no efficiency."""
    if not 0.0 < value <= 1.0:
        raise UsageError(f"converter: efficiency {value} is outside 0..1")


def check_quiescent(value: float) -> None:
    """Refuse what is no quiescent power."""
    if not (value >= 0.0 and math.isfinite(value)):
        raise UsageError(f"converter: quiescent power {value} W must be zero or more")
