# SPDX-License-Identifier: Apache-2.0
"""Trees of /sys as devices have them, for the meters: what a file is called, and what it counts in.

None was copied from a device here. Names and units are those of the kernel's documentation (Documentation/hwmon/ina3221.rst,
ina2xx.rst, sysfs-interface.rst, Documentation/ABI/testing/sysfs-class-power, Documentation/power/powercap) and, for what
NVIDIA's own kernels do, of the sources of jetson_stats and of threads of its users (labels NC, channel 7, EIO on unused
channels, USB-C controllers that pose as meters); figures are plausible ones, chosen so that sums are told apart.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from joulet.meters import Machine


def plant(root: Path, files: dict[str, object]) -> None:
    """Write small files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def machine(root: Path, faults: dict[str, int] | None = None, **others: object) -> Machine:
    """Return a machine whose root is a folder. ``faults``: errno by the end of a path that is read."""
    broken = faults if faults is not None else {}

    def read_file(path: Path) -> str:
        for end, number in broken.items():
            if str(path).endswith(end):
                raise OSError(number, os.strerror(number), str(path))
        return path.read_text()

    fields: dict[str, object] = {"root": root, "read_file": read_file, "find_program": lambda name: None, **others}
    return Machine(**fields)  # type: ignore[arg-type]


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    """Return a clock that goes on by a step each time it is asked."""
    now = [0.0]

    def clock() -> float:
        now[0] += step_s
        return now[0]

    return clock


def ina3221(folder: str, rails: list[tuple[str, int, int]]) -> dict[str, object]:
    """Return files of hwmon's ina3221: (label, bus mV, mA) for each of three channels, and the sum of shunts."""
    files: dict[str, object] = {f"{folder}/name": "ina3221"}
    for number, (label, millivolts, milliamperes) in enumerate(rails, 1):
        files[f"{folder}/in{number}_label"] = label
        files[f"{folder}/in{number}_input"] = millivolts
        files[f"{folder}/curr{number}_input"] = milliamperes
        files[f"{folder}/in{number + 3}_input"] = milliamperes * 5 // 1000  # shunt
    files[f"{folder}/in7_label"] = "sum of shunt voltages"
    files[f"{folder}/in7_input"] = 99
    files[f"{folder}/curr4_input"] = 9_999
    return files


HWMON = "sys/class/hwmon"

# Orin Nano, JetPack 6: one ina3221 with the input rail, one that is not connected; a UCSI port that pretends to measure
ORIN_NANO = {
    f"{HWMON}/hwmon0/name": "tmp451",
    f"{HWMON}/hwmon0/temp1_input": 45_000,
    **ina3221(f"{HWMON}/hwmon1", [("VDD_IN", 5_000, 1_200), ("VDD_CPU_GPU_CV", 5_000, 500), ("VDD_SOC", 5_000, 300)]),
    **ina3221(f"{HWMON}/hwmon2", [("NC", 0, 0), ("NC", 0, 0), ("NC", 0, 0)]),
    f"{HWMON}/hwmon3/name": "ucsi_source_psy_2_00081",
    f"{HWMON}/hwmon3/in1_input": 5_000,
    f"{HWMON}/hwmon3/curr1_input": 3_000,
}
# AGX Orin, JetPack 5: no rail for the input; the sum lacks the carrier board
ORIN_AGX = {
    **ina3221(
        f"{HWMON}/hwmon4", [("VDD_GPU_SOC", 19_000, 200), ("VDD_CPU_CV", 19_000, 100), ("VIN_SYS_5V0", 5_000, 800)]
    ),
    **ina3221(f"{HWMON}/hwmon5", [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5_000, 60), ("NC", 0, 0)]),
}
# AGX Thor: labelled rails as before, and an ina238 without labels for the input
THOR = {
    **ina3221(
        f"{HWMON}/hwmon3", [("VDD_GPU", 12_000, 900), ("VDD_CPU_SOC_MSS", 12_000, 400), ("VIN_SYS_5V0", 5_000, 700)]
    ),
    f"{HWMON}/hwmon4/name": "ina238",
    f"{HWMON}/hwmon4/in0_input": 3,
    f"{HWMON}/hwmon4/in1_input": 20_000,
    f"{HWMON}/hwmon4/curr1_input": 1_500,
    f"{HWMON}/hwmon4/power1_input": 30_000_000,
    "proc/device-tree/compatible": "nvidia,p3971-0089+p3834-0008\0nvidia,tegra264",
}
# Nano, JetPack 4: iio driver ina3221x, values cooked in mV, mA, mW
_NANO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
NANO = {
    f"{_NANO}/name": "ina3221x",
    **{
        f"{_NANO}/{key}": value
        for number, (label, mv, ma) in enumerate([("POM_5V_IN", 5_040, 420), ("POM_5V_GPU", 5_040, 60), ("POM_5V_CPU", 5_040, 150)])
        for key, value in {
            f"rail_name_{number}": label,
            f"in_voltage{number}_input": mv,
            f"in_current{number}_input": ma,
            f"in_power{number}_input": mv * ma // 1000,
        }.items()
    },
}  # fmt: skip

_RAPL = "sys/class/powercap"


def rapl_zone(folder: str, name: str, energy_uj: int, range_uj: int = 262_143_328_850) -> dict[str, object]:
    """Return files of one zone."""
    return {
        f"{_RAPL}/{folder}/name": name,
        f"{_RAPL}/{folder}/energy_uj": energy_uj,
        f"{_RAPL}/{folder}/max_energy_range_uj": range_uj,
    }


# a laptop with Intel's processor: nested zones, the same package again over MMIO, a battery that discharges, a mouse's
LAPTOP = {
    **rapl_zone("intel-rapl:0", "package-0", 1_000_000),
    **rapl_zone("intel-rapl:0:0", "core", 400_000),
    **rapl_zone("intel-rapl:0:1", "uncore", 100_000),
    **rapl_zone("intel-rapl:0:2", "dram", 200_000, 65_712_999_613),
    **rapl_zone("intel-rapl:1", "psys", 3_000_000),
    **rapl_zone("intel-rapl-mmio:0", "package-0", 7_000_000),
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": 0,
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/BAT0/voltage_now": 11_800_000,
    "sys/class/power_supply/BAT0/power_now": 7_080_000,
    "sys/class/power_supply/BAT0/energy_now": 40_000_000,
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "sys/class/power_supply/ucsi-source-psy-USBC000:001/type": "USB",
    "sys/class/power_supply/ucsi-source-psy-USBC000:001/current_now": 3_000_000,
    "sys/class/power_supply/ucsi-source-psy-USBC000:001/voltage_now": 20_000_000,
    "proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0",
}

# vcgencmd pmic_read_adc of a Raspberry Pi 5: current lines, then voltage lines; input and battery have no current
PI5 = """     3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.05000000A
     VDD_CORE_A current(7)=1.50000000A
     3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
     VDD_CORE_V volt(15)=0.80000000V
      EXT5V_V volt(24)=5.10000000V
       BATT_V volt(25)=0.01000000V
"""
# another firmware: no leading space, fewer digits, no unit at the end
PI5_OTHER = (
    "VDD_CORE_A current(7)=1.5\nVDD_CORE_V volt(15)=0.8\nHDMI_A current(6)=0.02\nHDMI_V volt(14)=5.1\nthrottled=0x0\n"
)

DENIED = {"energy_uj": errno.EACCES}
