# SPDX-License-Identifier: Apache-2.0
"""Profiles for other programs: CSV, Chrome's trace format (Perfetto, chrome://tracing), Nordic's ``.ppk2``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.meters.recording import write_ppk2
from joulet.profile.board import Taken
from joulet.profile.figures import Profile

_POINTS = 20_000  # of power in a trace: more does not show


def rows_csv(profile: Profile) -> str:
    """Return a line for each path and exit, and one for each step where there are any: with a precision for the path."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["model", "engine", "path", "exit", "n", "excluded", "energy_j", "energy_low_j", "energy_high_j", "latency_s",
         "latency_low_s", "latency_high_s", "power_w", "sync", "provenance", "step"]
    )  # fmt: skip
    for row in profile.rows:
        e, t = row.energy_j, row.latency_s
        writer.writerow(
            [profile.model, profile.engine, row.path, row.exit, row.n, row.excluded, e.mean, e.low, e.high, t.mean, t.low, t.high,
             row.power_w, profile.sync.method, profile.provenance, ""]
        )  # fmt: skip
    for step in profile.steps.rows if profile.steps is not None else ():
        assert profile.steps is not None
        e, t = step.energy_j, step.latency_s
        writer.writerow(
            [profile.model, profile.engine, step.precision, step.exit or "", step.n, "", e.mean, e.low, e.high, t.mean, t.low,
             t.high, step.power_w, profile.steps.method, profile.steps.provenance, step.name]
        )  # fmt: skip
    return out.getvalue()


def chrome_trace(taken: Taken, windows: npt.NDArray[np.float64], exit_names: tuple[str, ...]) -> dict[str, Any]:
    """Return inferences as slices and power as a counter on one timeline, in Chrome's JSON format.

    Times are those of the meter's clock [µs]. Power is the mean over stretches; a stretch without samples is left out.
    """
    trace = taken.trace
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "inferences"}},
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "board"}},
    ]
    for number, (start, end) in enumerate(windows):
        case = taken.cases[number % len(taken.cases)]
        us = 1e6 * trace.period_s
        events.append(
            {
                "ph": "X", "pid": 1, "tid": 1, "cat": "inference", "name": f"{case.path} to {exit_names[case.exit]}",
                "ts": start * us, "dur": (end - start) * us, "args": {"exit": case.exit, "path": case.path, "index": number},
            }
        )  # fmt: skip
    fold = max(1, -(-len(trace.power_w) // _POINTS))
    for first in range(0, len(trace.power_w), fold):
        part = trace.power_w[first : first + fold]
        known = part[np.isfinite(part)]
        if len(known):
            value = {"mW": round(1e3 * float(known.mean()), 6)}
            events.append({"ph": "C", "pid": 1, "name": "power", "ts": 1e6 * first * trace.period_s, "args": value})
    return {"displayTimeUnit": "ms", "traceEvents": events}


def write_trace(
    path: Path, taken: Taken, windows: npt.NDArray[np.float64], exit_names: tuple[str, ...], wall_s: float
) -> None:
    """Write what was recorded: ``.ppk2`` for Nordic's Power Profiler, else Chrome's JSON."""
    if path.suffix.lower() == ".ppk2":
        trace = taken.trace
        write_ppk2(path, trace.power_w / trace.voltage_v, trace.logic, 1.0 / trace.period_s, wall_s)
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(json.dumps(chrome_trace(taken, windows, exit_names)), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
