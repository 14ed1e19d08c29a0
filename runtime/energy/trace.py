# SPDX-License-Identifier: Apache-2.0
"""Recorded harvesting traces: CSV with the header ``time_s,power_w``, plain or gzipped.

A sample holds from its own time to the next one's. A step longer than ``GAP_STEPS`` median steps is a gap: the sample
holds for one median step and the power is 0 for the rest of it, since nobody knows better and 0 promises nothing.
The last sample holds for one median step. Times count from the first sample.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
from bisect import bisect_right
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError

GAP_STEPS = 5.0
_HEADER = "time_s,power_w"


class TraceHarvester:
    """A recorded source of power.

    Parameters
    ----------
    time_s : array (n,)
        Rising times, n ≥ 2 [s].
    power_w : array (n,)
        Power from each time on, 0 or more [W].
    scale : float
        Factor on power (a larger cell), more than 0.
    loop : bool
        Begin again at the end; else the power is 0 after it.
    name : str
        For messages and provenance.
    """

    def __init__(
        self,
        time_s: npt.NDArray[np.float64],
        power_w: npt.NDArray[np.float64],
        *,
        scale: float = 1.0,
        loop: bool = False,
        name: str = "trace",
        sha256: str = "",
    ) -> None:
        time_s, power_w = np.asarray(time_s, np.float64), np.asarray(power_w, np.float64)
        _check(time_s, power_w, name)
        if not (scale > 0.0 and math.isfinite(scale)):
            raise DataError(f"{name}: scale {scale} must be more than zero")
        starts, powers, end_s, self.n_gaps = _with_gaps(time_s, power_w)
        self._starts: list[float] = starts.tolist()
        self._powers: list[float] = (powers * scale).tolist()
        self._end_s = end_s
        self._loop = loop
        self.name = name
        self.sha256 = sha256
        self.provenance = f"trace {name}" + (f" × {scale:g}" if scale != 1.0 else "")

    @property
    def span_s(self) -> float:
        """Length of one pass [s]."""
        return self._end_s

    @property
    def duration_s(self) -> float:
        """End of what is known [s]; ``inf`` when looping."""
        return math.inf if self._loop else self._end_s

    @property
    def mean_w(self) -> float:
        """Mean power of one pass [W]."""
        lengths = np.diff([*self._starts, self._end_s])
        return float(np.dot(lengths, self._powers) / self._end_s)

    def segment(self, time_s: float) -> tuple[float, float]:
        """Return (power [W], end of the segment [s])."""
        base_s = 0.0
        if time_s >= self._end_s:
            if not self._loop:
                return 0.0, math.inf
            base_s = math.floor(time_s / self._end_s) * self._end_s
        index = max(0, bisect_right(self._starts, time_s - base_s) - 1)
        local_end_s = self._starts[index + 1] if index + 1 < len(self._starts) else self._end_s
        # base + local end may round onto the present; time must still go on
        return self._powers[index], max(base_s + local_end_s, math.nextafter(time_s, math.inf))

    def expand(self, duration_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (starts [s], powers [W]) of all segments that begin before ``duration_s``."""
        starts, powers = np.array(self._starts), np.array(self._powers)
        if self._loop:
            n_passes = math.ceil(duration_s / self._end_s)
            bases = np.arange(n_passes, dtype=np.float64) * self._end_s
            starts = (bases[:, np.newaxis] + starts).reshape(-1)
            powers = np.tile(powers, n_passes)
        else:
            starts, powers = np.append(starts, self._end_s), np.append(powers, 0.0)
        within = starts < duration_s
        return starts[within], powers[within]


def load_trace(path: str | Path, *, scale: float = 1.0, loop: bool = False) -> TraceHarvester:
    """Read a trace.

    Parameters
    ----------
    path : str or Path
        CSV or CSV.GZ with the header ``time_s,power_w``.
    scale : float
        Factor on power.
    loop : bool
        Begin again at the end.

    Raises
    ------
    DataError
        If the file cannot be read, is empty or has a bad row; the message names file and line.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        # looked at by content, so that a renamed file still works
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: cannot be read as a trace ({error}); give a CSV with '{_HEADER}'") from error
    header, _, body = text.lstrip().partition("\n")
    if header.replace(" ", "").strip() != _HEADER:
        raise DataError(f"{path.name}: line 1 is '{header.strip()[:40]}'; a trace begins with '{_HEADER}'")
    table = _parse(body, path.name)
    digest = hashlib.sha256(raw).hexdigest()
    return TraceHarvester(table[:, 0], table[:, 1], scale=scale, loop=loop, name=path.name, sha256=digest)


def _parse(body: str, name: str) -> npt.NDArray[np.float64]:
    if not body.strip():
        raise DataError(f"{name}: has no rows; a trace needs two or more")
    try:
        table = np.loadtxt(io.StringIO(body), delimiter=",", dtype=np.float64, ndmin=2, comments=None)
        if table.shape[1] == 2:
            return table
    except ValueError:
        pass
    for number, line in enumerate(body.splitlines(), start=2):
        if not line.strip():
            continue
        fields = line.split(",")
        try:
            ok = len([float(field) for field in fields]) == 2
        except ValueError:
            ok = False
        if not ok:
            raise DataError(f"{name}: line {number} is '{line.strip()[:40]}'; expected two numbers, '{_HEADER}'")
    raise DataError(f"{name}: rows are not pairs of numbers; expected '{_HEADER}'")


def _check(time_s: npt.NDArray[np.float64], power_w: npt.NDArray[np.float64], name: str) -> None:
    if time_s.ndim != 1 or time_s.shape != power_w.shape:
        raise DataError(f"{name}: times {time_s.shape} and powers {power_w.shape} must be two lists of one length")
    if time_s.size < 2:
        raise DataError(f"{name}: has {time_s.size} row; a trace needs two or more to know its step")
    # line = index + 2: lines count from 1 and the first is the header
    for values, column in ((time_s, "time_s"), (power_w, "power_w")):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(f"{name}: line {bad[0] + 2}: {column} is {values[bad[0]]}; remove or repair the row")
    bad = np.flatnonzero(power_w < 0.0)
    if bad.size:
        raise DataError(f"{name}: line {bad[0] + 2}: power_w is {power_w[bad[0]]}; harvested power is 0 or more")
    bad = np.flatnonzero(np.diff(time_s) <= 0.0)
    if bad.size:
        raise DataError(f"{name}: line {bad[0] + 3}: time_s {time_s[bad[0] + 1]} does not rise; sort the rows by time")


def _with_gaps(
    time_s: npt.NDArray[np.float64], power_w: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, int]:
    time_s = time_s - time_s[0]
    step_s = float(np.median(np.diff(time_s)))
    gaps = np.flatnonzero(np.diff(time_s) > GAP_STEPS * step_s)
    starts = np.insert(time_s, gaps + 1, time_s[gaps] + step_s)
    powers = np.insert(power_w, gaps + 1, 0.0)
    return starts, powers, float(time_s[-1] + step_s), int(gaps.size)
