# SPDX-License-Identifier: Apache-2.0
"""Power monitors that Linux drives: hwmon (``inN_input`` mV, ``currN_input`` mA, ``powerN_input`` µW) and iio.

Documentation/hwmon/sysfs-interface.rst, ina2xx.rst, ina3221.rst and Documentation/ABI/testing/sysfs-bus-iio of the kernel.
The kernel's integers are too coarse for a microcontroller: below ten steps a reading says so.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec

_STEPS = 10
_BUS_FIRST = {
    "ina209",
    "ina219",
    "ina220",
    "ina226",
    "ina230",
    "ina231",
    "ina234",
    "ina237",
    "ina238",
    "ina228",
    "sq52206",
}
_NEGOTIATED = re.compile(r"ucsi|tcpm|usb", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Files of one rail and what their integers count in; None where there is none."""

    rail: str
    voltage: Path | None = None
    current: Path | None = None
    power: Path | None = None
    voltage_scale: float = 1e-3
    current_scale: float = 1e-3
    power_scale: float = 1e-6
    current_step_a: float = 1e-3
    power_step_w: float = 1e-6


def find_devices(machine: Machine) -> list[tuple[str, Path]]:
    """Return (name, folder) of all hwmon devices; their numbers change from boot to boot."""
    found = []
    for folder in sorted(machine.sys("class", "hwmon").glob("hwmon*"), key=lambda path: (len(path.name), path.name)):
        with contextlib.suppress(MeterError):
            found.append((machine.text(folder / "name"), folder))
    return found


def negotiated(name: str) -> bool:
    """Return whether a device tells what was agreed upon over USB-C, which nobody measured."""
    return bool(_NEGOTIATED.search(name))


def hwmon_channels(machine: Machine, name: str, folder: Path) -> list[Channel]:
    """Return the rails of a device.

    In the chips of TI with one channel, in0 is the shunt and in1 the bus; an ina3221 has labels for its first three, and
    channel 7 is a sum of shunts; elsewhere numbers belong together.
    """
    channels = []
    numbers = sorted(
        {
            int(m[1])
            for path in folder.glob("*_*")
            if (m := re.fullmatch(r"(?:curr|power)(\d+)_(?:input|average)", path.name))
        }
    )
    for number in numbers:
        if name == "ina3221" and number > 3:
            continue
        label = machine.text(folder / label_file.name) if (label_file := _label(folder, number)) else ""
        power = next((p for kind in ("input", "average") if (p := folder / f"power{number}_{kind}").exists()), None)
        current = folder / f"curr{number}_input"
        voltage = folder / f"in{1 if name in _BUS_FIRST else number}_input"
        if name == "ina3221" and label.upper() == "NC":
            continue
        channels.append(
            Channel(
                rail=label or (name if len(numbers) == 1 else f"{name}/{number}"),
                voltage=voltage if voltage.exists() else None,
                current=current if current.exists() else None,
                power=power,
            )
        )
    return channels


def _label(folder: Path, number: int) -> Path | None:
    for stem in ("in", "power", "curr"):
        path = folder / f"{stem}{number}_label"
        if path.exists():
            return path
    return None


def iio_channels(machine: Machine, name: str, folder: Path) -> list[Channel]:
    """Return the rails of an iio device: Jetson's ``rail_name_N`` with cooked values, else raw values with their scales."""
    channels = []
    for label in sorted(folder.glob("rail_name_*")):
        number, rail = label.name.rpartition("_")[2], machine.text(label)
        files = [folder / f"in_{what}{number}_input" for what in ("voltage", "current", "power")]
        if rail.upper() == "NC" or int(number) > 6:
            continue
        voltage, current, power = (path if path.exists() else None for path in files)
        channels.append(
            Channel(rail=rail, voltage=voltage, current=current, power=power, power_scale=1e-3, power_step_w=1e-3)
        )
    if channels:
        return channels
    currents = sorted(folder.glob("in_current*_raw"))
    voltages = sorted(folder.glob("in_voltage*_raw"))
    for current in currents:
        scale = _iio_scale(machine, current)
        # the last voltage of a chip with a shunt is the bus
        voltage = voltages[-1] if voltages else None
        channels.append(
            Channel(
                rail=name if len(currents) == 1 else f"{name}/{current.name[len('in_current') : -len('_raw')]}",
                voltage=voltage,
                current=current,
                voltage_scale=1e-3 * (_iio_scale(machine, voltage) if voltage else 1.0),
                current_scale=1e-3 * scale,
                current_step_a=1e-3 * scale,
            )
        )
    return channels


def _iio_scale(machine: Machine, raw: Path) -> float:
    own = raw.with_name(raw.name.replace("_raw", "_scale"))
    shared = raw.with_name(re.sub(r"\d*_raw$", "_scale", raw.name))
    for path in (own, shared):
        if path.exists():
            text = machine.text(path)
            try:
                return float(text)
            except ValueError as error:
                raise MeterError(f"{path}: holds '{text[:40]}', not a scale") from error
    return 1.0


