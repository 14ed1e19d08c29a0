# SPDX-License-Identifier: Apache-2.0
"""The highest clock that the governor may choose: ``scaling_max_freq`` of each policy of cpufreq.

Documentation/admin-guide/pm/cpufreq.rst of the kernel. The governor stays what it is, and so does the lowest clock. The kernel
takes what the hardware has: what was set is read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from joulet.errors import KnobError, MeterError
from joulet.meters.machine import Machine

Write = Callable[[Path, str], None]
_FRACTIONS = (1.0, 0.8, 0.6, 0.4)
_FILE = "scaling_max_freq"
_POLICY = re.compile(r"policy\d{1,4}")


def write_file(path: Path, text: str) -> None:
    """Write a file of the kernel in one go."""
    with path.open("w", encoding="ascii") as file:
        file.write(text)


def policies(machine: Machine) -> list[Path]:
    """Return the folders of the policies."""
    found = machine.sys("devices", "system", "cpu", "cpufreq").glob("policy*")
    return sorted((path for path in found if _POLICY.fullmatch(path.name)), key=lambda path: int(path.name[6:]))


class CpuFreq:
    """Clocks of all policies together, from what they may be now downwards."""

    name = "cpufreq"
    dwell_s = 0.0

    def __init__(self, machine: Machine, write: Write = write_file) -> None:
        self._machine, self._write = machine, write
        self._policies = policies(machine)
        if not self._policies:
            raise KnobError(
                f"no policy of cpufreq below {machine.sys('devices', 'system', 'cpu', 'cpufreq')}: this kernel or virtual machine "
                "does not scale clocks; leave out --dvfs"
            )
        self._found = {path.name: self._number(path / _FILE) for path in self._policies}
        self._clocks = {path.name: self._steps(path) for path in self._policies}
        first = self._policies[0].name
        self._levels = self._distinct(first)
        top = self._clocks[first][0]
        self.levels = tuple(f"{clocks[first] // 1000}MHz" for clocks in self._levels)
        self.speeds = tuple(clocks[first] / top for clocks in self._levels)
        self.level = 0
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the kernel took another clock than the one asked for."""
        return tuple(self._notes)

    def _number(self, path: Path) -> int:
        try:
            return self._machine.number(path)
        except MeterError as error:
            raise KnobError(f"cpufreq: {error}") from error

    def _steps(self, folder: Path) -> list[int]:
        """Return the clocks that a policy may be held to, the highest first [kHz]."""
        top = self._found[folder.name]
        listed = folder / "scaling_available_frequencies"
        if listed.exists():
            words = self._machine.text(listed).split()
            known = sorted({int(word) for word in words if word.isdecimal() and int(word) <= top}, reverse=True)
        else:
            known = []
        low = max(self._number(folder / "cpuinfo_min_freq"), self._number(folder / "scaling_min_freq"))
        wanted = [round(fraction * top) for fraction in _FRACTIONS]
        if known:
            wanted = [_nearest(known, want) for want in wanted]
        return [top, *(max(low, want) for want in wanted[1:])]

    def _distinct(self, first: str) -> list[dict[str, int]]:
        levels: list[dict[str, int]] = []
        for number in range(len(_FRACTIONS)):
            clocks = {name: steps[number] for name, steps in self._clocks.items()}
            if not levels or clocks[first] < levels[-1][first]:
                levels.append(clocks)
        return levels

    def set(self, level: int) -> None:
        """Hold all policies to the clock of a level.

        Raises
        ------
        KnobError
            If the kernel does not let us, or takes a clock above what this machine was held to.
        """
        for folder in self._policies:
            wanted = self._levels[level][folder.name]
            got = _set_clock(self._machine, self._write, folder, wanted)
            if got > self._found[folder.name]:
                raise KnobError(f"{folder / _FILE}: asked for {wanted} kHz, got {got} kHz, above what it was")
            if got != wanted:
                self._notes[f"cpufreq {folder.name}: {wanted} kHz was rounded to {got} kHz"] = None
        self.level = level

    def saved(self) -> dict[str, str]:
        """Return the clock that each policy was held to [kHz]."""
        return {name: str(clock) for name, clock in self._found.items()}


def _nearest(known: list[int], clock: int) -> int:
    return min(known, key=lambda each: abs(each - clock))


def _set_clock(machine: Machine, write: Write, folder: Path, clock: int) -> int:
    path = folder / _FILE
    try:
        write(path, str(clock))
    except PermissionError as error:
        raise KnobError(
            f"{path}: permission denied: run as root, or sudo chmod a+w /sys/devices/system/cpu/cpufreq/policy*/{_FILE} "
            "(until the next boot), or leave out --dvfs"
        ) from error
    except OSError as error:
        raise KnobError(f"{path}: cannot be set to {clock} kHz: {error.strerror or error}; leave out --dvfs") from error
    try:
        return machine.number(path)
    except MeterError as error:
        raise KnobError(f"cpufreq: {error}") from error


def restore_cpufreq(machine: Machine, saved: Mapping[str, str], write: Write = write_file) -> None:
    """Put the clocks back.

    Raises
    ------
    KnobError
        If one of them cannot be put back, after all others were.
    """
    wrong = []
    there = {path.name: path for path in policies(machine)}
    for name, text in saved.items():
        if not _POLICY.fullmatch(name) or not (text.isdecimal() and len(text) < 12):
            wrong.append(f"what was written down of {name!r} is no clock")
        elif name not in there:
            wrong.append(f"{name} is not there any more")
        else:
            try:
                got = _set_clock(machine, write, there[name], int(text))
            except KnobError as error:
                wrong.append(str(error))
            else:
                if got != int(text):
                    wrong.append(f"{name}: {text} kHz was asked for, {got} kHz is set")
    if wrong:
        raise KnobError("; ".join(wrong))
