# SPDX-License-Identifier: Apache-2.0
"""The rails of NVIDIA Jetson modules, found by label: no table of boards or releases, no service, no root.

JetPack 4 has the iio driver ``ina3221x`` (``rail_name_N``), JetPack 5 and 6 hwmon's ``ina3221``, AGX Thor also an
``ina238`` for the input. Channels labelled NC are unused, channel 7 is a sum of shunts, an unused channel answers EIO, and
the USB-C controller (UCSI) tells what was negotiated: none of these is a rail.
"""

from __future__ import annotations

from joulet.errors import MeterError
from joulet.meters.hwmon import Channel, SysfsMeter, find_devices, find_iio, hwmon_channels, iio_channels, negotiated
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality
from joulet.meters.spec import Spec

_TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")  # of the whole module, with the carrier board where it is fed from there
_NVPMODEL = "nvpmodel"


def find_rails(machine: Machine) -> list[tuple[Channel, str]]:
    """Return the rails of a Jetson with their provenance; none on other machines."""
    rails: list[tuple[Channel, str]] = []
    for name, folder in find_iio(machine):
        if name == "ina3221x":
            rails += [
                (each, f"measured: {name} (iio), label {each.rail}") for each in iio_channels(machine, name, folder)
            ]
    if rails:
        return rails
    for name, folder in find_devices(machine):
        if name == "ina3221":
            each_rail = hwmon_channels(machine, name, folder)
            rails += [(each, f"measured: {name} (hwmon), label {each.rail}") for each in each_rail if _labelled(each)]
        elif name == "ina238" and not negotiated(name):
            for each in hwmon_channels(machine, name, folder):
                label = each.rail if each.rail != name else "VIN"
                rails.append((_renamed(each, label), f"measured: {name} (hwmon), label {label}"))
    # the ina238 alone is any board's; with labelled rails of an ina3221 beside it, or as Thor's, it is a Jetson's input
    return rails if any("ina3221" in provenance for _, provenance in rails) or _tegra(machine) else []


def _labelled(channel: Channel) -> bool:
    return not channel.rail.startswith("ina3221")


def _renamed(channel: Channel, rail: str) -> Channel:
    from dataclasses import replace

    return replace(channel, rail=rail)


def _tegra(machine: Machine) -> bool:
    path = machine.root / "proc" / "device-tree" / "compatible"
    try:
        return "tegra" in machine.text(path)
    except MeterError:
        return False


def open_jetson(machine: Machine, spec: Spec, allow_estimate: bool) -> SysfsMeter:
    """Open ``jetson``: all labelled rails; the input rail is the total where there is one, else the sum without the carrier."""
    spec.allow()
    rails = find_rails(machine)
    if not rails:
        raise MeterError(
            f"source '{spec.text}': this machine has no rails of a Jetson (ina3221, ina3221x or ina238 with labels below "
            f"{machine.sys('class', 'hwmon')}); in a container, mount /sys; joulet power --list tells what there is"
        )
    meter = SysfsMeter(machine, spec.text, rails)
    total = next((name for name in _TOTALS if name in meter.rails), None)
    if total is not None:
        return SysfsMeter(
            machine, spec.text, rails, counted={total}, notes=(f"{total} is the total; the other rails lie within it",)
        )
    return SysfsMeter(
        machine, spec.text, rails, quality=Quality.PARTIAL,
        notes=("no rail measures the input: the sum lacks the carrier board and what has no monitor",),
    )  # fmt: skip


def power_mode(machine: Machine) -> str | None:
    """Return the power mode that nvpmodel reports, such as ``15W``; None without the program."""
    program = machine.find_program(_NVPMODEL)
    if program is None:
        return None
    _, text = machine.run_program([program, "-q"])
    for line in text.splitlines():
        if line.upper().startswith("NV POWER MODE"):
            return line.partition(":")[2].strip()
    return None
