# SPDX-License-Identifier: Apache-2.0
"""Recordings of power in files: CSV of ours and of others, and Nordic's ``.ppk2``; read whole, written whole.

CSV has a header. Understood are ``time_s`` (or ``time_ms``, ``timestamp(ms)``), ``voltage_v``, ``current_a`` (or ``_ma``,
``_ua``, ``current(ua)``), ``power_w`` (or ``_mw``, ``_uw``), ``rail``, ``source`` and Nordic's ``d0-d7``. A ``.ppk2`` is a zip:
``session.raw`` of six-byte frames (µA as little-endian float, then two bits for each digital input, big-endian: 1 low, 2 high,
3 both), ``metadata.json`` and a minimap.
"""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.errors import MeterError

_FRAME = np.dtype([("ua", "<f4"), ("bits", ">u2")])
_MOST_BYTES = 4 << 30
_TIMES = {"time_s": 1.0, "time(s)": 1.0, "time": 1.0, "time_ms": 1e-3, "timestamp(ms)": 1e-3, "timestamp_ms": 1e-3}
_CURRENTS = {
    "current_a": 1.0,
    "current_ma": 1e-3,
    "current_ua": 1e-6,
    "current(ua)": 1e-6,
    "current(ma)": 1e-3,
    "i": 1.0,
}
_VOLTAGES = {"voltage_v": 1.0, "voltage_mv": 1e-3, "v": 1.0}
_POWERS = {"power_w": 1.0, "power_mw": 1e-3, "power_uw": 1e-6}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One rail of a recording.

    Attributes
    ----------
    rail
        Its name.
    time_s
        ``(n,)`` float64, never falling [s].
    power_w, current_a
        ``(n,)`` float64, NaN where not known [W, A]; ``current_a`` None where there is none at all.
    voltage_v
        ``(n,)`` float64 [V], or None.
    logic
        ``(n,)`` uint8, or None.
    notes
        What of the file was left out, and why.
    """

    rail: str
    time_s: npt.NDArray[np.float64]
    power_w: npt.NDArray[np.float64]
    current_a: npt.NDArray[np.float64] | None = None
    voltage_v: npt.NDArray[np.float64] | None = None
    logic: npt.NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    def energy_j(self) -> npt.NDArray[np.float64]:
        """Return ``(n,)``: energy from the first sample to each, by trapezoids; over lost samples nothing is counted [J]."""
        mean_w = 0.5 * (self.power_w[1:] + self.power_w[:-1])
        steps = np.where(np.isfinite(mean_w), mean_w, 0.0) * np.diff(self.time_s)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def covered_s(self) -> npt.NDArray[np.float64]:
        """Return ``(n,)``: time from the first sample to each that the energy covers; lost samples are no part of it [s]."""
        known = np.isfinite(self.power_w[1:] + self.power_w[:-1])
        return np.concatenate([[0.0], np.cumsum(np.where(known, np.diff(self.time_s), 0.0))])


def load_recording(path: Path, voltage_v: float | None = None) -> list[Recording]:
    """Read a recording.

    Parameters
    ----------
    path : Path
        ``.ppk2``, else CSV.
    voltage_v : float, optional
        Of the supply, where the file has currents only [V].

    Raises
    ------
    MeterError
        If it is not there or not of its format, or lacks a voltage.
    """
    if not path.is_file():
        raise MeterError(f"recording '{path}': no such file")
    if path.suffix.lower() == ".ppk2":
        return [_load_ppk2(path, voltage_v)]
    return _load_csv(path, voltage_v)


def _load_ppk2(path: Path, voltage_v: float | None) -> Recording:
    if voltage_v is None:
        raise MeterError(f"recording '{path}' has currents only: give the voltage (replay:{path},voltage=3.3V)")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("session.raw").file_size > _MOST_BYTES:
                raise MeterError(f"recording '{path}' is larger than 4 GiB; cut it into parts")
            raw = archive.read("session.raw")
            metadata = json.loads(archive.read("metadata.json"))
        rate_hz = float(metadata["metadata"]["samplesPerSecond"])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, NotImplementedError, OSError) as error:
        raise MeterError(f"recording '{path}' is no .ppk2 file: {error}") from error
    if not math.isfinite(rate_hz) or rate_hz <= 0.0:
        raise MeterError(f"recording '{path}' says {rate_hz} samples a second")
    frames = np.frombuffer(raw, _FRAME, len(raw) // _FRAME.itemsize)
    notes = (f"{len(raw) % 6} bytes at the end are no whole frame and left out",) if len(raw) % 6 else ()
    current_a = frames["ua"].astype(np.float64) * 1e-6
    current_a[~np.isfinite(current_a)] = np.nan
    bits = frames["bits"].astype(np.uint16)
    logic = np.zeros(len(frames), np.uint8)
    for line in range(8):
        logic |= ((bits >> np.uint16(2 * line + 1) & np.uint16(1)) << np.uint16(line)).astype(np.uint8)
    return Recording(
        rail="ppk2", time_s=np.arange(len(frames)) / rate_hz, power_w=current_a * voltage_v, current_a=current_a,
        voltage_v=np.full(len(frames), voltage_v), logic=logic, notes=notes,
    )  # fmt: skip


def write_ppk2(
    path: Path, current_a: npt.NDArray[np.float64], logic: npt.NDArray[np.uint8], rate_hz: float, wall_s: float
) -> None:
    """Write a file that Nordic's Power Profiler opens.

    Parameters
    ----------
    current_a : ndarray
        ``(n,)``; NaN stays NaN [A].
    logic : ndarray
        ``(n,)`` uint8.
    rate_hz : float
        Samples a second [Hz].
    wall_s : float
        Time of day of the first sample, since 1970 [s].
    """
    frames = np.zeros(len(current_a), _FRAME)
    frames["ua"] = current_a * 1e6
    bits = np.zeros(len(logic), np.uint16)
    for line in range(8):
        bits |= ((logic >> line & 1).astype(np.uint16) + np.uint16(1)) << np.uint16(2 * line)
    frames["bits"] = bits
    metadata = {"metadata": {"samplesPerSecond": rate_hz, "startSystemTime": round(1e3 * wall_s)}, "formatVersion": 2}
    temporary = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("session.raw", frames.tobytes())
            archive.writestr("metadata.json", json.dumps(metadata))
            archive.writestr("minimap.raw", json.dumps(_minimap(frames["ua"], rate_hz)))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _minimap(ua: npt.NDArray[np.float32], rate_hz: float) -> dict[str, object]:
    """Return least and most of at most 10,000 stretches, as the application keeps them [nA]."""
    fold = max(1, -(-len(ua) // 10_000))
    starts = np.arange(0, len(ua), fold)
    low = np.fmin.reduceat(ua, starts) if len(ua) else ua
    high = np.fmax.reduceat(ua, starts) if len(ua) else ua
    times = (starts / rate_hz * 1e6).tolist()
    pairs = {
        name: [{"x": x, "y": y} for x, y in zip(times, np.nan_to_num(np.maximum(each, 0.2)).tolist(), strict=True)]
        for name, each in (("min", low * 1000), ("max", high * 1000))
    }
    return {
        "lastElementFoldCount": int(len(ua) - starts[-1]) if len(ua) else 0,
        "data": {"length": len(starts), **pairs},
        "maxNumberOfElements": 10_000,
        "numberOfTimesToFold": fold,
    }


def _load_csv(path: Path, voltage_v: float | None) -> list[Recording]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MeterError(f"recording '{path}': {error.strerror or error}") from error
    whole = text.endswith("\n")
    lines = [
        (number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")
    ]
    if len(lines) < 2:
        raise MeterError(f"recording '{path}' has no lines of readings below a header")
    header = [name.strip().lower() for name in next(csv.reader([lines[0][1]]))]
    find = _columns(header, path)
    rows: dict[str, list[tuple[float, float, float, float, int]]] = {}
    notes: list[str] = []
    for place, (number, line) in enumerate(lines[1:], 2):
        last = place == len(lines) and not whole
        try:
            if last:
                raise ValueError("it has no end: writing was cut off")
            rail, row = find.row(next(csv.reader([line])), voltage_v)
        except (ValueError, StopIteration, csv.Error) as error:
            notes.append(f"line {number} is left out: {error}")
            continue
        rows.setdefault(rail, []).append(row)
    if not rows:
        raise MeterError(f"recording '{path}': none of its lines is a reading. {'; '.join(notes[:3])}")
    shown = (*notes[:5], *([f"and {len(notes) - 5} more lines"] if len(notes) > 5 else []))
    return [_recording(rail, found, shown, find.has_logic) for rail, found in rows.items()]


@dataclass(frozen=True, slots=True)
class _Columns:
    names: list[str]
    time: tuple[int, float]
    current: tuple[int, float] | None
    voltage: tuple[int, float] | None
    power: tuple[int, float] | None
    rail: int | None
    source: int | None
    logic: int | None

    @property
    def has_logic(self) -> bool:
        return self.logic is not None

    def row(self, cells: list[str], voltage_v: float | None) -> tuple[str, tuple[float, float, float, float, int]]:
        """Return (rail, (time, voltage, current, power, logic)); raises ValueError."""
        if len(cells) != len(self.names):
            raise ValueError(f"it has {len(cells)} of {len(self.names)} cells")
        time_s = _number(cells, self.time)
        if not math.isfinite(time_s):
            raise ValueError("it has no time")
        current, power = _number(cells, self.current), _number(cells, self.power)
        voltage = _number(cells, self.voltage)
        if math.isnan(voltage) and voltage_v is not None:
            voltage = voltage_v
        if math.isnan(power):
            power = voltage * current
        bits = cells[self.logic].strip() if self.logic is not None else ""
        logic = int(bits[::-1], 2) if bits and set(bits) <= {"0", "1"} else 0
        names = [cells[index] for index in (self.source, self.rail) if index is not None and cells[index]]
        return names[-1] if names else "power", (time_s, voltage, current, power, logic)


def _number(cells: list[str], column: tuple[int, float] | None) -> float:
    if column is None or not cells[column[0]].strip():
        return math.nan
    return float(cells[column[0]]) * column[1]


def _columns(header: list[str], path: Path) -> _Columns:
    def one(names: dict[str, float]) -> tuple[int, float] | None:
        return next(((index, names[name]) for index, name in enumerate(header) if name in names), None)

    time, current, power = one(_TIMES), one(_CURRENTS), one(_POWERS)
    if time is None or (current is None and power is None):
        raise MeterError(
            f"recording '{path}': its header is '{','.join(header)[:120]}'; it needs time_s, and power_w or current_a"
        )
    at = {name: index for index, name in enumerate(header)}
    return _Columns(header, time, current, one(_VOLTAGES), power, at.get("rail"), at.get("source"), at.get("d0-d7"))


def _recording(
    rail: str, rows: Iterable[tuple[float, float, float, float, int]], notes: tuple[str, ...], has_logic: bool
) -> Recording:
    table = np.array([row[:4] for row in rows], np.float64)
    logic = np.array([row[4] for row in rows], np.uint8) if has_logic else None
    back = np.flatnonzero(np.diff(table[:, 0]) < 0.0)
    if len(back):
        notes = (
            *notes,
            f"the time of {rail} goes back {len(back)} time{'s' * (len(back) > 1)}; lines are put in order",
        )
        order = np.argsort(table[:, 0], kind="stable")
        table, logic = table[order], None if logic is None else logic[order]
    known = [bool(np.isfinite(table[:, column]).any()) for column in range(4)]
    if not known[3]:
        notes = (*notes, f"{rail} has no power: give the voltage")
    return Recording(
        rail=rail,
        time_s=table[:, 0],
        power_w=table[:, 3],
        current_a=table[:, 2] if known[2] else None,
        voltage_v=table[:, 1] if known[1] else None,
        logic=logic,
        notes=notes,
    )
