# SPDX-License-Identifier: Apache-2.0
"""Any harvester as two arrays: what a simulator in C consumes."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from joulet.energy.seam import Converter, Harvester
from joulet.errors import DataError, UsageError


@runtime_checkable
class Expandable(Protocol):
    """A harvester that can lay out its segments without being asked one by one."""

    def expand(self, duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (starts [s], powers [W]) of all segments that begin before ``duration_s``; the first starts at 0."""


@runtime_checkable
class Vectorised(Protocol):
    """A converter that takes many powers at once."""

    def outputs_w(self, power_w: npt.NDArray[np.float64], voltage_v: float = math.inf) -> npt.NDArray[np.float64]:
        """Return ``output_w`` of each power [W]."""


def segments(harvester: Harvester, duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return all segments of a harvester up to a duration, loops included.

    Parameters
    ----------
    harvester : Harvester
        A recorded, synthetic or endless source.
    duration_s : float
        More than 0 and finite [s].

    Returns
    -------
    starts_s : array (n,) float64
        Rising; the first is 0, all lie before ``duration_s`` [s]. A segment ends where the next one starts, the last at
        ``duration_s``.
    power_w : array (n,) float64
        Power within each segment, 0 or more [W].
    """
    if not (duration_s > 0.0 and math.isfinite(duration_s)):
        raise UsageError(f"harvester: a duration of {duration_s} s cannot be laid out; give one that is finite")
    if isinstance(harvester, Expandable):
        return harvester.expand(duration_s)
    starts: list[float] = []
    powers: list[float] = []
    now_s = 0.0
    while now_s < duration_s:
        power_w, end_s = harvester.segment(now_s)
        if not (end_s > now_s and power_w >= 0.0):
            raise DataError(f"harvester: gave {power_w} W until {end_s} s when asked at {now_s} s; time must go on")
        starts.append(now_s)
        powers.append(power_w)
        now_s = end_s
    return np.array(starts, np.float64), np.array(powers, np.float64)


def outputs_w(
    converter: Converter, power_w: npt.NDArray[np.float64], voltage_v: float = math.inf
) -> npt.NDArray[np.float64]:
    """Return what reaches the store at each of many input powers, in the band of one voltage [W]."""
    if isinstance(converter, Vectorised):
        return converter.outputs_w(power_w, voltage_v)
    unique, back = np.unique(power_w, return_inverse=True)
    table = np.array([converter.output_w(power, voltage_v) for power in unique.tolist()], np.float64)
    return table[back.reshape(-1)].reshape(np.shape(power_w))
