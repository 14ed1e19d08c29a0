# SPDX-License-Identifier: Apache-2.0
"""Where an inference lies in a stream of samples: by marker pins, else by clocks that are fitted to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError

Samples1 = npt.NDArray[np.float64]
INFER_CODE = 0b001  # Gray code of the firmware's phase INFER on its three pins (firmware/port.h)
_CLEAR = 2.0  # the shortest pause between inferences over the longest within one


def find_pulses(
    logic: npt.NDArray[np.uint8], first_line: int = 0, lines: int = 3, code: int = INFER_CODE
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return (starts, ends) of the stretches in which neighbouring lines show a phase; ends lie behind the last sample.

    With one line only the lowest bit is seen: that of INFER, and of DECIDE, which does not come while a host asks.
    """
    mask = (1 << lines) - 1
    on = (logic >> np.uint8(first_line) & np.uint8(mask)) == code & mask
    edges = np.diff(on.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def group_runs(starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Put pulses together to inferences: the phase falls between the ops of one.

    Parameters
    ----------
    starts, ends : ndarray
        ``(n,)`` from :func:`find_pulses`.
    count : int
        Inferences that there were.

    Returns
    -------
    ndarray
        ``(count, 2)``: first sample, and the one behind the last.

    Raises
    ------
    DataError
        If there are fewer pulses, or pauses within and between inferences are not told apart.
    """
    if len(starts) < count:
        raise DataError(
            f"the markers show {len(starts)} pulses for {count} inferences: are the board's marker pins in D0 to D2 of the "
            "meter, and is its logic level that of VCC there? Without markers: --sync clock"
        )
    gaps = starts[1:] - ends[:-1]
    order = np.argsort(gaps)[::-1]
    between, within = np.sort(order[: count - 1]), order[count - 1 :]
    if count > 1 and len(within) and gaps[within].max() * _CLEAR > gaps[between].min():
        raise DataError(
            "the markers do not tell inferences apart: pauses within and between them are of like length; "
            "--sync clock does without"
        )
    first = np.concatenate([[0], between + 1])
    last = np.concatenate([between, [len(starts) - 1]])
    return np.stack([starts[first], ends[last]], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFit:
    """A straight line from one clock to another: ``to = offset_s + rate × from``; ``error_s`` bounds how far off it is."""

    rate: float
    offset_s: float
    error_s: float
    n: int

    def at(self, time_s: Samples1) -> Samples1:
        """Return times of the other clock."""
        return np.asarray(self.offset_s + self.rate * time_s)


def fit_clock(device_s: Samples1, before_s: Samples1, after_s: Samples1) -> ClockFit:
    """Fit a device's clock to the host's from questions: the device looked at its clock between ``before`` and ``after``.

    Narrow questions weigh more. The error is the largest distance of a middle from the line, and no less than half of the
    narrowest question.

    Raises
    ------
    DataError
        From fewer than two questions.
    """
    if len(device_s) < 2 or float(np.ptp(device_s)) <= 0.0:
        raise DataError("a clock cannot be fitted from fewer than two time stamps of the board")
    middle_s, half_s = 0.5 * (before_s + after_s), 0.5 * (after_s - before_s)
    weights = 1.0 / np.maximum(half_s, 1e-9)
    origin_s = float(device_s[0])
    rate, offset = np.polyfit(device_s - origin_s, middle_s, 1, w=weights)
    residual_s = np.abs(middle_s - (offset + rate * (device_s - origin_s)))
    error_s = max(float(residual_s.max()), float(half_s.min()))
    return ClockFit(rate=float(rate), offset_s=float(offset - rate * origin_s), error_s=error_s, n=len(device_s))


def fit_arrivals(index: Samples1, arrived_s: Samples1, period_s: float) -> ClockFit:
    """Fit a stream's clock to the host's from when its samples arrived: none arrives before it was taken.

    Parameters
    ----------
    index : ndarray
        ``(n,)``: samples that had arrived.
    arrived_s : ndarray
        ``(n,)``: when, on the host's clock [s].
    period_s : float
        Of a sample by the meter's clock [s].
    """
    if len(index) < 2 or float(np.ptp(index)) <= 0.0:
        raise DataError("a stream's clock cannot be fitted from fewer than two arrivals")
    meter_s = index * period_s
    left, right = _edge_below(meter_s, arrived_s)
    rate = (arrived_s[right] - arrived_s[left]) / (meter_s[right] - meter_s[left])
    offset_s = arrived_s[left] - rate * meter_s[left]
    late_s = arrived_s - (offset_s + rate * meter_s)
    return ClockFit(
        rate=float(rate), offset_s=float(offset_s), error_s=float(np.median(late_s - late_s.min())), n=len(index)
    )


def _edge_below(x: Samples1, y: Samples1) -> tuple[int, int]:
    """Return the ends of that edge of the lower convex hull which lies under the middle of ``x``; ``x`` does not fall.

    Of all lines with every point on or above them it is the closest to the points on average.
    """
    hull: list[int] = []
    for k in range(len(x)):
        if hull and x[hull[-1]] == x[k]:
            if y[hull[-1]] <= y[k]:
                continue
            hull.pop()
        while len(hull) > 1 and _turns_up(x, y, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    middle = int(np.searchsorted(x[hull], float(np.mean(x)), side="right"))
    right = min(max(middle, 1), len(hull) - 1)
    return hull[right - 1], hull[right]


def _turns_up(x: Samples1, y: Samples1, a: int, b: int, c: int) -> bool:
    """Tell whether ``b`` lies on or above the line from ``a`` to ``c``."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))


def place_windows(
    cumulative_j: Samples1, period_s: float, windows: Samples1, length_s: Samples1, slack_s: float
) -> tuple[Samples1, float]:
    """Place windows of known length where they hold most energy.

    One shift for all is looked for first, since request and reply take the same time in each; then each window for itself,
    within its own bounds.

    Parameters
    ----------
    cumulative_j : ndarray
        ``(n + 1,)``: energy up to each sample.
    period_s : float
        Of a sample, in the time of the windows [s].
    windows : ndarray
        ``(k, 2)``: between which times an inference lies, from the first sample [s].
    length_s : ndarray
        ``(k,)``: how long it was.
    slack_s : float
        How far the clocks may be apart [s].

    Returns
    -------
    tuple
        ``(k,)`` starts [s], and how far single windows scatter about the common shift [s].
    """
    room_s = np.maximum(0.0, windows[:, 1] - windows[:, 0] - length_s)
    middle_s = windows[:, 0] + 0.5 * room_s
    reach_s = slack_s + 0.5 * float(room_s.max())
    shifts_s = np.arange(-reach_s, reach_s + period_s, max(period_s, reach_s / 500))
    scores_j = np.array([_held_j(cumulative_j, period_s, middle_s + shift, length_s).sum() for shift in shifts_s])
    common_s = _top(shifts_s, scores_j)
    own_s = np.arange(-1.0, 1.0 + 1e-9, 1.0 / 50)
    starts_s = np.empty(len(length_s))
    for k in range(len(length_s)):
        tried_s = middle_s[k] + common_s + own_s * max(0.5 * room_s[k], period_s)
        starts_s[k] = _top(tried_s, _held_j(cumulative_j, period_s, tried_s, np.full(len(tried_s), length_s[k])))
    scatter_s = float(np.abs(starts_s - middle_s - common_s).max()) if len(length_s) else 0.0
    return starts_s, scatter_s


def _held_j(cumulative_j: Samples1, period_s: float, starts_s: Samples1, lengths_s: Samples1) -> Samples1:
    """Return the energy of windows [J]."""
    return energy_up_to(cumulative_j, (starts_s + lengths_s) / period_s) - energy_up_to(
        cumulative_j, starts_s / period_s
    )


def energy_up_to(cumulative_j: Samples1, at: Samples1) -> Samples1:
    """Return the energy up to places between samples, on straight lines from one to the next [J].

    Parameters
    ----------
    cumulative_j : ndarray
        ``(n + 1,)``: energy up to each sample [J].
    at : ndarray
        Places, in samples; outside of the recording nothing is added.
    """
    place = np.clip(at, 0.0, len(cumulative_j) - 1.0)
    whole = np.minimum(place.astype(np.intp), len(cumulative_j) - 2)
    low_j = cumulative_j[whole]
    return np.asarray(low_j + (place - whole) * (cumulative_j[whole + 1] - low_j))


def _top(where: Samples1, score: Samples1) -> float:
    """Return the middle of where a score is highest: a plateau has no better place."""
    return float(where[np.flatnonzero(score >= score.max() * (1.0 - 1e-9))].mean())


def busy_around(power_w: Samples1, windows: Samples1) -> Samples1:
    """Return for each window the stretch of samples around it in which the board is busy.

    Busy is more than half way from the least power that lasts to the power within the windows, smoothed over ten samples.

    Parameters
    ----------
    power_w : ndarray
        ``(n,)``, NaN where samples were lost [W].
    windows : ndarray
        ``(k, 2)`` in samples.

    Returns
    -------
    ndarray
        ``(k, 2)`` in samples; no shorter than the window.
    """
    known = np.where(np.isfinite(power_w), power_w, 0.0)
    smooth = np.convolve(known, np.full(10, 0.1), "same")
    inside = np.mean([smooth[int(0.5 * (start + end))] for start, end in windows])
    busy = smooth > 0.5 * (np.percentile(smooth, 5) + inside)
    edges = np.flatnonzero(np.diff(busy.astype(np.int8), prepend=0, append=0))
    out = np.array(windows, np.float64)
    for k, (start, end) in enumerate(windows):
        middle = int(0.5 * (start + end))
        at = int(np.searchsorted(edges, middle, side="right"))
        if at % 2 and at < len(edges):  # between an edge up and one down
            out[k] = min(start, float(edges[at - 1])), max(end, float(edges[at]))
    return np.asarray(out)
