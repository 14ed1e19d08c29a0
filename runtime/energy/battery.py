# SPDX-License-Identifier: Apache-2.0
"""A battery: voltage linear in state of charge, losses in charging, a limit of charging power, self-discharge.

Its energy obeys dE/dt = η·min(P, P_max) − E/τ while it is charged with net power P, and dE/dt = P − E/τ while it is
discharged. What charging loses, (1 − η) of what is accepted, is booked as *conversion*, since it passes with the power;
self-discharge is booked as *leakage*, and power beyond ``max_charge_w`` or a full battery as *clipped*.
"""

from __future__ import annotations

import math
from dataclasses import replace

from joulet.energy.relax import course
from joulet.energy.seam import StorageStep
from joulet.errors import UsageError


class Battery:
    """A battery; the state is its energy, counted from empty.

    Parameters
    ----------
    capacity_j : float
        Energy from empty to full, more than 0 [J].
    empty_v, full_v : float
        Open-circuit voltage when empty and full, rising [V].
    initial_v : float, optional
        ``empty_v``..``full_v``; None for an empty battery [V].
    charge_efficiency : float
        Stored over accepted, more than 0 and at most 1.
    max_charge_w : float
        Power accepted at most; ``inf`` for no limit [W].
    self_discharge_tau_s : float
        Time constant of self-discharge; ``inf`` for none [s].
    esr_ohm : float
        Internal resistance, 0 or more [ohm]; see :mod:`joulet.energy.esr`.
    provenance : str
        Where these figures come from.
    """

    def __init__(
        self,
        capacity_j: float,
        *,
        empty_v: float,
        full_v: float,
        initial_v: float | None = None,
        charge_efficiency: float = 1.0,
        max_charge_w: float = math.inf,
        self_discharge_tau_s: float = math.inf,
        esr_ohm: float = 0.0,
        provenance: str = "",
    ) -> None:
        initial_v = empty_v if initial_v is None else initial_v
        for name, value in (("capacity", capacity_j), ("empty voltage", empty_v), ("full voltage", full_v)):
            if not (value > 0.0 and math.isfinite(value)):
                raise UsageError(f"battery: {name} is {value}; it must be more than zero")
        if not (max_charge_w > 0.0 and self_discharge_tau_s > 0.0 and 0.0 < charge_efficiency <= 1.0):
            raise UsageError(
                f"battery: charging power {max_charge_w} W and self-discharge {self_discharge_tau_s} s must be more than "
                f"zero, and the charge efficiency {charge_efficiency} in 0..1"
            )
        if not empty_v < full_v or not empty_v <= initial_v <= full_v:
            raise UsageError(f"battery: voltages must rise: empty {empty_v}, initial {initial_v}, full {full_v} V")
        if not (esr_ohm >= 0.0 and math.isfinite(esr_ohm)):
            raise UsageError(f"battery: ESR is {esr_ohm} ohm; it must be zero or more")
        self._capacity_j = capacity_j
        self._empty_v, self._span_v = empty_v, full_v - empty_v
        self._efficiency = charge_efficiency
        self._max_charge_w = max_charge_w
        self._tau_s = self_discharge_tau_s
        self._esr_ohm = esr_ohm
        self._energy_j = min(self.energy_at_j(initial_v), capacity_j)
        self.provenance = provenance or (
            f"modelled: battery of {capacity_j:g} J, {empty_v:g} to {full_v:g} V, charge efficiency {charge_efficiency:g}"
        )

    @property
    def voltage_v(self) -> float:
        """Open-circuit voltage now [V]."""
        return self.voltage_at_v(self._energy_j)

    @property
    def energy_j(self) -> float:
        """All energy held, counted from empty [J]."""
        return self._energy_j

    @property
    def full_energy_j(self) -> float:
        """``energy_j`` of a full battery [J]."""
        return self._capacity_j

    @property
    def empty_v(self) -> float:
        """Open-circuit voltage when empty [V]."""
        return self._empty_v

    @property
    def span_v(self) -> float:
        """Open-circuit voltage when full above that when empty [V]."""
        return self._span_v

    @property
    def charge_efficiency(self) -> float:
        """Stored over accepted, 0..1."""
        return self._efficiency

    @property
    def max_charge_w(self) -> float:
        """Power accepted at most, ``inf`` for no limit [W]."""
        return self._max_charge_w

    @property
    def leak_tau_s(self) -> float:
        """Time constant of self-discharge [s]."""
        return self._tau_s

    @property
    def esr_ohm(self) -> float:
        """Internal resistance [ohm]."""
        return self._esr_ohm

    def energy_at_j(self, voltage_v: float) -> float:
        """Return the energy held at a voltage, 0 below that of an empty battery [J]."""
        return max(0.0, (voltage_v - self._empty_v) / self._span_v * self._capacity_j)

    def voltage_at_v(self, energy_j: float) -> float:
        """Return the voltage at an energy held [V]."""
        return self._empty_v + max(energy_j, 0.0) / self._capacity_j * self._span_v

    def advance(
        self,
        power_w: float,
        duration_s: float,
        *,
        stop_below_v: float | None = None,
        stop_above_v: float | None = None,
    ) -> StorageStep:
        """Advance under constant net power; see :meth:`joulet.energy.seam.Storage.advance`.

        An empty battery has met every lower stop, one below its voltage too.
        """
        start_j = self._energy_j
        low_j = 0.0 if stop_below_v is None else self.energy_at_j(stop_below_v)
        high_j = self._capacity_j if stop_above_v is None else min(self._capacity_j, self.energy_at_j(stop_above_v))
        if (stop_below_v is not None and start_j <= low_j) or (stop_above_v is not None and start_j >= high_j):
            return StorageStep(0.0, 0.0, 0.0, 0.0, True, stop_below_v is not None and start_j <= low_j)
        stored_w = self._stored_w(power_w)
        way = course(start_j, stored_w, duration_s, self._tau_s, low_j=low_j, high_j=high_j)
        self._energy_j = way.end_j
        step = self._passed(power_w, way.passed_s, way.leaked_j)
        if way.limit_j is None:
            return step
        if (stop_below_v if way.limit_j == low_j else stop_above_v) is not None:
            return replace(step, stopped=True, below=way.limit_j == low_j)
        return self._stay(step, power_w, duration_s - way.passed_s)

    def _passed(self, power_w: float, duration_s: float, leak_j: float) -> StorageStep:
        """Return a step in which the battery was neither full nor empty."""
        refused_j = max(0.0, power_w - self._max_charge_w) * duration_s
        lost_j = (1.0 - self._efficiency) * min(max(power_w, 0.0), self._max_charge_w) * duration_s
        return StorageStep(duration_s, leak_j, refused_j, 0.0, False, lost_j=lost_j)

    def _stay(self, step: StorageStep, power_w: float, rest_s: float) -> StorageStep:
        """Return a step prolonged by a time at which the battery stays full, or empty."""
        elapsed_s = step.elapsed_s + rest_s
        if power_w < 0.0:  # empty: what the load still asks for is not there
            return replace(step, elapsed_s=elapsed_s, unmet_j=-power_w * rest_s)
        held_w = self._energy_j / self._tau_s  # full: self-discharge is topped up, the rest is refused
        taken_w = held_w / self._efficiency
        return replace(
            step,
            elapsed_s=elapsed_s,
            leaked_j=step.leaked_j + held_w * rest_s,
            lost_j=step.lost_j + (taken_w - held_w) * rest_s,
            clipped_j=step.clipped_j + (power_w - taken_w) * rest_s,
        )

    def rate_w(self, power_w: float) -> float:
        """Return how fast the energy held changes now under a net power [W]."""
        return self._stored_w(power_w) - self._energy_j / self._tau_s

    def hold(self, power_w: float, duration_s: float) -> StorageStep:
        """Return what passes while the energy held stays as it is."""
        return self._passed(power_w, duration_s, self._energy_j / self._tau_s * duration_s)

    def _stored_w(self, power_w: float) -> float:
        return self._efficiency * min(power_w, self._max_charge_w) if power_w > 0.0 else power_w
