# SPDX-License-Identifier: Apache-2.0
"""Meters that are files and programs of Linux, on trees as devices have them; every trap of theirs has a test."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from meter_trees import (
    DENIED,
    HWMON,
    LAPTOP,
    NANO,
    ORIN_AGX,
    ORIN_NANO,
    PI5,
    PI5_OTHER,
    THOR,
    ina3221,
    machine,
    plant,
    ticking,
)

from joulet.errors import MeterError, UsageError
from joulet.meters import Quality, Reading, find_sources, open_meter


def by_rail(readings: tuple[Reading, ...]) -> dict[str, Reading]:
    return {reading.rail: reading for reading in readings}


def total_w(readings: tuple[Reading, ...]) -> float:
    return sum(reading.power_w or 0.0 for reading in readings if reading.counts)


def test_orin_nano_has_its_input_rail_as_total(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO)
    rails = by_rail(open_meter("jetson", machine(tmp_path)).read())
    assert set(rails) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}  # no NC, no channel 7, no USB-C
    assert rails["VDD_IN"].power_w == pytest.approx(6.0)
    assert total_w(tuple(rails.values())) == pytest.approx(6.0)
    assert "measured" in rails["VDD_IN"].provenance


def test_agx_orin_is_a_sum_that_says_what_it_lacks(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_AGX)
    meter = open_meter("jetson", machine(tmp_path))
    readings = meter.read()
    assert total_w(readings) == pytest.approx(19 * 0.2 + 19 * 0.1 + 5 * 0.8 + 5 * 0.06)
    assert all(Quality.PARTIAL in reading.quality for reading in readings)
    assert any("carrier board" in note for note in meter.notes)


def test_thor_has_its_input_in_an_ina238(tmp_path: Path) -> None:
    plant(tmp_path, THOR)
    readings = open_meter("jetson", machine(tmp_path)).read()
    assert total_w(readings) == pytest.approx(30.0)
    assert by_rail(readings)["VDD_GPU"].power_w == pytest.approx(10.8)


def test_nano_of_jetpack_4_speaks_iio(tmp_path: Path) -> None:
    plant(tmp_path, NANO)
    readings = open_meter("jetson", machine(tmp_path)).read()
    assert total_w(readings) == pytest.approx(5.04 * 0.42)
    assert len(readings) == 3


def test_a_channel_with_eio_is_left_out_and_named(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_AGX)
    around = machine(tmp_path, {"hwmon5/curr2_input": errno.EIO})
    meter = open_meter("jetson", around)
    assert "VDDQ_VDD2_1V8AO" not in by_rail(meter.read())
    assert any("VDDQ_VDD2_1V8AO" in note and "EIO" in note for note in meter.notes)
    assert meter.coverage == pytest.approx(3 / 4)  # type: ignore[attr-defined]


def test_all_channels_with_eio_are_an_error(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_AGX)
    with pytest.raises(MeterError, match="no rail can be read"):
        open_meter("jetson", machine(tmp_path, {"_input": errno.EIO}))


def test_a_rail_that_fails_later_is_an_error_of_that_reading(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO)
    faults: dict[str, int] = {}
    meter = open_meter("jetson", machine(tmp_path, faults))
    meter.read()
    faults["hwmon1/curr1_input"] = errno.EIO
    with pytest.raises(MeterError, match=r"curr1_input.*EIO"):
        meter.read()


def test_no_jetson_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    with pytest.raises(MeterError, match="--list"):
        open_meter("jetson", machine(tmp_path))


def test_hwmon_finds_by_name_and_says_when_it_is_coarse(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            f"{HWMON}/hwmon7/name": "ina226",
            f"{HWMON}/hwmon7/in0_input": 1,
            f"{HWMON}/hwmon7/in1_input": 3_300,
            f"{HWMON}/hwmon7/curr1_input": 4,
            f"{HWMON}/hwmon7/power1_input": 13_000,
        },
    )
    (reading,) = open_meter("hwmon:ina226", machine(tmp_path)).read()
    assert reading.voltage_v == pytest.approx(3.3)  # in1, not the shunt in in0
    assert reading.current_a == pytest.approx(0.004)
    assert Quality.COARSE in reading.quality
    plant(tmp_path, {f"{HWMON}/hwmon7/curr1_input": 400})
    (reading,) = open_meter("hwmon:hwmon7", machine(tmp_path)).read()
    assert reading.quality == Quality.OK


def test_an_ina3221_without_labels_keeps_to_its_three_channels(tmp_path: Path) -> None:
    files = {
        name: value for name, value in ina3221(f"{HWMON}/hwmon0", [("", 5_000, 100)] * 3).items() if "label" not in name
    }
    plant(tmp_path, files)
    assert [r.rail for r in open_meter("hwmon", machine(tmp_path)).read()] == ["ina3221/1", "ina3221/2", "ina3221/3"]


def test_what_usb_c_negotiated_is_taken_only_as_an_estimate(tmp_path: Path) -> None:
    plant(tmp_path, {key: value for key, value in ORIN_NANO.items() if "hwmon3" in key})
    with pytest.raises(MeterError, match="negotiated over USB-C"):
        open_meter("hwmon", machine(tmp_path))
    (reading,) = open_meter("hwmon", machine(tmp_path), allow_estimate=True).read()
    assert Quality.ESTIMATE in reading.quality
    assert reading.provenance.startswith("estimated")


def test_iio_scales_raw_values(tmp_path: Path) -> None:
    folder = "sys/bus/iio/devices/iio:device0"
    plant(
        tmp_path,
        {
            f"{folder}/name": "ina226",
            f"{folder}/in_voltage0_raw": 100,
            f"{folder}/in_voltage0_scale": "0.002500000",
            f"{folder}/in_voltage1_raw": 2_640,
            f"{folder}/in_voltage1_scale": "1.250000000",
            f"{folder}/in_current3_raw": 50,
            f"{folder}/in_current3_scale": "0.25",
        },
    )
    (reading,) = open_meter("iio", machine(tmp_path)).read()
    assert reading.voltage_v == pytest.approx(3.3)
    assert reading.current_a == pytest.approx(0.0125)


def test_a_file_that_is_half_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO)
    meter = open_meter("jetson", machine(tmp_path))
    plant(tmp_path, {f"{HWMON}/hwmon1/curr1_input": ""})
    with pytest.raises(MeterError, match="curr1_input"):
        meter.read()


# Raspberry Pi 5


def pi(text: str, status: int = 0) -> dict[str, object]:
    return {"find_program": lambda name: f"/usr/bin/{name}", "run": lambda command: (status, text)}


def test_pi5_multiplies_rails_and_says_what_the_sum_lacks(tmp_path: Path) -> None:
    meter = open_meter("pi5", machine(tmp_path, **pi(PI5)))
    readings = meter.read()
    assert total_w(readings) == pytest.approx(0.37 + 0.165 + 1.2)
    assert all(Quality.PARTIAL in reading.quality for reading in readings)
    assert any("USB" in note for note in meter.notes)
    assert any("BATT, EXT5V" in note for note in meter.notes)


def test_pi5_of_another_firmware(tmp_path: Path) -> None:
    meter = open_meter("pi5", machine(tmp_path, **pi(PI5_OTHER)))
    assert total_w(meter.read()) == pytest.approx(1.2 + 0.102)
    assert any("throttled" in note for note in meter.notes)


def test_pi5_estimates_the_board_only_when_allowed(tmp_path: Path) -> None:
    around = machine(tmp_path, **pi(PI5))
    assert "board" not in by_rail(open_meter("pi5", around).read())
    board = by_rail(open_meter("pi5", around, allow_estimate=True).read())["board"]
    assert board.power_w == pytest.approx(1.1451 * 1.735 + 0.5879)
    assert not board.counts
    assert Quality.ESTIMATE in board.quality


@pytest.mark.parametrize(
    ("text", "status", "remedy"),
    [
        ("VCHI initialization failed", 255, "usermod -aG video"),
        ('error=1 error_msg="Command not registered"', 0, "only the Raspberry Pi 5"),
        ("", 0, "no rail"),
    ],
)
def test_pi5_errors_have_remedies(tmp_path: Path, text: str, status: int, remedy: str) -> None:
    with pytest.raises(MeterError, match=remedy):
        open_meter("pi5", machine(tmp_path, **pi(text, status)))


def test_pi5_without_its_program(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="apt install raspi-utils"):
        open_meter("pi5", machine(tmp_path))


# RAPL


def test_rapl_sums_packages_and_memory_once(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    meter = open_meter("rapl", machine(tmp_path, clock=ticking(0.5)))
    meter.read()
    root = tmp_path / "sys/class/powercap"
    before = by_rail(meter.read())
    for folder, grows in {"intel-rapl:0": 10, "intel-rapl:0:0": 6, "intel-rapl:0:2": 2, "intel-rapl:1": 30}.items():
        counter = root / folder / "energy_uj"
        counter.write_text(str(int(counter.read_text()) + grows * 1_000_000))
    after = by_rail(meter.read())
    assert set(after) == {"package-0", "package-0/core", "package-0/uncore", "package-0/dram", "psys"}
    spent = {rail: (after[rail].energy_j or 0) - (before[rail].energy_j or 0) for rail in after}
    assert spent == pytest.approx(
        {"package-0": 10, "package-0/core": 6, "package-0/uncore": 0, "package-0/dram": 2, "psys": 30}
    )
    assert {rail for rail in after if after[rail].counts} == {"package-0", "package-0/dram"}


def test_rapl_counters_wrap(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    counter.write_text("262143000000")
    meter = open_meter("rapl", machine(tmp_path, clock=ticking(1.0)))
    counter.write_text("671150")
    package = by_rail(meter.read())["package-0"]
    assert package.energy_j == pytest.approx(1.0)  # 0.32885 J to the end of the range, 0.67115 J after it


def test_rapl_without_permission_names_the_command(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    with pytest.raises(MeterError, match=r"sudo chmod a\+r /sys/class/powercap"):
        open_meter("rapl", machine(tmp_path, DENIED))


def test_rapl_estimates_only_when_allowed_and_told_how(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    around = machine(tmp_path, DENIED)
    with pytest.raises(MeterError, match="tdp=15W"):
        open_meter("rapl", around, allow_estimate=True)
    meter = open_meter("rapl,tdp=20W", around, allow_estimate=True)
    plant(tmp_path, {"proc/stat": "cpu  150 0 150 1600 0 0 100 0 0 0"})
    (reading,) = meter.read()
    assert reading.power_w == pytest.approx(20.0 * 200 / 1000)
    assert Quality.ESTIMATE in reading.quality


def test_one_zone_that_cannot_be_read_does_not_take_the_others(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    meter = open_meter("rapl", machine(tmp_path, {"intel-rapl:0:2/energy_uj": errno.EACCES}, clock=ticking()))
    rails = by_rail(meter.read())
    assert "package-0/dram" not in rails
    assert any("dram" in note for note in meter.notes)
    assert Quality.PARTIAL in rails["package-0"].quality  # the sum lacks memory


# batteries


def test_a_battery_that_discharges(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    (reading,) = open_meter("battery", machine(tmp_path)).read()  # not the mouse's, not the USB supply
    assert reading.power_w == pytest.approx(7.08)
    assert reading.current_a == pytest.approx(0.6)
    assert reading.quality == Quality.OK


@pytest.mark.parametrize("sign", [1, -1])
def test_the_status_tells_the_direction(tmp_path: Path, sign: int) -> None:
    folder = "sys/class/power_supply/BAT0"
    plant(tmp_path, LAPTOP)
    (tmp_path / folder / "power_now").unlink()
    plant(tmp_path, {f"{folder}/current_now": sign * 500_000, f"{folder}/status": "Charging"})
    meter = open_meter("battery", machine(tmp_path))
    (reading,) = meter.read()
    assert reading.power_w == pytest.approx(-5.9)
    assert Quality.PARTIAL in reading.quality
    assert any("unplug" in note for note in meter.notes)


def test_a_battery_that_tells_no_current_is_an_error(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    (tmp_path / "sys/class/power_supply/BAT0/power_now").unlink()
    with pytest.raises(MeterError, match="neither power nor current"):
        open_meter("battery", machine(tmp_path))


# finding


def test_sources_are_found_with_what_keeps_them_from_being_read(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    found = {each.source: each for each in find_sources(machine(tmp_path, DENIED))}
    assert set(found) == {"rapl", "battery:BAT0"}
    assert "chmod" in found["rapl"].problem
    assert not found["battery:BAT0"].problem
    plant(tmp_path, ORIN_NANO)
    assert [each.source for each in find_sources(machine(tmp_path))] == ["jetson", "rapl", "battery:BAT0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rapL,foo=1", "no option 'foo'"),
        ("rappl", "did you mean rapl"),
        ("ina226:/dev/i2c-1@0x40", "give shunt"),
        ("ina226:/dev/i2c-1@0x99,shunt=1ohm", "say where"),
        ("simulated:10mA", "10mW"),
        ("jetson,a", "OPTION=VALUE"),
        (":x", "no kind"),
    ],
)
def test_wrong_names_are_usage_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_meter(text, machine(tmp_path))
