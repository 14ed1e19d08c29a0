# SPDX-License-Identifier: Apache-2.0
"""Fuel gauges on I2C: MAX17048 (voltage and charge by a model) and LTC2942 (counts charge through a shunt).

MAX17048 datasheet 19-6171: VCELL in 78.125 µV, SOC in 1/256 %. LTC2942 datasheet: accumulated charge in 0.085 mAh · (50 mΩ / R)
· (M / 128), voltage in 6 V / 65535. A gauge without current tells no power: that is an error unless estimates are allowed.
"""

from __future__ import annotations

from joulet.errors import MeterError, UsageError
from joulet.meters.machine import Bus, Machine, why
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec, parse_chip

_MAX_VCELL, _MAX_SOC, _MAX_VERSION = 0x02, 0x04, 0x08
_LTC_CONTROL, _LTC_CHARGE, _LTC_VOLTAGE = 0x01, 0x02, 0x08
_LTC_PRESCALE = (1, 2, 4, 8, 16, 32, 64, 128)


class _Chip:
    """One chip on a bus; errors of the bus become ours."""

    def __init__(self, machine: Machine, spec: Spec, default: str) -> None:
        self.source, self._machine = spec.text, machine
        where = spec.where if "@" in spec.where else f"{spec.where}@{default}"
        path, self._address = parse_chip(Spec(text=spec.text, kind=spec.kind, where=where, options={}))
        try:
            self._bus: Bus = machine.open_bus(path)
        except OSError as error:
            raise MeterError(f"source '{spec.text}': bus {path}: {why(error, path)}") from error

    def word(self, register: int, n_bytes: int = 2) -> int:
        """Return a register."""
        try:
            return int.from_bytes(self._bus.read(self._address, register, n_bytes), "big")
        except OSError as error:
            raise MeterError(f"source '{self.source}': register 0x{register:02x}: {why(error, 'i2c')}") from error

    def close(self) -> None:
        """Let go of the bus."""
        self._bus.close()


class Max17048:
    """``max17048:/dev/i2c-1,capacity=2Ah``: voltage; with ``capacity`` and estimates allowed, power from how the charge falls."""

    def __init__(self, machine: Machine, spec: Spec, allow_estimate: bool) -> None:
        spec.allow("capacity")
        self.source = spec.text
        if not allow_estimate or "capacity" not in spec.options:
            raise MeterError(
                f"source '{spec.text}': a MAX17048 measures no current. Power can be estimated from its model of the charge: say "
                "capacity=2Ah and --allow-estimate; measured it is by a shunt (INA226, INA228, LTC2942)"
            )
        self._capacity_c = 3600.0 * _ampere_hours(spec)
        self._chip = _Chip(machine, spec, "0x36")
        self._machine = machine
        self.notes: tuple[str, ...] = ("estimated: the gauge models the charge, in steps of 1/256 %",)
        self._before: tuple[float, float] | None = None
        try:
            self._chip.word(_MAX_VERSION)
        except MeterError:
            self._chip.close()
            raise

    def read(self) -> tuple[Reading, ...]:
        """Return the voltage, and the mean power since the charge last changed."""
        time_s = self._machine.clock()
        voltage_v = self._chip.word(_MAX_VCELL) * 78.125e-6
        charge_c = self._chip.word(_MAX_SOC) / 256.0 / 100.0 * self._capacity_c
        current_a = None
        if self._before is None:
            self._before = (time_s, charge_c)
        elif charge_c != self._before[1] and time_s > self._before[0]:
            current_a = (self._before[1] - charge_c) / (time_s - self._before[0])
            self._before = (time_s, charge_c)
        quality = Quality.ESTIMATE | (Quality.STALE if current_a is None else Quality.OK)
        return (
            Reading(
                time_s=time_s, rail="max17048", voltage_v=voltage_v, current_a=current_a, quality=quality,
                power_w=None if current_a is None else voltage_v * current_a,
                provenance="estimated: MAX17048's model of the charge × its voltage",
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the bus."""
        self._chip.close()


class Ltc2942:
    """``ltc2942:/dev/i2c-1,shunt=50mOhm``: charge is counted in hardware, so that nothing between two readings is missed."""

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("shunt")
        self.source = spec.text
        shunt_ohm = spec.quantity("shunt", "ohm")
        self._chip = _Chip(machine, spec, "0x64")
        self._machine = machine
        try:
            prescale = _LTC_PRESCALE[self._chip.word(_LTC_CONTROL, 1) >> 3 & 7]
            self._step_c = 0.085e-3 * 3600.0 * (50e-3 / shunt_ohm) * (prescale / 128.0)
            self._before = (machine.clock(), self._chip.word(_LTC_CHARGE))
        except MeterError:
            self._chip.close()
            raise
        self._energy_j = 0.0
        self.notes: tuple[str, ...] = (
            f"a step of the counter is {1e3 * self._step_c:.3g} mC: power is a mean between steps",
        )
        self._provenance = f"measured: LTC2942's charge counter × its voltage, shunt {1e3 * shunt_ohm:g} mOhm as given"

    def read(self) -> tuple[Reading, ...]:
        """Return voltage, energy since the meter was opened, and mean power since the counter last moved."""
        now_s, charge = self._machine.clock(), self._chip.word(_LTC_CHARGE)
        voltage_v = self._chip.word(_LTC_VOLTAGE) * 6.0 / 65535
        steps = (self._before[1] - charge + 0x8000) % 0x10000 - 0x8000  # it falls while the battery gives; it may wrap
        current_a, quality = None, Quality.OK
        if steps and now_s > self._before[0]:
            current_a = steps * self._step_c / (now_s - self._before[0])
            self._energy_j += steps * self._step_c * voltage_v
            self._before = (now_s, charge)
            if abs(steps) < 10:
                quality |= Quality.COARSE
        else:
            quality |= Quality.STALE
        return (
            Reading(
                time_s=now_s, rail="ltc2942", voltage_v=voltage_v, current_a=current_a, energy_j=self._energy_j,
                power_w=None if current_a is None else voltage_v * current_a, provenance=self._provenance, quality=quality,
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the bus."""
        self._chip.close()


def _ampere_hours(spec: Spec) -> float:
    text = spec.options["capacity"]
    for suffix, scale in (("mAh", 1e-3), ("Ah", 1.0)):
        if text.endswith(suffix):
            try:
                value = float(text.removesuffix(suffix)) * scale
            except ValueError:
                break
            if 0.0 < value < 1e6:
                return value
            break
    raise UsageError(f"source '{spec.text}': capacity is such as 500mAh or 2Ah, not '{text}'")
