# SPDX-License-Identifier: Apache-2.0
"""Recordings of the Shepherd testbed: HDF5 with a group ``data`` of ``time``, ``voltage`` and ``current``.

Raw values become volts, amperes and seconds by each dataset's attributes ``gain`` and ``offset``; a recording without
them on ``time`` counts nanoseconds. Harvested power is voltage × current for ``ivsample`` recordings, and the largest
product of each window for ``ivcurve`` ones, which is what a maximum power point tracker would hold. Powers are averaged
over steps, so that a recording of 100,000 samples a second stays small. Slightly negative means are noise of the converter
around zero and taken as 0.

What a file claims is checked, and links to other files are not followed; but the HDF5 library itself may hang on metadata
that was damaged on purpose, so that recordings of strangers deserve a process of their own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.energy.trace import TraceHarvester
from joulet.errors import DataError, MissingDependencyError

MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_SAMPLES = 10_000_000_000
_MOST_STEPS = 1_000_000
_LEAST_STEP_S = 1e-3
_BLOCK = 1 << 18
_NEGATIVE_SHARE = 0.01  # of the harvest: beyond it negative power is no noise of a converter around zero

Floats = npt.NDArray[np.float64]


def load_shepherd(
    path: str | Path, *, scale: float = 1.0, loop: bool = False, step_s: float | None = None
) -> TraceHarvester:
    """Read a recording of a harvester.

    Parameters
    ----------
    path : str or Path
        HDF5 file as Shepherd writes it.
    scale : float
        Factor on power.
    loop : bool
        Begin again at the end.
    step_s : float, optional
        Powers are averaged over steps of this length [s]; None for 1 ms, or longer where that makes more than a
        million steps. Where samples are further apart than a tenth of it they are kept as they are.

    Raises
    ------
    DataError
        If the file cannot be read, or records a load, or holds impossible values.
    MissingDependencyError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("reading HDF5 needs h5py; pip install joulet[shepherd]") from error
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            recording = _Recording(file, path.name, h5py)
            time_s, power_w, about = recording.averaged(step_s)
        digest = _sha256(path)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path.name}: cannot be read as a Shepherd recording ({error})") from error
    harvester = TraceHarvester(time_s, power_w, scale=scale, loop=loop, name=path.name, sha256=digest)
    harvester.provenance = f"recording {path.name}, {about}" + (f" × {scale:g}" if scale != 1.0 else "")
    return harvester


