# SPDX-License-Identifier: Apache-2.0
"""What became of each event: from what the board wrote down, and from when it had no power."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.energy.supply import Supply
from joulet.events import Event
from joulet.link import wire
from joulet.records import CostTable, Status

_US = 1e6
_STATUS = wire.CODES["EventStatus"]
_NO_EXIT, _NO_CLASS = 255, 0xFFFF


def read_events(
    records: npt.NDArray[np.void],
    times_s: Sequence[float],
    order: npt.NDArray[np.int64],
    labels: npt.NDArray[np.integer] | None,
    costs: CostTable,
    supply: Supply,
    deadline_s: float,
    *,
    survives: bool,
) -> list[Event]:
    """Return all events that arrived, with what the board wrote down of those it started.

    Parameters
    ----------
    records : EventRecord, shape (m,)
        The board's journal.
    times_s
        When events arrived [s].
    order : int64, shape (n,)
        The samples in the order that the board takes them, over and over.
    labels : integer, shape (n,) or None
        Right answers, by sample.
    costs, supply, deadline_s
        What points cost; the energy path after the run; from arrival on [s].
    survives
        An inference may have outlived a power cut.
    """
    last = {int(record["index"]): record for record in records}
    outages = _outages(supply)
    events = []
    for index, arrival_s in enumerate(times_s):
        sample = int(order[index % len(order)])
        label = None if labels is None else int(labels[sample])
        event = Event(index, sample, arrival_s, label)
        events.append(event)
        record = last.get(index)
        if record is None or int(record["exit"]) == _NO_EXIT:
            if record is not None and int(record["status"]) == _STATUS["DROPPED"]:
                event.start_s, event.status = int(record["start_us"]) / _US, Status.DROPPED
                continue
            until_s = min(arrival_s + deadline_s, times_s[index + 1] if index + 1 < len(times_s) else math.inf)
            event.status = _without_answer(arrival_s, until_s, arrival_s + deadline_s, outages, supply.now_s)
            continue
        _fill(event, record, costs, supply, survives)
        event.cut = int(record["status"]) == _STATUS["RUNNING"]
        on_time = event.end_s is not None and event.end_s <= arrival_s + deadline_s
        event.status = Status.ON_TIME if on_time else Status.LATE
    return events


def _fill(event: Event, record: np.void, costs: CostTable, supply: Supply, survives: bool) -> None:
    path, exit = int(record["path"]), int(record["exit"])
    step = costs.steps[path][0][exit]
    assert step is not None
    event.start_s, event.end_s = int(record["start_us"]) / _US, int(record["end_us"]) / _US
    event.path, event.exit = path, exit
    event.confidence_q15 = int(record["confidence_q15"])
    event.predicted = None if int(record["predicted"]) == _NO_CLASS else int(record["predicted"])
    event.macs, event.bit_macs = step.macs, step.bit_macs
    # the core's counter counts from the last power-up: of an inference that outlived a cut it knows the end only
    event.cycles = step.cycles if survives else int(record["cycles"]) or step.cycles
    event.decisions = int(record["decisions"])
    event.energy_j = event.cycles * supply.load.energy_pj_per_cycle * 1e-12


def _outages(supply: Supply) -> list[tuple[float, float]]:
    """Return (from, to) of every time without power [s]."""
    outages, off_s = [], 0.0
    powered = supply.timeline[0].event == "power_good"
    for step in supply.timeline:
        if step.event == "brownout":
            off_s, powered = step.time_s, False
        elif step.event == "power_good" and not powered:
            outages.append((off_s, step.time_s))
            powered = True
    return outages if powered else [*outages, (off_s, math.inf)]


def _without_answer(
    arrival_s: float, until_s: float, expiry_s: float, outages: Sequence[tuple[float, float]], end_s: float
) -> Status:
    if any(off_s <= arrival_s < on_s for off_s, on_s in outages):
        return Status.MISSED
    if any(arrival_s <= off_s < until_s for off_s, _ in outages):
        return Status.LOST
    if end_s < until_s:
        return Status.PENDING
    return Status.DROPPED if until_s < expiry_s else Status.EXPIRED
