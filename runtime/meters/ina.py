# SPDX-License-Identifier: Apache-2.0
"""INA219, 226, 228, 237, 238, 260 and 3221, read register by register.

Current is the shunt's voltage over its resistance, at the full resolution of the converter; the chip's own current
register, which depends on a calibration that another program may change, is not used. INA228 also counts energy and charge
in hardware between readings: there SHUNT_CAL is written and read back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from joulet.errors import MeterError
from joulet.meters.ina_chips import AVERAGES, CHIPS, conversion_s, signed, with_average
from joulet.meters.machine import Bus, Machine, why
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec, parse_chip

_STEPS = 10
_CONFIG, _SHUNT_CAL, _ENERGY, _CHARGE = 0x00, 0x02, 0x09, 0x0A
_RANGE_BIT = 1 << 4
_ENERGY_WRAP, _CHARGE_WRAP = 1 << 40, 1 << 40
_INTERNAL_OHM = 2e-3  # INA260


class InaMeter:
    """One chip; a rail for each channel.

    Options: ``shunt`` (ohm; INA260 has its own), ``max`` (largest current that INA228's counters must take, A; 80 % of the
    range without), ``range=narrow`` (INA228, 237, 238: ±40.96 mV instead of ±163.84 mV), ``average`` (1 to 1024; without, the
    chip keeps its setting), ``channels`` (INA3221: such as 1+3).
    """

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow("shunt", "max", "range", "average", "channels")
        self.source = spec.text
        self.chip = chip = CHIPS[spec.kind]
        path, self._address = parse_chip(spec)
        self._machine = machine
        self.shunt_ohm = _INTERNAL_OHM if chip.current_lsb_a else spec.quantity("shunt", "ohm")
        try:
            self._bus: Bus = machine.open_bus(path)
        except OSError as error:
            raise MeterError(f"source '{spec.text}': bus {path}: {_bus_remedy(error, path)}") from error
        try:
            self._prepare(spec)
        except MeterError:
            self._bus.close()
            raise
        if chip.accumulates:
            method = "shunt and bus registers, hardware energy counter"
        else:
            method = "shunt inside" if chip.current_lsb_a else "shunt and bus registers"
        self._provenance = f"measured: {chip.name.upper()} at {path}@0x{self._address:02x}, {method}" + (
            "" if chip.current_lsb_a else f", shunt {1e3 * self.shunt_ohm:g} mOhm as given"
        )

    def _prepare(self, spec: Spec) -> None:
        chip = self.chip
        self._identify()
        if "average" in spec.options:
            average = spec.integer("average", 1, AVERAGES[:5] if chip.name == "ina219" else AVERAGES)
            self._write_back(chip.settings, with_average(chip, self._word(chip.settings), average))
        self._channels = self._chosen(spec)
        self._lsb_v = chip.shunt_lsb_v
        if chip.cal_scale:
            narrow = self._range(spec)
            self._lsb_v *= chip.narrow if narrow else 1.0
        self.conversion_s = conversion_s(chip, self._word(chip.settings))
        self.notes: tuple[str, ...] = (f"{chip.name.upper()} converts every {1e3 * self.conversion_s:.3g} ms",)
        self._energy_j = 0.0
        if chip.accumulates:
            self._calibrate(spec)
            self._last = (self._raw(_ENERGY, 5), self._raw(_CHARGE, 5))

    def _identify(self) -> None:
        identity = self.chip.identity
        if identity is None:
            self._word(_CONFIG)
            return
        register, value, mask = identity
        found = self._word(register)
        if found & mask != value & mask:
            other = next(
                (
                    c.name
                    for c in CHIPS.values()
                    if c.identity
                    and c.identity[0] == register
                    and found & c.identity[2] == c.identity[1] & c.identity[2]
                ),
                None,
            )
            hint = f"it is an {other.upper()}: say {other}:…" if other else f"it says 0x{found:04x}; check the address"
            raise MeterError(
                f"source '{self.source}': the chip at 0x{self._address:02x} is no {self.chip.name.upper()}; {hint}"
            )

    def _chosen(self, spec: Spec) -> list[int]:
        everything = range(len(self.chip.shunt))
        text = spec.options.get("channels", "+".join(str(i + 1) for i in everything))
        numbers = [int(part) - 1 for part in text.split("+") if part.isdecimal()]
        if not numbers or any(number not in everything for number in numbers):
            raise MeterError(f"source '{spec.text}': channels are numbers of 1 to {len(self.chip.shunt)} joined by +")
        return numbers

    def _range(self, spec: Spec) -> bool:
        asked = spec.options.get("range")
        if asked not in (None, "narrow", "wide"):
            raise MeterError(f"source '{spec.text}': range is narrow or wide, not '{asked}'")
        config = self._word(_CONFIG)
        if asked is not None:
            config = config | _RANGE_BIT if asked == "narrow" else config & ~_RANGE_BIT
            self._write_back(_CONFIG, config)
        return bool(config & _RANGE_BIT)

    def _calibrate(self, spec: Spec) -> None:
        narrow = bool(self._word(_CONFIG) & _RANGE_BIT)
        full_a = self._lsb_v * (self.chip.full_code + 1) / self.shunt_ohm
        most_a = spec.quantity("max", "A", 0.8 * full_a)
        wanted = self.chip.cal_scale * (most_a / (1 << 19)) * self.shunt_ohm * (4 if narrow else 1)
        cal = round(wanted)
        if not 1 <= cal <= 0x7FFF:
            raise MeterError(
                f"source '{spec.text}': SHUNT_CAL would be {wanted:.3g}, outside 1 to 32767: choose max between "
                f"{most_a / wanted:.3g} and {most_a * 0x7FFF / wanted:.3g} A"
            )
        self._write_back(_SHUNT_CAL, cal)
        self._current_lsb_a = cal / (self.chip.cal_scale * self.shunt_ohm * (4 if narrow else 1))

    # registers

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MeterError(
                f"source '{self.source}': {what} at 0x{self._address:02x}: {why(error, 'i2c')}; i2cdetect -y shows who answers"
            ) from error

    def _raw(self, register: int, n_bytes: int) -> int:
        with self._asking(f"register 0x{register:02x}"):
            data = self._bus.read(self._address, register, n_bytes)
        if len(data) != n_bytes:
            raise MeterError(
                f"source '{self.source}': register 0x{register:02x} came with {len(data)} of {n_bytes} bytes"
            )
        return int.from_bytes(data, "big")

    def _word(self, register: int) -> int:
        return self._raw(register, 2)

    def _write_back(self, register: int, value: int) -> None:
        """Write a setting and see that it holds."""
        with self._asking(f"register 0x{register:02x}"):
            self._bus.write(self._address, register, value.to_bytes(2, "big"))
        held = self._word(register)
        if held != value:
            raise MeterError(
                f"source '{self.source}': register 0x{register:02x} was set to 0x{value:04x} and reads 0x{held:04x}: is "
                "another program writing to this chip?"
            )

    # readings

    def read(self) -> tuple[Reading, ...]:
        """Return each channel's voltage, current and power; INA228 adds the energy counted since the meter was opened."""
        quality = self._flags()
        readings = []
        for number in self._channels:
            time_s = self._machine.clock()
            shunt, bus = self._field(self.chip.shunt[number]), self._field(self.chip.bus[number])
            time_s = 0.5 * (time_s + self._machine.clock())
            readings.append(self._reading(number, time_s, shunt, bus, quality))
        return tuple(readings)

    def _flags(self) -> Quality:
        register, ready = self.chip.ready
        word = self._word(register)
        fresh = bool(word & ready)
        overflowed = self.chip.overflow[1] and self._overflow(register, word)
        if self.chip.name == "ina219":
            self._word(0x03)  # reading the power register clears its flag
        return (Quality.OK if fresh else Quality.STALE) | (Quality.SATURATED if overflowed else Quality.OK)

    def _overflow(self, register: int, word: int) -> bool:
        other, mask = self.chip.overflow
        return bool((word if other == register else self._word(other)) & mask)

    def _field(self, field: tuple[int, int, int]) -> int:
        register, n_bytes, shift = field
        bits = 8 * n_bytes - shift
        if self.chip.name == "ina219" and register == 0x02:
            return self._raw(register, n_bytes) >> shift  # never negative; the top bit is part of it
        return signed(self._raw(register, n_bytes) >> shift, bits)

    def _reading(self, number: int, time_s: float, shunt: int, bus: int, quality: Quality) -> Reading:
        chip = self.chip
        step_a = chip.current_lsb_a or self._lsb_v / self.shunt_ohm
        current_a, voltage_v = shunt * step_a, bus * chip.bus_lsb_v
        full = self._full_code()
        if shunt >= full or shunt <= -full:
            quality |= Quality.SATURATED
        elif abs(shunt) < _STEPS:
            quality |= Quality.COARSE
        energy_j = self._count(quality) if chip.accumulates else None
        rail = chip.name if len(chip.shunt) == 1 else f"{chip.name}/{number + 1}"
        return Reading(
            time_s=time_s, rail=rail, voltage_v=voltage_v, current_a=current_a, power_w=voltage_v * current_a,
            energy_j=energy_j, provenance=self._provenance, quality=quality,
        )  # fmt: skip

    def _full_code(self) -> int:
        if self.chip.name != "ina219":
            return self.chip.full_code
        return 4_000 << (self._word(_CONFIG) >> 11 & 3)  # ±40 mV times the divider of its amplifier

    def _count(self, quality: Quality) -> float:
        """Return the energy counted since the meter was opened; the sign of the charge gives that of the energy [J]."""
        energy, charge = self._raw(_ENERGY, 5), self._raw(_CHARGE, 5)
        before_energy, before_charge = self._last
        self._last = (energy, charge)
        steps = (energy - before_energy) % _ENERGY_WRAP
        turned = signed((charge - before_charge) % _CHARGE_WRAP, 40)
        energy_lsb_j = 16 * 3.2 * self._current_lsb_a
        self._energy_j += energy_lsb_j * (steps if turned >= 0 else -steps)
        return self._energy_j

    def close(self) -> None:
        """Let go of the bus."""
        self._bus.close()


def _bus_remedy(error: OSError, path: str) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            "there is no such bus: enable I2C (Raspberry Pi: sudo raspi-config nonint do_i2c 0), sudo modprobe i2c-dev"
        )
    return why(error, path)
