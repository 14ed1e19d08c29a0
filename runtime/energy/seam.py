# SPDX-License-Identifier: Apache-2.0
"""The three seams of the energy path: harvester → converter → storage → load.

Everything is piecewise constant in power, so that storage can be advanced in closed form from one event to the next.
Another harvester (Shepherd, irradiance) or storage (battery) plugs in by having these methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Harvester(Protocol):
    """A source of power over time, constant within segments."""

    @property
    def duration_s(self) -> float:
        """End of what is known, ``inf`` for a source that goes on for ever [s]."""

    @property
    def provenance(self) -> str:
        """Where the figures come from."""

    def segment(self, time_s: float) -> tuple[float, float]:
        """Return (power [W], 0 or more; end of the segment [s], later than ``time_s``). Power is 0 after the end."""


class Converter(Protocol):
    """What stands between harvester and store, and between store and load.

    Its behaviour is constant in the store's voltage within each band, so that between two edges all powers are constant.
    """

    @property
    def provenance(self) -> str:
        """Where the figures come from."""

    @property
    def band_edges_v(self) -> tuple[float, ...]:
        """Rising voltages of the store at which behaviour changes [V]; empty for one band. An edge is in the band above."""

    @property
    def on_v(self) -> float | None:
        """Rising threshold of the converter's own power-good signal, None without one [V]."""

    @property
    def off_v(self) -> float | None:
        """Falling threshold of the converter's own power-good signal, None without one [V]."""

    def output_w(self, power_w: float, voltage_v: float = math.inf) -> float:
        """Return the power that reaches the store [W]; negative where the converter draws more than it passes on.

        ``voltage_v`` is the store's; without one the highest band answers.
        """

    def draw_w(self, load_w: float, voltage_v: float = math.inf) -> float:
        """Return the power drawn from the store so that the load gets ``load_w`` [W]; not less than it, 0 for 0."""


@dataclass(frozen=True, slots=True)
class StorageStep:
    """What happened while storage advanced.

    Attributes
    ----------
    elapsed_s
        Time that passed; less than asked where a stop voltage was met [s].
    leaked_j, clipped_j
        Lost inside the store, and refused because it was full; 0 or more [J].
    unmet_j
        Asked from a store that was empty and not delivered; 0 or more [J].
    stopped
        True when a stop voltage was met.
    below
        True when it was the lower one.
    lost_j
        Lost in charging; 0 or more [J].
    """

    elapsed_s: float
    leaked_j: float
    clipped_j: float
    unmet_j: float
    stopped: bool
    below: bool = False
    lost_j: float = 0.0


class Storage(Protocol):
    """A store of energy."""

    @property
    def voltage_v(self) -> float:
        """Voltage now [V]."""

    @property
    def energy_j(self) -> float:
        """All energy held, counted from 0 V [J]."""

    @property
    def full_energy_j(self) -> float:
        """``energy_j`` of a full store [J]."""

    @property
    def provenance(self) -> str:
        """Where the figures come from."""

    @property
    def leak_tau_s(self) -> float:
        """Time constant at which the energy held leaks away; ``inf`` for none [s]."""

    @property
    def esr_ohm(self) -> float:
        """Series resistance, 0 for none [ohm]; :mod:`joulet.energy.esr` says what it does."""

    def energy_at_j(self, voltage_v: float) -> float:
        """Return the energy held at a voltage [J]; 0 below the voltage of an empty store."""

    def voltage_at_v(self, energy_j: float) -> float:
        """Return the voltage at an energy held [V]; the inverse of :meth:`energy_at_j`."""

    def advance(
        self,
        power_w: float,
        duration_s: float,
        *,
        stop_below_v: float | None = None,
        stop_above_v: float | None = None,
    ) -> StorageStep:
        """Advance under constant net power, at most ``duration_s``; stop early at a voltage when it is crossed."""

    def rate_w(self, power_w: float) -> float:
        """Return how fast the energy held changes now under a net power [W]; not for a full or empty store."""

    def hold(self, power_w: float, duration_s: float) -> StorageStep:
        """Return what passes under a net power while the energy held stays as it is; the store is not advanced."""
