# SPDX-License-Identifier: Apache-2.0
"""What the board's marker pins tell besides its phase: which exit was reached, and where each op ends.

A host asks for it (Mark bits of START and INFER). The exit is told in a phase of its own, by one pulse of the fourth pin more
than its index; in other phases a pulse of that pin ends an op. Each level is held for 25 µs or more, two samples of a meter at
100 kHz, so that all are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.profile.sync import find_pulses

Places = npt.NDArray[np.intp]
EXIT_CODE = 0b100  # Gray code of the firmware's phase EXIT
_TICK_LINE = 3  # behind the first one


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request to run: samples ``begin`` to ``end``, behind which its exit is told; -1 where no pulse was seen."""

    begin: int
    end: int
    exit: int


def known_levels(logic: npt.NDArray[np.uint8], power_w: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Return the levels with lost samples as the last ones before them."""
    known = np.isfinite(power_w)
    last = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    return logic[last]


def find_ticks(logic: npt.NDArray[np.uint8], first_line: int) -> tuple[Places, Places]:
    """Return (starts, ends) of low pulses of the fourth pin; one that the recording begins in is none."""
    low = (logic >> np.uint8(first_line + _TICK_LINE) & np.uint8(1)) == 0
    edges = np.diff(low.astype(np.int8), prepend=low[:1].astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    ends = ends[np.searchsorted(ends, starts[0], side="right") :] if len(starts) else ends[:0]
    return starts[: len(ends)], ends


def read_told(logic: npt.NDArray[np.uint8], first_line: int, *, ticks: bool = True) -> list[Told]:
    """Return what was told, in its order; without ``ticks`` the fourth pin is not looked at."""
    starts, ends = find_pulses(logic, first_line, 3, EXIT_CODE)
    falls = find_ticks(logic, first_line)[0] if ticks else starts[:0]
    counts = np.searchsorted(falls, ends) - np.searchsorted(falls, starts)
    begins = [0, *ends[:-1].tolist()] if len(ends) else []
    return [
        Told(begin=begin, end=int(start), exit=int(count) - 1)
        for begin, start, count in zip(begins, starts, counts, strict=True)
    ]


def runs_between(starts: Places, ends: Places, told: Sequence[Told]) -> Places:
    """Return ``(n, 2)``: from the first pulse of each inference to the end of its last, told apart by what follows them.

    Raises
    ------
    DataError
        If one shows no pulse at all.
    """
    low = np.searchsorted(starts, [each.begin for each in told])
    high = np.searchsorted(starts, [each.end for each in told])
    empty = np.flatnonzero(low == high)
    if len(empty):
        raise DataError(
            f"inference {empty[0]} shows no pulse: it is shorter than a sample of the meter; joulet profile --sync clock"
        )
    return np.stack([starts[low], ends[high - 1]], axis=1)
