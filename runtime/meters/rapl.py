# SPDX-License-Identifier: Apache-2.0
"""RAPL: energy counters of Intel and AMD processors below /sys/class/powercap.

Documentation/power/powercap/powercap.rst of the kernel. Zones nest: ``core`` and ``uncore`` lie within ``package``, ``psys``
covers the platform; only packages and memory are summed. The same package appears again as ``intel-rapl-mmio``. Counters
wrap at ``max_energy_range_uj``. Since kernel 5.10 only root may read them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec

PERMISSION = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj /sys/class/powercap/intel-rapl*/*/energy_uj"


@dataclass(slots=True)
class _Zone:
    rail: str
    counter: Path
    range_j: float
    counts: bool
    last_j: float
    time_s: float
    energy_j: float = 0.0
    power_w: float | None = None


def find_zones(machine: Machine) -> list[tuple[str, Path]]:
    """Return (rail, folder) of each zone once; a nested one is named ``package-0/core``."""
    found: dict[str, Path] = {}
    top = machine.sys("class", "powercap")
    for family in ("intel-rapl", "intel-rapl-mmio"):
        for folder in sorted(top.glob(f"{family}:*")):
            with contextlib.suppress(MeterError):
                name = machine.text(folder / "name")
                if folder.name.count(":") == 2:
                    parent = machine.text(top / folder.name.rpartition(":")[0] / "name")
                    name = f"{parent}/{name}"
                found.setdefault(name, folder)
    return sorted(found.items())


class RaplMeter:
    """Zones as rails; power is the mean since the last reading."""

    def __init__(self, machine: Machine, spec: Spec) -> None:
        self.source = spec.text
        self._machine = machine
        zones = find_zones(machine)
        if not zones:
            raise MeterError(
                f"source '{spec.text}': no zone of RAPL below {machine.sys('class', 'powercap')}; sudo modprobe "
                "intel_rapl_common intel_rapl_msr, and note that virtual machines and most ARM processors have none"
            )
        self._zones: list[_Zone] = []
        failed = []
        for rail, folder in zones:
            try:
                self._zones.append(self._zone(rail, folder))
            except MeterError as error:
                failed.append((rail, error))
        if not self._zones:
            denied = any(isinstance(e.__cause__, PermissionError) for _, e in failed)
            remedy = (
                f"only root may read its counters; until the next boot: {PERMISSION}" if denied else str(failed[0][1])
            )
            raise MeterError(f"source '{spec.text}': {remedy}")
        self.notes = tuple(f"zone {rail} is left out: {error}" for rail, error in failed)
        lacking = any(_counts(rail) for rail, _ in failed)
        self._quality = Quality.PARTIAL if lacking else Quality.OK

    def _zone(self, rail: str, folder: Path) -> _Zone:
        counter = folder / "energy_uj"
        return _Zone(
            rail=rail,
            counter=counter,
            range_j=self._machine.number(folder / "max_energy_range_uj") * 1e-6,
            counts=_counts(rail),
            last_j=self._machine.number(counter) * 1e-6,
            time_s=self._machine.clock(),
        )

    def read(self) -> tuple[Reading, ...]:
        """Return each zone's energy since the meter was opened and its mean power since the last reading."""
        return tuple(self._read(zone) for zone in self._zones)

    def _read(self, zone: _Zone) -> Reading:
        now_j, time_s = self._machine.number(zone.counter) * 1e-6, self._machine.clock()
        passed_s, spent_j = time_s - zone.time_s, now_j - zone.last_j
        if spent_j < 0.0:
            spent_j += zone.range_j  # it has wrapped
        quality = self._quality if zone.counts else Quality.OK
        if passed_s > 0.0 and (spent_j > 0.0 or passed_s > 0.01):
            zone.power_w = spent_j / passed_s
            zone.last_j, zone.time_s = now_j, time_s
            zone.energy_j += spent_j
        else:
            quality |= Quality.STALE  # the counter moves about once a millisecond
        return Reading(
            time_s=time_s, rail=zone.rail, power_w=zone.power_w, energy_j=zone.energy_j, counts=zone.counts,
            provenance="measured: RAPL of the processor (on some a model of its maker)", quality=quality,
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is held."""


def _counts(rail: str) -> bool:
    """Return whether a zone is summed: packages, and memory, which no package contains."""
    return ("/" not in rail and rail != "psys") or rail.endswith("/dram")


class LoadEstimate:
    """``tdp × load`` of the processor: what is left without counters, only where estimates are allowed."""

    def __init__(self, machine: Machine, spec: Spec, tdp_w: float, reason: str) -> None:
        self.source = spec.text
        self._machine, self._tdp_w = machine, tdp_w
        self._before = self._jiffies()
        self._power_w: float | None = None
        self.notes: tuple[str, ...] = (f"estimated from load, since {reason}",)

    def _jiffies(self) -> tuple[int, int]:
        """Return (busy, all) time of all processors since boot, in ticks: the first line of /proc/stat."""
        path = self._machine.root / "proc" / "stat"
        words = (self._machine.text(path).splitlines() or [""])[0].split()
        if len(words) < 6 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:]):
            raise MeterError(f"{path}: its first line is not that of all processors")
        ticks = [int(word) for word in words[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def read(self) -> tuple[Reading, ...]:
        """Return the estimate over the time since the last reading."""
        now = self._jiffies()
        busy, whole = now[0] - self._before[0], now[1] - self._before[1]
        quality = Quality.ESTIMATE
        if whole > 0:
            self._power_w, self._before = self._tdp_w * busy / whole, now
        else:
            quality |= Quality.STALE
        provenance = f"estimated: load of the processor × {self._tdp_w:g} W as given"
        return (
            Reading(
                time_s=self._machine.clock(),
                rail="processor",
                power_w=self._power_w,
                provenance=provenance,
                quality=quality,
            ),
        )

    def close(self) -> None:
        """Nothing is held."""


def open_rapl(machine: Machine, spec: Spec, allow_estimate: bool) -> RaplMeter | LoadEstimate:
    """Open ``rapl``; with ``tdp=15W`` and ``--allow-estimate`` the load of the processor stands in for missing counters."""
    spec.allow("tdp")
    try:
        return RaplMeter(machine, spec)
    except MeterError as error:
        if not allow_estimate:
            raise
        if "tdp" not in spec.options:
            raise MeterError(
                f"{error}. To estimate from load instead, say rapl,tdp=15W with --allow-estimate"
            ) from error
        return LoadEstimate(machine, spec, spec.quantity("tdp", "W"), str(error))
