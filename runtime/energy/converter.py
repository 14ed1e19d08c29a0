# SPDX-License-Identifier: Apache-2.0
"""What stands between harvester and store: an efficiency and a quiescent draw."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

from joulet.errors import UsageError


class ConstantConverter:
    """A converter of constant efficiency.

    Parameters
    ----------
    efficiency : float
        Out over in, more than 0 and at most 1.
    quiescent_w : float
        Drawn all the time, 0 or more [W].
    """

    def __init__(self, efficiency: float, *, quiescent_w: float = 0.0, provenance: str = "") -> None:
        _check_quiescent(quiescent_w)
        _check_efficiency(efficiency)
        self._efficiency = efficiency
        self._quiescent_w = quiescent_w
        self.provenance = provenance or f"modelled: constant efficiency {efficiency:g}, quiescent {quiescent_w:g} W"

    def output_w(self, power_w: float) -> float:
        """Return the power that reaches the store [W]; negative in the dark."""
        return self._efficiency * power_w - self._quiescent_w


class TableConverter:
    """A converter whose efficiency is a table over input power, interpolated linearly, constant beyond its ends.

    Parameters
    ----------
    power_w : sequence of float
        Input powers, rising [W].
    efficiency : sequence of float
        Out over in at each, more than 0 and at most 1.
    quiescent_w : float
        Drawn all the time, 0 or more [W].
    """

    def __init__(
        self, power_w: Sequence[float], efficiency: Sequence[float], *, quiescent_w: float = 0.0, provenance: str = ""
    ) -> None:
        _check_quiescent(quiescent_w)
        if len(power_w) != len(efficiency) or not power_w:
            raise UsageError(f"converter: {len(power_w)} powers but {len(efficiency)} efficiencies; give one for each")
        for value in efficiency:
            _check_efficiency(value)
        if any(not later > earlier for earlier, later in itertools.pairwise(power_w)):
            raise UsageError("converter: the powers of an efficiency table must rise")
        self._power_w = tuple(power_w)
        self._efficiency = tuple(efficiency)
        self._quiescent_w = quiescent_w
        self.provenance = provenance or f"modelled: efficiency table of {len(power_w)} points"

    def output_w(self, power_w: float) -> float:
        """Return the power that reaches the store [W]; negative in the dark."""
        return self._at(power_w) * power_w - self._quiescent_w

    def _at(self, power_w: float) -> float:
        right = bisect_right(self._power_w, power_w)
        if right == 0:
            return self._efficiency[0]
        if right == len(self._power_w):
            return self._efficiency[-1]
        low, high = self._power_w[right - 1], self._power_w[right]
        share = (power_w - low) / (high - low)
        return self._efficiency[right - 1] * (1.0 - share) + self._efficiency[right] * share


def _check_efficiency(value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise UsageError(f"converter: efficiency {value} is outside 0..1")


def _check_quiescent(value: float) -> None:
    if not (value >= 0.0 and math.isfinite(value)):
        raise UsageError(f"converter: quiescent power {value} W must be zero or more")
