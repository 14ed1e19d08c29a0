# SPDX-License-Identifier: Apache-2.0
"""TI's power monitors: registers as the datasheets have them, both ways; ranges, signs, packing, flags, counters, faults."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ina_device import FakeBus, Part

from joulet.errors import MeterError, UsageError
from joulet.meters import Machine, Quality, Reading, open_meter
from joulet.meters.ina_chips import CHIPS, conversion_s

# (shunt, volts, amps) whose registers the datasheets work out, or that follow from their LSBs by hand
KINDS = ["ina219", "ina226", "ina228", "ina237", "ina238", "ina260", "ina3221"]
STEP_V = {"ina219": 10e-6, "ina226": 2.5e-6, "ina228": 312.5e-9, "ina237": 5e-6, "ina238": 5e-6, "ina3221": 40e-6}
BUS_V = dict(zip(KINDS, (4e-3, 1.25e-3, 195.3125e-6, 3.125e-3, 3.125e-3, 1.25e-3, 8e-3), strict=True))


def bench(part: Part, address: int = 0x40) -> tuple[FakeBus, Machine]:
    bus = FakeBus({address: part})
    return bus, Machine(open_bus=bus)


def spec(kind: str, shunt: str = "100mOhm", more: str = "") -> str:
    return f"{kind}:/dev/i2c-1@0x40" + ("" if kind == "ina260" else f",shunt={shunt}") + more


def one(part: Part, text: str) -> Reading:
    _, around = bench(part)
    part.convert()
    return open_meter(text, around).read()[0]


def test_ina226_as_in_its_datasheet() -> None:
    part = Part("ina226", shunt_ohm=2e-3)
    part.volts[0], part.amps[0] = 11.98, 10.0  # SBOS547, table 8-1: registers 8000 and 9584
    part.convert()
    assert (part.registers[1], part.registers[2]) == (8_000, 9_584)
    reading = one(part, spec("ina226", "2mOhm"))
    assert reading.current_a == pytest.approx(10.0)
    assert reading.voltage_v == pytest.approx(11.98)
    assert reading.power_w == pytest.approx(119.8)


@pytest.mark.parametrize("kind", KINDS)
@given(volts=st.floats(0.0, 15.0), share=st.floats(-0.99, 0.99))
def test_a_reading_is_within_half_a_step(kind: str, volts: float, share: float) -> None:
    full_a = {
        "ina219": 3.2,
        "ina226": 0.8192,
        "ina228": 1.6384,
        "ina237": 1.6384,
        "ina238": 1.6384,
        "ina260": 15.0,
        "ina3221": 1.6,
    }
    part = Part(kind)
    part.volts, part.amps = [volts] * 3, [share * full_a[kind]] * 3
    reading = one(part, spec(kind))
    step_a = 1.25e-3 if kind == "ina260" else STEP_V[kind] / 0.1
    assert reading.current_a == pytest.approx(part.amps[0], abs=0.5001 * step_a)
    assert reading.voltage_v == pytest.approx(volts, abs=0.5001 * BUS_V[kind])
    assert reading.power_w == pytest.approx((reading.voltage_v or 0) * (reading.current_a or 0))
    assert Quality.SATURATED not in reading.quality


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_end_of_the_range_is_said(kind: str, sign: int) -> None:
    part = Part(kind, volts=[3.3] * 3, amps=[sign * 100.0] * 3)
    reading = one(part, spec(kind))
    assert Quality.SATURATED in reading.quality
    assert (reading.current_a or 0.0) * sign > 0.0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ina3221"])
def test_overflow_is_said(kind: str) -> None:
    part = Part(kind, volts=[3.3] * 3, amps=[0.1] * 3, overflow=True)
    assert Quality.SATURATED in one(part, spec(kind)).quality


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_was_there_before_is_stale(kind: str) -> None:
    part = Part(kind, volts=[3.3] * 3, amps=[0.1] * 3)
    _, around = bench(part)
    meter = open_meter(spec(kind), around)
    part.convert()
    assert Quality.STALE not in meter.read()[0].quality
    assert Quality.STALE in meter.read()[0].quality
    part.convert()
    assert Quality.STALE not in meter.read()[0].quality


def test_ten_steps_or_less_are_coarse() -> None:
    assert Quality.COARSE in one(Part("ina226", volts=[3.3] * 3, amps=[100e-6] * 3), spec("ina226")).quality
    assert one(Part("ina228", volts=[3.3] * 3, amps=[100e-6] * 3), spec("ina228")).quality == Quality.OK


@pytest.mark.parametrize("kind", ["ina228", "ina237", "ina238"])
def test_the_narrow_range_has_a_quarter_of_the_step(kind: str) -> None:
    part = Part(kind, volts=[3.3] * 3, amps=[0.2] * 3)
    _, around = bench(part)
    meter = open_meter(spec(kind, more=",range=narrow"), around)
    assert part.registers[0] & 0x10
    part.convert()
    reading = meter.read()[0]
    assert reading.current_a == pytest.approx(0.2, abs=0.5 * STEP_V[kind] / 4 / 0.1)
    part.amps[0] = 0.5  # 50 mV: beyond ±40.96 mV
    part.convert()
    assert Quality.SATURATED in meter.read()[0].quality


def test_ina219_knows_the_divider_of_its_amplifier() -> None:
    part = Part("ina219", volts=[3.3] * 3, amps=[0.5] * 3)
    part.registers[0] = 0x019F  # ±40 mV
    assert Quality.SATURATED in one(part, spec("ina219")).quality


def test_ina3221_has_three_rails_or_those_asked_for() -> None:
    part = Part("ina3221", volts=[5.0, 3.3, 1.8], amps=[0.4, -0.2, 0.1])
    _, around = bench(part)
    part.convert()
    readings = open_meter(spec("ina3221"), around).read()
    assert [r.rail for r in readings] == ["ina3221/1", "ina3221/2", "ina3221/3"]
    assert [r.current_a for r in readings] == pytest.approx([0.4, -0.2, 0.1], abs=2e-4)
    assert [r.voltage_v for r in readings] == pytest.approx([5.0, 3.3, 1.8], abs=4e-3)
    assert [r.rail for r in open_meter(spec("ina3221", more=",channels=1+3"), around).read()] == [
        "ina3221/1",
        "ina3221/3",
    ]


# INA228's counters


def test_ina228_counts_energy_between_readings() -> None:
    part = Part("ina228", volts=[3.0] * 3, amps=[0.010] * 3)
    _, around = bench(part)
    meter = open_meter(spec("ina228", more=",max=100mA"), around)
    assert 0 < part.registers[2] <= 0x7FFF
    for _ in range(5):
        part.convert(seconds=2.0)
        reading = meter.read()[0]
    assert reading.energy_j == pytest.approx(0.3, rel=1e-3)  # 30 mW for 10 s
    part.amps[0] = -0.010
    part.convert(seconds=10.0)
    assert meter.read()[0].energy_j == pytest.approx(
        0.0, abs=1e-3
    )  # the register counts up; the charge tells the direction


def test_ina228_counters_wrap() -> None:
    part = Part("ina228", volts=[3.0] * 3, amps=[0.010] * 3)
    _, around = bench(part)
    scale_j = 16 * 3.2 * 3277 / (13107.2e6 * 0.1)
    part.joules = ((1 << 40) - 10) * scale_j
    meter = open_meter(spec("ina228"), around)
    before = meter.read()[0].energy_j or 0.0
    part.joules += 1000 * scale_j
    part.coulombs += 1.0
    assert (meter.read()[0].energy_j or 0.0) - before == pytest.approx(1000 * scale_j, rel=0.01)


def test_shunt_cal_that_does_not_fit_is_refused_with_what_would() -> None:
    _, around = bench(Part("ina228"))
    with pytest.raises(MeterError, match="choose max between"):
        open_meter(spec("ina228", more=",max=100A"), around)


# settings and faults


@pytest.mark.parametrize(
    ("kind", "average"), [("ina226", 16), ("ina228", 64), ("ina3221", 4), ("ina260", 1024), ("ina219", 64)]
)
def test_averages_are_set_read_back_and_told(kind: str, average: int) -> None:
    part = Part(kind)
    _, around = bench(part)
    plain = open_meter(spec(kind, more=",average=1"), around)
    meter = open_meter(spec(kind, more=f",average={average}"), around)
    assert meter.conversion_s == pytest.approx(average * plain.conversion_s)  # type: ignore[attr-defined]
    assert any("converts every" in note for note in meter.notes)
    with pytest.raises(UsageError, match="average is one of"):
        open_meter(spec(kind, more=",average=3"), around)


def test_a_setting_that_another_program_undoes_is_an_error() -> None:
    part = Part("ina226", locked={0x00})
    _, around = bench(part)
    with pytest.raises(MeterError, match="another program"):
        open_meter(spec("ina226", more=",average=64"), around)


def test_default_conversion_times() -> None:
    assert conversion_s(CHIPS["ina226"], 0x4127) == pytest.approx(2.2e-3)
    assert conversion_s(CHIPS["ina219"], 0x399F) == pytest.approx(2 * 532e-6)
    assert conversion_s(CHIPS["ina228"], 0xFB68) == pytest.approx(3 * 1052e-6)
    assert conversion_s(CHIPS["ina3221"], 0x7127) == pytest.approx(6 * 1.1e-3)


def test_another_chip_is_named() -> None:
    _, around = bench(Part("ina260"))
    with pytest.raises(MeterError, match="say ina260"):
        open_meter(spec("ina226"), around)
    _, around = bench(Part("ina237"))
    with pytest.raises(MeterError, match="say ina237"):
        open_meter(spec("ina228"), around)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "raspi-config"),
        (errno.EACCES, "usermod -aG i2c"),
        (errno.EBUSY, "hwmon"),
    ],
)
def test_a_bus_that_cannot_be_opened(number: int, remedy: str) -> None:
    bus, around = bench(Part("ina226"))
    bus.fault = number
    with pytest.raises(MeterError, match=remedy):
        open_meter(spec("ina226"), around)


def test_nothing_at_the_address() -> None:
    bus, around = bench(Part("ina226"), address=0x41)
    with pytest.raises(MeterError, match="i2cdetect"):
        open_meter(spec("ina226"), around)
    assert not bus.open


def test_the_chip_goes_away() -> None:
    bus, around = bench(Part("ina226"))
    meter = open_meter(spec("ina226"), around)
    bus.fault = errno.EREMOTEIO
    with pytest.raises(MeterError, match="check wiring"):
        meter.read()
