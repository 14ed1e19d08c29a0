# SPDX-License-Identifier: Apache-2.0
"""From the name of a knob to the knob, and from what was written down of one to how it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from joulet.errors import KnobError, UsageError
from joulet.knobs.cpufreq import CpuFreq, Write, policies, restore_cpufreq, write_file
from joulet.knobs.nvpmodel import JetsonClocks, NvpModel, restore_jetson_clocks, restore_nvpmodel
from joulet.knobs.seam import Knob
from joulet.meters.machine import Machine

KINDS = ("auto", "cpufreq", "nvpmodel", "jetson_clocks")


def open_knob(kind: str, machine: Machine, write: Write = write_file) -> Knob:
    """Open a knob; ``auto`` takes cpufreq where there is one, else nvpmodel.

    Raises
    ------
    UsageError
        If there is no such kind.
    KnobError
        If this machine has none.
    """
    if kind == "auto":
        kind = "cpufreq" if policies(machine) or machine.find_program("nvpmodel") is None else "nvpmodel"
    makers: dict[str, Callable[[], Knob]] = {
        "cpufreq": lambda: CpuFreq(machine, write),
        "nvpmodel": lambda: NvpModel(machine),
        "jetson_clocks": lambda: JetsonClocks(machine),
    }
    if kind not in makers:
        raise UsageError(f"--dvfs {kind}: give {', '.join(KINDS)}")
    return makers[kind]()


def put_back(kind: str, saved: Mapping[str, str], machine: Machine, write: Write = write_file) -> None:
    """Put one knob back to how it was found.

    Raises
    ------
    KnobError
        If that does not work.
    """
    if kind == "cpufreq":
        restore_cpufreq(machine, saved, write)
    elif kind == "nvpmodel":
        restore_nvpmodel(machine, saved)
    elif kind == "jetson_clocks":
        restore_jetson_clocks(machine, saved)
    else:
        raise KnobError(f"what was written down names a knob '{kind}' that there is not")
