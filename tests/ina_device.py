# SPDX-License-Identifier: Apache-2.0
"""Texas Instruments' power monitors, register by register as their datasheets have them, from a true voltage and current.

Written from the datasheets' register maps and not from the driver: INA219 SBOS448, INA226 SBOS547, INA228 SBOSA20, INA237
SBOSA22, INA238 SBOSA21, INA260 SBOS656, INA3221 SBOS576. :class:`FakeBus` is the I2C bus that holds them, with its faults.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field


def clamp(value: float, low: int, high: int) -> int:
    return max(low, min(high, round(value)))


@dataclass
class Part:
    """One chip. ``volts`` and ``amps`` are true per channel; :meth:`convert` makes registers of them."""

    kind: str
    shunt_ohm: float = 0.1
    volts: list[float] = field(default_factory=lambda: [0.0] * 3)
    amps: list[float] = field(default_factory=lambda: [0.0] * 3)
    registers: dict[int, int] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)
    joules: float = 0.0
    coulombs: float = 0.0
    ready: bool = False
    overflow: bool = False
    locked: set[int] = field(default_factory=set)  # registers that another program writes back

    def __post_init__(self) -> None:
        defaults: dict[str, dict[int, int]] = {
            "ina219": {0x00: 0x399F},
            "ina226": {0x00: 0x4127, 0xFE: 0x5449, 0xFF: 0x2260},
            "ina260": {0x00: 0x6127, 0xFE: 0x5449, 0xFF: 0x2270},
            "ina228": {0x00: 0x0000, 0x01: 0xFB68, 0x02: 0x1000, 0x3E: 0x5449, 0x3F: 0x2281},
            "ina237": {0x00: 0x0000, 0x01: 0xFB68, 0x02: 0x1000, 0x3E: 0x5449, 0x3F: 0x2370},
            "ina238": {0x00: 0x0000, 0x01: 0xFB68, 0x02: 0x1000, 0x3E: 0x5449, 0x3F: 0x2381},
            "ina3221": {0x00: 0x7127, 0xFE: 0x5449, 0xFF: 0x3220},
        }
        self.registers = dict(defaults[self.kind])

    def convert(self, seconds: float = 0.0) -> None:
        """Convert once, and let the accumulators run for a while."""
        self.ready = True
        getattr(self, f"_{self.kind if self.kind != 'ina238' else 'ina237'}")()
        self.joules += abs(self.volts[0] * self.amps[0]) * seconds  # POWER is unsigned
        self.coulombs += self.amps[0] * seconds

    def _ina219(self) -> None:
        full = 4_000 << (self.registers[0] >> 11 & 3)
        self.registers[0x01] = clamp(self.amps[0] * self.shunt_ohm / 10e-6, -full, full) & 0xFFFF
        bus = clamp(self.volts[0] / 4e-3, 0, 8_000)
        self.registers[0x02] = bus << 3

    def _ina226(self) -> None:
        self.registers[0x01] = clamp(self.amps[0] * self.shunt_ohm / 2.5e-6, -32_768, 32_767) & 0xFFFF
        self.registers[0x02] = clamp(self.volts[0] / 1.25e-3, 0, 0x7FFF)

    def _ina260(self) -> None:
        self.registers[0x01] = clamp(self.amps[0] / 1.25e-3, -32_768, 32_767) & 0xFFFF
        self.registers[0x02] = clamp(self.volts[0] / 1.25e-3, 0, 0x7FFF)

    def _ina237(self) -> None:
        lsb = 1.25e-6 if self.registers[0] & 0x10 else 5e-6
        self.registers[0x04] = clamp(self.amps[0] * self.shunt_ohm / lsb, -32_768, 32_767) & 0xFFFF
        self.registers[0x05] = clamp(self.volts[0] / 3.125e-3, 0, 0x7FFF)

    def _ina228(self) -> None:
        lsb = 78.125e-9 if self.registers[0] & 0x10 else 312.5e-9
        shunt = clamp(self.amps[0] * self.shunt_ohm / lsb, -(1 << 19), (1 << 19) - 1)
        self.registers[0x04] = (shunt & 0xFFFFF) << 4  # 20 bits, left aligned in 24
        self.registers[0x05] = clamp(self.volts[0] / 195.3125e-6, 0, (1 << 19) - 1) << 4

    def _ina3221(self) -> None:
        for channel in range(3):
            shunt = clamp(self.amps[channel] * self.shunt_ohm / 40e-6, -4_096, 4_095)
            self.registers[1 + 2 * channel] = (shunt & 0x1FFF) << 3
            self.registers[2 + 2 * channel] = clamp(self.volts[channel] / 8e-3, 0, 4_095) << 3

    def _counter(self, register: int) -> int:
        scale = 13107.2e6 * self.shunt_ohm * (4 if self.registers[0] & 0x10 else 1)
        current_lsb = (self.registers[0x02] & 0x7FFF) / scale
        steps = self.joules / (16 * 3.2 * current_lsb) if register == 0x09 else self.coulombs / current_lsb
        return round(steps) & (1 << 40) - 1

    def read(self, register: int, n_bytes: int) -> bytes:
        value = self.registers.get(register, 0)
        if self.kind == "ina228" and register in (0x09, 0x0A):
            assert n_bytes == 5
            return self._counter(register).to_bytes(5, "big")
        if self.kind == "ina219" and register == 0x02:
            value |= 2 * self.ready | self.overflow
        if self.kind == "ina219" and register == 0x03:
            self.ready = False
        if self.kind in ("ina226", "ina260") and register == 0x06:
            value, self.ready = 8 * self.ready | 4 * self.overflow, False
        if self.kind in ("ina228", "ina237", "ina238") and register == 0x0B:
            value, self.ready = 1 | 2 * self.ready | 0x200 * self.overflow, False
        if self.kind == "ina3221" and register == 0x0F:
            value, self.ready = 1 * self.ready, False
        return value.to_bytes(n_bytes, "big")

    def write(self, register: int, data: bytes) -> None:
        assert len(data) == 2
        if register not in self.locked:
            self.registers[register] = int.from_bytes(data, "big")


class FakeBus:
    """An I2C bus: parts by address. ``fault`` is an errno that every transfer ends with."""

    def __init__(self, parts: dict[int, Part]) -> None:
        self.parts = parts
        self.fault = 0
        self.open = False

    def __call__(self, path: str) -> FakeBus:
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault), path)
        self.open = True
        return self

    def _part(self, address: int) -> Part:
        number = self.fault or (0 if address in self.parts else errno.EREMOTEIO)
        if number:
            raise OSError(number, os.strerror(number))
        return self.parts[address]

    def read(self, address: int, register: int, n_bytes: int) -> bytes:
        return self._part(address).read(register, n_bytes)

    def write(self, address: int, register: int, data: bytes) -> None:
        self._part(address).write(register, data)

    def close(self) -> None:
        self.open = False


Opener = Callable[[str], FakeBus]