class _Recording:
    """An open file whose layout is checked when it is made."""

    def __init__(self, file: Any, name: str, h5py: Any) -> None:
        self._name = name
        mode = _text(file.attrs.get("mode", "harvester"))
        if not mode.startswith("harvest"):
            raise DataError(f"{name}: is a recording of mode '{mode}'; give one of a harvester")
        data = self._own(file, "data", h5py.Group, h5py)
        self._sets = {key: self._own(data, key, h5py.Dataset, h5py) for key in ("time", "voltage", "current")}
        self._kind = _text(data.attrs.get("datatype", "ivsample"))
        if self._kind not in ("ivsample", "ivcurve"):
            raise DataError(f"{name}: holds '{self._kind}'; give a recording of ivsample or ivcurve")
        self._window = int(data.attrs.get("window_samples", 0)) if self._kind == "ivcurve" else 1
        self.n = len(self._sets["time"]) // max(self._window, 1) * max(self._window, 1)
        if not 1 <= self._window <= _BLOCK or not 2 * self._window <= self.n <= _MOST_SAMPLES:
            raise DataError(f"{name}: {self.n} samples in windows of {self._window} make no trace")
        self._gain = {key: self._number(key, "gain", 1e-9 if key == "time" else None) for key in self._sets}
        self._offset = {key: self._number(key, "offset", 0.0) for key in self._sets}

    def _own(self, group: Any, key: str, kind: Any, h5py: Any) -> Any:
        """Return a member that lies in the file itself: links to other files are not followed."""
        if not isinstance(group.get(key, getlink=True), h5py.HardLink) or not isinstance(group[key], kind):
            raise DataError(f"{self._name}: has no {kind.__name__.lower()} '{key}'; see the data format of Shepherd")
        member = group[key]
        if kind is h5py.Dataset and (
            member.ndim != 1 or member.dtype.kind not in "uif" or member.is_virtual or member.external
        ):
            raise DataError(f"{self._name}: '{key}' is no list of numbers in the file itself")
        if kind is h5py.Dataset and len(member) != len(group["time"]):
            raise DataError(f"{self._name}: '{key}' has {len(member)} values but 'time' has {len(group['time'])}")
        return member

    def _number(self, key: str, attribute: str, default: float | None) -> float:
        value = self._sets[key].attrs.get(attribute, default)
        if value is None or not math.isfinite(float(value)) or (attribute == "gain" and float(value) == 0.0):
            raise DataError(f"{self._name}: '{key}' has no usable attribute '{attribute}' ({value}); calibrate it")
        return float(value)

    def averaged(self, step_s: float | None) -> tuple[Floats, Floats, str]:
        """Return times [s], powers [W] and a description."""
        first, last = (self._sets["time"][index] for index in (0, self.n - 1))
        span_s = (float(last) - float(first)) * self._gain["time"]
        if step_s is None:
            step_s = max(_LEAST_STEP_S, span_s / _MOST_STEPS)
        if not (step_s > 0.0 and 0.0 < span_s <= step_s * 10 * _MOST_STEPS):
            raise DataError(f"{self._name}: spans {span_s} s in steps of {step_s} s; the times must rise")
        if span_s * self._window / self.n > step_s / 10.0:
            parts = list(self._blocks(first))
            time_s, power_w = (np.concatenate(column) for column in zip(*parts, strict=True))
            about = self._kind
        else:
            time_s, power_w = _mean(self._blocks(first), step_s, span_s)
            about = f"{self._kind}, mean over {step_s:g} s"
        negative_w = float(np.minimum(power_w, 0.0).sum())
        if -negative_w > _NEGATIVE_SHARE * float(np.maximum(power_w, 0.0).sum()):
            raise DataError(f"{self._name}: power is negative beyond noise; check gains, offsets and the mode")
        return time_s, np.maximum(power_w, 0.0), about

    def _blocks(self, first: Any) -> Iterator[tuple[Floats, Floats]]:
        """Yield (time [s], power [W]) of some samples, or windows, at a time."""
        block = _BLOCK // self._window * self._window
        before = None
        for start in range(0, self.n, block):
            part = slice(start, min(start + block, self.n))
            raw = self._sets["time"][part]
            if np.any(raw[1:] <= raw[:-1]) or (before is not None and raw[0] <= before):
                raise DataError(f"{self._name}: time does not rise after sample {start}; the recording is damaged")
            before = raw[-1]
            time_s = (raw - first).astype(np.float64) * self._gain["time"]
            power_w = self._physical("voltage", part) * self._physical("current", part)
            if not np.all(np.isfinite(power_w)):
                raise DataError(f"{self._name}: holds values that are no numbers after sample {start}")
            yield time_s[:: self._window], power_w.reshape(-1, self._window).max(axis=1)

    def _physical(self, key: str, part: slice) -> Floats:
        values: Floats = self._sets[key][part].astype(np.float64) * self._gain[key] + self._offset[key]
        return values


def _mean(blocks: Iterator[tuple[Floats, Floats]], step_s: float, span_s: float) -> tuple[Floats, Floats]:
    """Return the mean of the samples in each step; steps without any are left out, as a gap."""
    n_steps = int(span_s / step_s) + 1
    sums, counts = np.zeros(n_steps), np.zeros(n_steps)
    for time_s, power_w in blocks:
        index = np.minimum((time_s / step_s).astype(np.int64), n_steps - 1)
        low, high = int(index[0]), int(index[-1]) + 1
        sums[low:high] += np.bincount(index - low, power_w, high - low)
        counts[low:high] += np.bincount(index - low, minlength=high - low)
    full = np.flatnonzero(counts)
    return full.astype(np.float64) * step_s, sums[full] / counts[full]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
