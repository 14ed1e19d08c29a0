# SPDX-License-Identifier: Apache-2.0
"""From the name of a source to a meter, and what sources this machine has."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable
from dataclasses import dataclass

from joulet.errors import MeterError, UsageError
from joulet.meters.battery import BatteryMeter, find_batteries
from joulet.meters.board import BoardMeter
from joulet.meters.gauges import Ltc2942, Max17048
from joulet.meters.hwmon import find_devices, find_iio, hwmon_channels, iio_channels, negotiated, open_hwmon, open_iio
from joulet.meters.ina import InaMeter
from joulet.meters.ina_chips import CHIPS
from joulet.meters.jetson import find_rails, open_jetson
from joulet.meters.joulescope import Joulescope
from joulet.meters.lpm01a import USB_ID as LPM01A_ID
from joulet.meters.lpm01a import Lpm01a
from joulet.meters.machine import Machine
from joulet.meters.pi5 import PmicMeter
from joulet.meters.ppk2 import USB_ID as PPK2_ID
from joulet.meters.ppk2 import Ppk2
from joulet.meters.rapl import find_zones, open_rapl
from joulet.meters.replay import ReplayMeter
from joulet.meters.seam import Meter
from joulet.meters.simulated import SimulatedMeter
from joulet.meters.spec import Spec, parse_spec

Opener = Callable[[Machine, Spec, bool], Meter]

OPENERS: dict[str, Opener] = {
    "jetson": open_jetson,
    "pi5": PmicMeter,
    "rapl": open_rapl,
    "battery": BatteryMeter,
    "hwmon": open_hwmon,
    "iio": open_iio,
    **{name: lambda machine, spec, allow: InaMeter(machine, spec) for name in CHIPS},
    "ltc2942": lambda machine, spec, allow: Ltc2942(machine, spec),
    "max17048": Max17048,
    "ppk2": lambda machine, spec, allow: Ppk2(machine, spec),
    "lpm01a": lambda machine, spec, allow: Lpm01a(machine, spec),
    "joulescope": lambda machine, spec, allow: Joulescope(machine, spec),
    "replay": lambda machine, spec, allow: ReplayMeter(machine, spec),
    "board": lambda machine, spec, allow: BoardMeter(machine, spec),
    "simulated": lambda machine, spec, allow: SimulatedMeter(machine, spec),
}


def open_meter(text: str, machine: Machine | None = None, *, allow_estimate: bool = False) -> Meter:
    """Open a source by its name.

    Parameters
    ----------
    text : str
        ``KIND[:WHERE][,OPTION=VALUE]…``.
    machine : Machine, optional
        Where to look; this machine without.
    allow_estimate : bool
        Take estimates where a source is missing or tells only part.

    Raises
    ------
    UsageError
        If there is no such kind, or an option is wrong.
    MeterError
        If the source is missing or cannot be read.
    MissingDependencyError
        If it needs a package that is not installed.
    """
    spec = parse_spec(text)
    if spec.kind not in OPENERS:
        close = difflib.get_close_matches(spec.kind, OPENERS, 1)
        meant = f"; did you mean {close[0]}" if close else ""
        raise UsageError(f"source '{text}': there is no kind '{spec.kind}'{meant}; there are {', '.join(OPENERS)}")
    return OPENERS[spec.kind](machine or Machine(), spec, allow_estimate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A source that is here. ``problem`` is why it cannot be read, with the remedy; empty when it can."""

    source: str
    what: str
    problem: str = ""


def find_sources(machine: Machine | None = None) -> list[Found]:
    """Return the sources of this machine that need no further word, the best first."""
    around = machine or Machine()
    found: list[Found] = []
    jetson = find_rails(around)
    if jetson:
        found.append(_tried(around, "jetson", f"rails {', '.join(channel.rail for channel, _ in jetson)}"))
    if around.find_program("vcgencmd") is not None:
        found.append(_tried(around, "pi5", "PMIC of the Raspberry Pi 5"))
    for name, folder in find_devices(around):
        with contextlib.suppress(MeterError):
            rails = hwmon_channels(around, name, folder)
            if rails and not negotiated(name) and not (jetson and name in ("ina3221", "ina238")):
                found.append(
                    _tried(around, f"hwmon:{folder.name}", f"{name}: {', '.join(rail.rail for rail in rails)}")
                )
    for name, folder in find_iio(around):
        with contextlib.suppress(MeterError):
            channels = iio_channels(around, name, folder)
            if channels and not (jetson and name == "ina3221x"):
                found.append(_tried(around, f"iio:{folder.name}", name))
    zones = find_zones(around)
    if zones:
        found.append(_tried(around, "rapl", f"processor: {', '.join(rail for rail, _ in zones)}"))
    found += [_tried(around, f"battery:{folder.name}", "battery") for folder in find_batteries(around)]
    for kind, usb_id, what in (
        ("ppk2", PPK2_ID, "Nordic PPK2"),
        ("lpm01a", LPM01A_ID, "ST LPM01A, or another USB port of ST's"),
    ):
        ports = [port.device for port in around.usb_ports() if port.usb_id == usb_id]
        found += [
            Found(source=f"{kind}:{port},voltage=…", what=f"{what} (not opened; say the voltage)") for port in ports[:1]
        ]
    return found


def _tried(machine: Machine, source: str, what: str) -> Found:
    try:
        meter = open_meter(source, machine)
    except MeterError as error:
        return Found(source=source, what=what, problem=str(error))
    meter.close()
    return Found(source=source, what=what)
