# SPDX-License-Identifier: Apache-2.0
"""A Jetson's power modes (``nvpmodel``) and its pinned clocks (``jetson_clocks``), by NVIDIA's own programs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from joulet.errors import KnobError, MeterError
from joulet.meters.machine import Machine

_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")
CONFIG = ("etc", "nvpmodel.conf")
STORE = ("var", "lib", "joulet", "jetson_clocks.conf")


def _call(machine: Machine, *command: str) -> str:
    if machine.find_program(command[0]) is None:
        raise KnobError(f"{command[0]} is not on this machine: it belongs to JetPack; leave out --dvfs {command[0]}")
    try:
        status, said = machine.run_program(command)
    except MeterError as error:
        raise KnobError(str(error)) from error
    if "reboot" in said.lower():
        raise KnobError(
            f"{' '.join(command)}: this mode needs a reboot, which is not for a run to do; set it beforehand"
        )
    if status != 0:
        words = " ".join(said.split())[:200]
        root = "; run as root" if "root" in said.lower() or "permission" in said.lower() else ""
        raise KnobError(f"{' '.join(command)} failed ({status}): {words}{root}")
    return said


def mode_now(machine: Machine) -> int:
    """Return the number of the mode: the last line of ``nvpmodel -q``.

    Raises
    ------
    KnobError
        If it does not say.
    """
    said = _call(machine, "nvpmodel", "-q").split()
    if not said or not said[-1].isdecimal():
        raise KnobError(
            f"nvpmodel -q ends with '{said[-1] if said else ''}', not with the number of a mode; run as root"
        )
    return int(said[-1])


class NvpModel:
    """Modes of nvpmodel, the one that was found first. A change takes about a second, so it is made at most every ten."""

    name = "nvpmodel"
    dwell_s = 10.0
    notes: tuple[str, ...] = ()

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._found = mode_now(machine)
        path = machine.root.joinpath(*CONFIG)
        try:
            text = machine.text(path)
        except MeterError as error:
            raise KnobError(f"nvpmodel: {error}") from error
        named = {int(number): name for number, name in _MODE.findall(text)}
        if self._found not in named:
            raise KnobError(f"{path} does not name mode {self._found}, which is set; leave out --dvfs nvpmodel")
        self._modes = [self._found, *sorted(set(named) - {self._found})]
        self.levels = tuple(named[mode] for mode in self._modes)
        self.speeds = tuple(1.0 for _ in self._modes)  # what a mode does to clocks differs from board to board
        self.level = 0

    def set(self, level: int) -> None:
        """Change the mode.

        Raises
        ------
        KnobError
            If it needs a reboot or is not taken.
        """
        _set_mode(self._machine, self._modes[level])
        self.level = level

    def saved(self) -> dict[str, str]:
        """Return the mode that was found."""
        return {"mode": str(self._found)}


def _set_mode(machine: Machine, mode: int) -> None:
    _call(machine, "nvpmodel", "-m", str(mode))
    got = mode_now(machine)
    if got != mode:
        raise KnobError(f"nvpmodel -m {mode}: mode {got} is set instead; set it by hand once and see what it says")


def restore_nvpmodel(machine: Machine, saved: Mapping[str, str]) -> None:
    """Put the mode back.

    Raises
    ------
    KnobError
        If it is not taken.
    """
    text = saved.get("mode", "")
    if not (text.isdecimal() and len(text) < 4):
        raise KnobError(f"what was written down of nvpmodel, {text!r}, is no mode")
    _set_mode(machine, int(text))


class JetsonClocks:
    """Clocks at their highest, or as the governors like: two levels, the pinned one first."""

    name = "jetson_clocks"
    dwell_s = 10.0
    notes: tuple[str, ...] = ()
    levels = ("pinned", "governed")
    speeds = (1.0, 1.0)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._store = machine.root.joinpath(*STORE)
        self.level = 1
        try:
            self._store.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KnobError(f"{self._store.parent}: {error.strerror or error}; run as root") from error
        # what was found is stored anew each time: what an earlier run left behind has been put back by now
        self._store.unlink(missing_ok=True)
        _call(machine, "jetson_clocks", "--store", str(self._store))

    def set(self, level: int) -> None:
        """Pin the clocks, or let them go.

        Raises
        ------
        KnobError
            If the program fails.
        """
        if level == 0:
            _call(self._machine, "jetson_clocks")
        else:
            _call(self._machine, "jetson_clocks", "--restore", str(self._store))
        self.level = level

    def saved(self) -> dict[str, str]:
        """Return nothing: the program keeps a file of its own."""
        return {}


def restore_jetson_clocks(machine: Machine, saved: Mapping[str, str]) -> None:
    """Put the clocks back from the program's own file.

    Raises
    ------
    KnobError
        If the file is not there or the program fails.
    """
    store = machine.root.joinpath(*STORE)
    if not store.is_file():
        raise KnobError(f"{store}, which jetson_clocks wrote, is gone; restart the machine")
    _call(machine, "jetson_clocks", "--restore", str(store))
