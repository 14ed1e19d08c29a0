# SPDX-License-Identifier: Apache-2.0
"""What every meter looks like from outside: one reading of each rail now, or a stream of samples at a fixed rate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class Quality(Flag):
    """What is wrong with a reading; several may be.

    SATURATED: at the end of a range, or the chip says that it overflowed. COARSE: fewer than ten steps of the source's
    resolution. STALE: the source has not converted since the last reading. PARTIAL: it lacks part of what its name says.
    ESTIMATE: computed, not measured. GAP: samples were lost in the interval that it stands for.
    """

    OK = 0
    SATURATED = auto()
    COARSE = auto()
    STALE = auto()
    PARTIAL = auto()
    ESTIMATE = auto()
    GAP = auto()

    def words(self) -> tuple[str, ...]:
        """Return the names of what is wrong, lower case; none when all is well."""
        return tuple(str(each.name).lower() for each in Quality if each in self and each.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one rail drew at one time.

    Attributes
    ----------
    time_s
        On the clock of the machine that reads, ``Machine.clock`` [s].
    rail
        Name, unique within its meter.
    voltage_v, current_a, power_w
        None where the source does not tell. Positive is out of the source, into the load [V, A, W].
    low_w, high_w
        Extremes of the samples that this reading is the mean of; None where it is a single one [W].
    energy_j
        Since the meter was opened, by a counter or integral of its own; None without one [J].
    covered_s
        Time that ``energy_j`` stands for, by the meter's own clock; None where it is all time since the meter was opened [s].
    lost_s
        Of the time since the last reading, for which samples were lost: ``energy_j`` lacks it [s].
    counts
        Belongs in the sum over rails: False for what another rail contains already.
    provenance
        ``measured: …``, ``estimated: …`` or ``modelled: …`` with instrument and method.
    quality
        What is wrong with it.
    """

    time_s: float
    rail: str
    provenance: str
    voltage_v: float | None = None
    current_a: float | None = None
    power_w: float | None = None
    low_w: float | None = None
    high_w: float | None = None
    energy_j: float | None = None
    covered_s: float | None = None
    lost_s: float = 0.0
    counts: bool = True
    quality: Quality = Quality.OK


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """A stretch of a stream.

    Attributes
    ----------
    first
        Index of the first sample since the stream began; lost samples are counted, so index × period is time on the
        meter's own clock.
    period_s
        Of a sample [s].
    voltage_v
        Of the supply [V].
    current_a
        ``(n,)`` float64, NaN where samples were lost [A].
    logic
        ``(n,)`` uint8: levels of the meter's digital inputs, D0 in bit 0; 0 where samples were lost.
    lost
        Samples that are NaN.
    uncertain
        Places where the stream broke by more than its counter can tell; what was lost there is a lower bound.
    """

    first: int
    period_s: float
    voltage_v: float
    current_a: npt.NDArray[np.float64]
    logic: npt.NDArray[np.uint8]
    lost: int = 0
    uncertain: int = 0

    @property
    def count(self) -> int:
        """Samples, the lost ones among them."""
        return len(self.current_a)


class Meter(Protocol):
    """A source of readings. It belongs to one thread."""

    @property
    def source(self) -> str:
        """The source as it was asked for."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know: rails left out and why, what a total lacks."""

    def read(self) -> tuple[Reading, ...]:
        """Return what each rail draws now.

        Raises
        ------
        MeterError
            If the source does not answer, or not as it should.
        """

    def close(self) -> None:
        """Let go of the source."""


@runtime_checkable
class Stream(Meter, Protocol):
    """A meter that samples at a fixed rate by its own clock."""

    @property
    def rate_hz(self) -> float:
        """Samples a second [Hz]."""

    def samples(self, timeout_s: float) -> Samples:
        """Return what has arrived since the last call, possibly nothing; waits for at least one sample at most so long.

        Raises
        ------
        MeterError
            If the source is gone.
        """
