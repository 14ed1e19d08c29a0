# SPDX-License-Identifier: Apache-2.0
"""A capacitor with leakage, advanced in closed form.

With leakage resistance R the energy E = C·V²/2 obeys dE/dt = P − E/τ with τ = R·C/2, so under constant net power P
it goes from E₀ to E(t) = P·τ + (E₀ − P·τ)·exp(−t/τ). Limits (full, empty, stop voltages) are met at the time at
which this curve reaches them.
"""

from __future__ import annotations

import math

from joulet.energy.relax import course
from joulet.energy.seam import StorageStep
from joulet.errors import UsageError


class Capacitor:
    """A capacitor; the state is its voltage.

    Parameters
    ----------
    capacitance_f : float
        [F], more than 0.
    max_v : float
        Voltage at which charging stops; what arrives then is clipped [V].
    initial_v : float
        0..``max_v`` [V].
    leakage_ohm : float
        Parallel leakage resistance [ohm]; ``inf`` for none.
    esr_ohm : float
        Equivalent series resistance, 0 or more [ohm]; see :mod:`joulet.energy.esr`.
    provenance : str
        Where these figures come from.
    """

    def __init__(
        self,
        capacitance_f: float,
        *,
        max_v: float,
        initial_v: float = 0.0,
        leakage_ohm: float = math.inf,
        esr_ohm: float = 0.0,
        provenance: str = "",
    ) -> None:
        for name, value in (("capacitance", capacitance_f), ("maximum voltage", max_v), ("leakage", leakage_ohm)):
            if not value > 0.0 or (math.isinf(value) and name != "leakage"):
                raise UsageError(f"capacitor: {name} is {value}; it must be more than zero")
        if not 0.0 <= initial_v <= max_v:
            raise UsageError(f"capacitor: initial voltage {initial_v} V is outside 0..{max_v} V")
        if not (esr_ohm >= 0.0 and math.isfinite(esr_ohm)):
            raise UsageError(f"capacitor: ESR is {esr_ohm} ohm; it must be zero or more")
        self._capacitance_f = capacitance_f
        self._tau_s = leakage_ohm * capacitance_f / 2.0
        self._full_j = 0.5 * capacitance_f * max_v * max_v
        self._voltage_v = initial_v
        self._esr_ohm = esr_ohm
        resistance = f"{esr_ohm:g} ohm of ESR under load" if esr_ohm else "no ESR"
        self.provenance = provenance or f"modelled: ideal capacitor with a leakage resistance, {resistance}"

    @property
    def voltage_v(self) -> float:
        """Voltage now [V]."""
        return self._voltage_v

    @property
    def energy_j(self) -> float:
        """All energy held, counted from 0 V [J]."""
        return 0.5 * self._capacitance_f * self._voltage_v * self._voltage_v

    @property
    def full_energy_j(self) -> float:
        """``energy_j`` of a full store [J]."""
        return self._full_j

    @property
    def capacitance_f(self) -> float:
        """Capacitance [F]."""
        return self._capacitance_f

    @property
    def leak_tau_s(self) -> float:
        """Time constant at which the energy held leaks away [s]."""
        return self._tau_s

    @property
    def esr_ohm(self) -> float:
        """Equivalent series resistance [ohm]."""
        return self._esr_ohm

    def energy_at_j(self, voltage_v: float) -> float:
        """Return the energy held at a voltage [J]."""
        return 0.5 * self._capacitance_f * voltage_v * voltage_v

    def voltage_at_v(self, energy_j: float) -> float:
        """Return the voltage at an energy held [V]."""
        return math.sqrt(2.0 * max(energy_j, 0.0) / self._capacitance_f)

    def advance(
        self,
        power_w: float,
        duration_s: float,
        *,
        stop_below_v: float | None = None,
        stop_above_v: float | None = None,
    ) -> StorageStep:
        """Advance under constant net power; see :meth:`joulet.energy.seam.Storage.advance`."""
        start_j = self.energy_j
        low_j = 0.0 if stop_below_v is None else self.energy_at_j(stop_below_v)
        high_j = self._full_j if stop_above_v is None else min(self._full_j, self.energy_at_j(stop_above_v))
        # already at or beyond a stop: nothing passes
        if (stop_below_v is not None and start_j <= low_j) or (stop_above_v is not None and start_j >= high_j):
            return StorageStep(0.0, 0.0, 0.0, 0.0, True, stop_below_v is not None and start_j <= low_j)
        way = course(start_j, power_w, duration_s, self._tau_s, low_j=low_j, high_j=high_j)
        self._set(way.end_j)
        if way.limit_j is None:
            return StorageStep(duration_s, way.leaked_j, 0.0, 0.0, False)
        if (stop_below_v if way.limit_j == low_j else stop_above_v) is not None:
            return StorageStep(way.passed_s, way.leaked_j, 0.0, 0.0, True, way.limit_j == low_j)
        rest_s = duration_s - way.passed_s
        if way.limit_j == low_j:  # empty: what the load still asks for is not there
            return StorageStep(duration_s, way.leaked_j, 0.0, -power_w * rest_s, False)
        held_w = way.limit_j / self._tau_s  # full: leakage is topped up, the rest is refused
        return StorageStep(duration_s, way.leaked_j + held_w * rest_s, (power_w - held_w) * rest_s, 0.0, False)

    def rate_w(self, power_w: float) -> float:
        """Return how fast the energy held changes now under a net power [W]."""
        return power_w - self.energy_j / self._tau_s

    def hold(self, power_w: float, duration_s: float) -> StorageStep:
        """Return what passes while the energy held stays as it is."""
        return StorageStep(duration_s, self.energy_j / self._tau_s * duration_s, 0.0, 0.0, False)

    def _set(self, energy_j: float) -> None:
        self._voltage_v = self.voltage_at_v(energy_j)
