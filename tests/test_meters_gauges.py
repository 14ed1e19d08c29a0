# SPDX-License-Identifier: Apache-2.0
"""Fuel gauges on I2C, on registers as their datasheets have them."""

from __future__ import annotations

import errno
import os

import pytest

from joulet.errors import MeterError, UsageError
from joulet.meters import Machine, Quality, open_meter


class Gauge:
    """Registers of one chip; a bus by itself."""

    def __init__(self, address: int, registers: dict[int, bytes]) -> None:
        self.address, self.registers = address, registers
        self.now_s = 0.0

    def __call__(self, path: str) -> Gauge:
        return self

    def read(self, address: int, register: int, n_bytes: int) -> bytes:
        if address != self.address:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return self.registers[register][:n_bytes]

    def write(self, address: int, register: int, data: bytes) -> None:
        raise AssertionError("gauges are only read")

    def close(self) -> None:
        """Nothing is held."""

    def machine(self) -> Machine:
        return Machine(open_bus=self, clock=lambda: self.now_s)


def ltc(charge: int, volts: float = 3.7, prescale: int = 7) -> dict[int, bytes]:
    return {
        0x01: bytes([prescale << 3]),
        0x02: charge.to_bytes(2, "big"),
        0x08: round(volts / 6 * 65535).to_bytes(2, "big"),
    }


def test_ltc2942_counts_charge() -> None:
    gauge = Gauge(0x64, ltc(0x8000))
    meter = open_meter("ltc2942:1,shunt=50mOhm", gauge.machine())
    assert Quality.STALE in meter.read()[0].quality
    gauge.now_s = 36.0
    gauge.registers = ltc(0x8000 - 100)  # 100 × 0.085 mAh = 8.5 mAh = 30.6 C in 36 s
    (reading,) = meter.read()
    assert reading.current_a == pytest.approx(0.85)
    assert reading.power_w == pytest.approx(0.85 * 3.7, rel=1e-4)
    assert reading.energy_j == pytest.approx(30.6 * 3.7, rel=1e-4)
    assert reading.quality == Quality.OK
    gauge.now_s = 40.0
    gauge.registers = ltc(0x8000 - 95)
    (reading,) = meter.read()
    assert (reading.current_a or 0.0) < 0.0  # it is charged
    assert Quality.COARSE in reading.quality


def test_ltc2942_wraps_and_scales_with_shunt_and_prescaler() -> None:
    gauge = Gauge(0x64, ltc(5, prescale=0))
    meter = open_meter("ltc2942:1,shunt=100mOhm", gauge.machine())
    gauge.now_s = 1.0
    gauge.registers = ltc(0x10000 - 15, prescale=0)
    (reading,) = meter.read()
    assert reading.current_a == pytest.approx(20 * 0.085e-3 * 3600 * 0.5 / 128)


def test_max17048_estimates_only_when_allowed() -> None:
    gauge = Gauge(0x36, {0x02: (48_000).to_bytes(2, "big"), 0x04: (80 * 256).to_bytes(2, "big"), 0x08: b"\x00\x11"})
    with pytest.raises(MeterError, match="measures no current"):
        open_meter("max17048:1,capacity=1Ah", gauge.machine())
    meter = open_meter("max17048:1,capacity=1Ah", gauge.machine(), allow_estimate=True)
    assert meter.read()[0].voltage_v == pytest.approx(3.75)
    gauge.now_s, gauge.registers[0x04] = 360.0, (79 * 256).to_bytes(2, "big")
    (reading,) = meter.read()
    assert reading.current_a == pytest.approx(0.1)  # 1 % of 1 Ah in 6 minutes
    assert Quality.ESTIMATE in reading.quality
    with pytest.raises(UsageError, match="capacity is such as"):
        open_meter("max17048:1,capacity=2V", gauge.machine(), allow_estimate=True)


def test_nothing_there() -> None:
    with pytest.raises(MeterError, match="nothing answers there"):
        open_meter("ltc2942:1@0x65,shunt=50mOhm", Gauge(0x64, ltc(0)).machine())
