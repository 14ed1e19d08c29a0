# SPDX-License-Identifier: Apache-2.0
"""Batteries, and fuel gauges that Linux drives: /sys/class/power_supply, in µV, µA, µW.

Documentation/ABI/testing/sysfs-class-power of the kernel. Drivers disagree on the sign of ``current_now``; the status tells
the direction. Supplies of type USB and Mains tell limits and what was negotiated: they are no meters.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from joulet.errors import MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec


def find_batteries(machine: Machine) -> list[Path]:
    """Return the folders of all batteries of the machine itself, not of its mice."""
    found = []
    for folder in sorted(machine.sys("class", "power_supply").glob("*")):
        with contextlib.suppress(MeterError):
            device = (folder / "scope").exists() and machine.text(folder / "scope") == "Device"
            if machine.text(folder / "type") == "Battery" and not device:
                found.append(folder)
    return found


class BatteryMeter:
    """What flows out of batteries; negative while they are charged."""

    def __init__(self, machine: Machine, spec: Spec, allow_estimate: bool) -> None:
        spec.allow()
        self.source = spec.text
        self._machine = machine
        found = find_batteries(machine)
        self._folders = [folder for folder in found if spec.where in ("", folder.name)]
        if not self._folders:
            there = ", ".join(folder.name for folder in found) or "none"
            raise MeterError(
                f"source '{spec.text}': no such battery below {machine.sys('class', 'power_supply')}; there are {there}. A gauge "
                "on I2C needs its driver (max17040_battery, bq27xxx_battery, ltc2941_battery_gauge)"
            )
        self._silent = {folder.name for folder in self._folders if not _measures(folder)}
        if len(self._silent) == len(self._folders):
            names = ", ".join(sorted(self._silent))
            raise MeterError(f"source '{spec.text}': {names} tells neither power nor current; use another source")
        self.notes: tuple[str, ...] = tuple(
            f"{name} tells neither power nor current: only its voltage is shown" for name in sorted(self._silent)
        )
        if any(self._status(folder) != "Discharging" for folder in self._folders):
            self.notes += ("on mains the battery's current is not what the machine draws: unplug it to measure",)

    def _status(self, folder: Path) -> str:
        return self._machine.text(folder / "status")

    def read(self) -> tuple[Reading, ...]:
        """Return what each battery gives now."""
        return tuple(self._read(folder) for folder in self._folders)

    def _read(self, folder: Path) -> Reading:
        time_s = self._machine.clock()
        status = self._status(folder)
        voltage_v = self._micro(folder / "voltage_now")
        current_a, power_w = self._micro(folder / "current_now"), self._micro(folder / "power_now")
        if power_w is None and voltage_v is not None and current_a is not None:
            power_w = voltage_v * current_a
        if current_a is None and power_w is not None and voltage_v:
            current_a = power_w / voltage_v
        sign = -1.0 if status == "Charging" else 1.0
        quality = Quality.OK if status == "Discharging" else Quality.PARTIAL
        return Reading(
            time_s=0.5 * (time_s + self._machine.clock()),
            rail=folder.name,
            voltage_v=voltage_v,
            current_a=None if current_a is None else sign * abs(current_a),
            power_w=None if power_w is None else sign * abs(power_w),
            provenance=f"measured: gauge of {folder.name} ({status.lower()})",
            quality=quality,
        )

    def _micro(self, path: Path) -> float | None:
        return self._machine.number(path) * 1e-6 if path.exists() else None

    def close(self) -> None:
        """Nothing is held."""


def _measures(folder: Path) -> bool:
    return (folder / "power_now").exists() or ((folder / "current_now").exists() and (folder / "voltage_now").exists())
