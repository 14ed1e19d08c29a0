# SPDX-License-Identifier: Apache-2.0
"""A source that is a formula: constant power with an optional swing, for trying commands without a meter."""

from __future__ import annotations

import math

from joulet.errors import UsageError
from joulet.meters.machine import Machine
from joulet.meters.seam import Reading
from joulet.meters.spec import Spec
from joulet.units import parse_quantity


class SimulatedMeter:
    """``simulated:10mW,swing=5mW,period=2s,voltage=3.3V``: power × (1 + swing/power · sin), with its exact integral."""

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("swing", "period", "voltage")
        self.source = spec.text
        self.notes: tuple[str, ...] = ("simulated: no figure of this source was measured",)
        self._machine = machine
        self._mean_w = parse_quantity(spec.where or "10mW", "W", what=f"source '{spec.text}'")
        self._swing_w = spec.quantity("swing", "W", 0.0, allow_zero=True)
        self._omega = 2 * math.pi / spec.quantity("period", "s", 1.0)
        self._voltage_v = spec.quantity("voltage", "V", 3.3)
        if self._swing_w > self._mean_w:
            raise UsageError(f"source '{spec.text}': swing is more than the power it swings around")
        self._began_s = machine.clock()

    def read(self) -> tuple[Reading, ...]:
        """Return power now and energy since the beginning."""
        now_s = self._machine.clock()
        t = now_s - self._began_s
        power_w = self._mean_w + self._swing_w * math.sin(self._omega * t)
        energy_j = self._mean_w * t + self._swing_w * (1.0 - math.cos(self._omega * t)) / self._omega
        return (
            Reading(
                time_s=now_s, rail="simulated", voltage_v=self._voltage_v, current_a=power_w / self._voltage_v,
                power_w=power_w, energy_j=energy_j, provenance="modelled: simulated source",
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is held."""
