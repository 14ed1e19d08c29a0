# SPDX-License-Identifier: Apache-2.0
"""A recording as a meter: readings come again when they came, or faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.errors import MeterError, UsageError
from joulet.meters.machine import Machine
from joulet.meters.recording import Recording, load_recording
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec


class EndedError(MeterError):
    """A recording is over; asking again is of no use."""


class ReplayMeter:
    """``replay:FILE[,speed=10][,voltage=3.3V]``: each reading is the mean since the last one, with its extremes."""

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("speed", "voltage")
        self.source = spec.text
        if not spec.where:
            raise UsageError(f"source '{spec.text}': say which file, as in replay:power.csv or replay:session.ppk2")
        voltage_v = spec.quantity("voltage", "V") if "voltage" in spec.options else None
        try:
            self._speed = float(spec.options.get("speed", "1"))
        except ValueError:
            self._speed = 0.0
        if not 0.0 < self._speed <= 1e6:
            raise UsageError(f"source '{spec.text}': speed is a number above 0, such as 10")
        self._rails = load_recording(Path(spec.where), voltage_v)
        self._energy_j = [rail.energy_j() for rail in self._rails]
        self._covered_s = [rail.covered_s() for rail in self._rails]
        self._at = [0] * len(self._rails)
        self.notes: tuple[str, ...] = tuple(dict.fromkeys(note for rail in self._rails for note in rail.notes))
        self._machine, self._began_s = machine, machine.clock()
        self._first_s = min(float(rail.time_s[0]) for rail in self._rails)
        self._provenance = f"replayed from {Path(spec.where).name}"

    def read(self) -> tuple[Reading, ...]:
        """Return what has come since the last reading.

        Raises
        ------
        MeterError
            When the recording is over.
        """
        now_s = self._machine.clock()
        until_s = self._first_s + (now_s - self._began_s) * self._speed
        if all(at == len(rail.time_s) for at, rail in zip(self._at, self._rails, strict=True)):
            raise EndedError(f"recording '{self.source}' is over")
        readings = []
        for number, rail in enumerate(self._rails):
            end = int(np.searchsorted(rail.time_s, until_s, side="right"))
            if end > self._at[number]:
                readings.append(self._reading(number, rail, self._at[number], end))
                self._at[number] = end
        return tuple(readings)

    def _reading(self, number: int, rail: Recording, start: int, end: int) -> Reading:
        power_w = rail.power_w[start:end]
        known = power_w[np.isfinite(power_w)]
        time_s = self._began_s + (float(rail.time_s[end - 1]) - self._first_s) / self._speed
        covered_s, last = self._covered_s[number], max(start - 1, 0)
        passed_s = float(rail.time_s[end - 1] - rail.time_s[last])
        return Reading(
            time_s=time_s,
            rail=rail.rail,
            voltage_v=_mean(rail.voltage_v, start, end),
            current_a=_mean(rail.current_a, start, end),
            power_w=float(known.mean()) if len(known) else None,
            low_w=float(known.min()) if len(known) else None,
            high_w=float(known.max()) if len(known) else None,
            # energy and time of the recording, whatever the speed
            energy_j=float(self._energy_j[number][end - 1]),
            covered_s=float(covered_s[end - 1]),
            lost_s=max(0.0, passed_s - float(covered_s[end - 1] - covered_s[last])),
            provenance=self._provenance,
            quality=Quality.GAP if len(known) < len(power_w) else Quality.OK,
        )

    def close(self) -> None:
        """Nothing is held."""


def _mean(values: npt.NDArray[np.float64] | None, start: int, end: int) -> float | None:
    if values is None:
        return None
    known = values[start:end][np.isfinite(values[start:end])]
    return float(known.mean()) if len(known) else None