def read_channel(machine: Machine, channel: Channel, provenance: str, *, counts: bool = True) -> Reading:
    """Read one rail. Its power is the chip's own where there is no current.

    Raises
    ------
    MeterError
        If a file cannot be read.
    """
    time_s = machine.clock()
    quality = Quality.OK
    voltage_v = current_a = power_w = None
    if channel.voltage is not None:
        voltage_v = machine.number(channel.voltage) * channel.voltage_scale
    if channel.current is not None:
        current_a = machine.number(channel.current) * channel.current_scale
        if abs(current_a) < _STEPS * channel.current_step_a:
            quality |= Quality.COARSE
    if voltage_v is not None and current_a is not None:
        power_w = voltage_v * current_a
    elif channel.power is not None:
        power_w = machine.number(channel.power) * channel.power_scale
        if abs(power_w) < _STEPS * channel.power_step_w:
            quality |= Quality.COARSE
    return Reading(
        time_s=0.5 * (time_s + machine.clock()),
        rail=channel.rail,
        voltage_v=voltage_v,
        current_a=current_a,
        power_w=power_w,
        provenance=provenance,
        counts=counts,
        quality=quality,
    )


class SysfsMeter:
    """Rails that are files.

    A rail that cannot be read when the meter is opened is left out and named in the notes; all of them: an error. A rail
    that fails later is an error of that reading.
    """

    def __init__(
        self,
        machine: Machine,
        source: str,
        channels: list[tuple[Channel, str]],
        *,
        notes: tuple[str, ...] = (),
        counted: set[str] | None = None,
        quality: Quality = Quality.OK,
    ) -> None:
        self.source = source
        self._machine, self._counted, self._quality = machine, counted, quality
        self._channels: list[tuple[Channel, str]] = []
        failed = []
        for channel, provenance in channels:
            try:
                read_channel(machine, channel, provenance)
                self._channels.append((channel, provenance))
            except MeterError as error:
                failed.append(f"rail {channel.rail} is left out: {error}")
        if not self._channels:
            raise MeterError(f"source '{source}': no rail can be read. {' '.join(failed)}".strip())
        self.notes = (*notes, *failed)
        self.coverage = len(self._channels) / len(channels)
        self._partial = Quality.PARTIAL if failed and counted is None else Quality.OK

    @property
    def rails(self) -> tuple[str, ...]:
        """Names of the rails that can be read."""
        return tuple(channel.rail for channel, _ in self._channels)

    def read(self) -> tuple[Reading, ...]:
        """Return what each rail draws now."""
        from dataclasses import replace

        readings = []
        for channel, provenance in self._channels:
            counts = self._counted is None or channel.rail in self._counted
            reading = read_channel(self._machine, channel, provenance, counts=counts)
            extra = self._quality | (self._partial if counts else Quality.OK)
            readings.append(replace(reading, quality=reading.quality | extra))
        return tuple(readings)

    def close(self) -> None:
        """Nothing is held."""


def open_hwmon(machine: Machine, spec: Spec, allow_estimate: bool) -> SysfsMeter:
    """Open ``hwmon``, ``hwmon:NAME`` or ``hwmon:hwmonN``."""
    spec.allow()
    devices = find_devices(machine)
    wanted = [(n, f) for n, f in devices if spec.where in ("", n, f.name) or Path(spec.where) == f]
    channels, notes = [], []
    for name, folder in wanted:
        rails = hwmon_channels(machine, name, folder)
        if negotiated(name) and not allow_estimate:
            if rails:
                notes.append(f"{name} is left out: it tells what was negotiated over USB-C, not what flows")
            continue
        method = "estimated: negotiated over USB-C" if negotiated(name) else "measured: driver"
        channels += [(channel, f"{method} {name} of Linux hwmon") for channel in rails]
    if not channels:
        there = ", ".join(name for name, _ in devices) or "none"
        more = f" {' '.join(notes)}; --allow-estimate takes it." if notes else ""
        raise MeterError(
            f"source '{spec.text}': no hwmon device of that name measures current or power; there are {there}.{more} "
            "A chip on I2C that no driver holds is read directly: ina226:/dev/i2c-1@0x40,shunt=…"
        )
    estimated = Quality.ESTIMATE if all(p.startswith("estimated") for _, p in channels) else Quality.OK
    return SysfsMeter(machine, spec.text, channels, notes=tuple(notes), quality=estimated)


def find_iio(machine: Machine) -> list[tuple[str, Path]]:
    """Return (name, folder) of all iio devices, those of Jetson's driver among them."""
    found: dict[Path, str] = {}
    folders = [
        *machine.sys("bus", "iio", "devices").glob("iio:device*"),
        *machine.sys("bus", "i2c", "drivers", "ina3221x").glob("*/iio:device*"),
    ]
    for folder in sorted(folders):
        with contextlib.suppress(MeterError):
            found.setdefault(folder.resolve(), machine.text(folder / "name"))
    return [(name, folder) for folder, name in found.items()]


def open_iio(machine: Machine, spec: Spec, allow_estimate: bool) -> SysfsMeter:
    """Open ``iio``, ``iio:NAME`` or ``iio:iio:deviceN``."""
    spec.allow()
    devices = find_iio(machine)
    channels = [
        (channel, f"measured: driver {name} of Linux iio")
        for name, folder in devices
        if spec.where in ("", name, folder.name)
        for channel in iio_channels(machine, name, folder)
    ]
    if not channels:
        there = ", ".join(name for name, _ in devices) or "none"
        raise MeterError(f"source '{spec.text}': no iio device of that name measures current; there are {there}")
    return SysfsMeter(machine, spec.text, channels)
