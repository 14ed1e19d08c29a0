# SPDX-License-Identifier: Apache-2.0
"""Energy of inferences on a board with a sampling meter at its supply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from joulet.engine.board import BoardEngine
from joulet.engine.seam import Array
from joulet.errors import DataError
from joulet.link import Board, Reached
from joulet.profile.figures import Row, Sync, interval
from joulet.profile.recorder import Recorder, Trace
from joulet.profile.sync import (
    ClockFit,
    busy_around,
    energy_up_to,
    find_pulses,
    fit_arrivals,
    fit_clock,
    group_runs,
    place_windows,
)
from joulet.profile.ticks import Told, known_levels, read_told, runs_between

_SLACK_S = 0.02  # how far USB may hold samples or frames back without telling
_CRYSTAL = 100e-6  # by which a meter's clock may be off, and so a length and an energy by it


@dataclass(slots=True)
class Stamp:
    """One inference: what the host saw of it."""

    before_s: float
    after_s: float = 0.0
    ticks: int = 0
    cycles: int = 0
    exit: int = -1


@dataclass
class StampCounter:
    """Takes the host's time around each inference, and the board's own count of it."""

    clock: Callable[[], float]
    stamps: list[Stamp] = field(default_factory=list)

    def begin(self) -> None:
        """The next inference is about to begin."""
        self.stamps.append(Stamp(self.clock()))

    def read(self, reached: Reached) -> tuple[int, int]:
        """The exit is reached."""
        stamp = self.stamps[-1]
        stamp.after_s, stamp.ticks, stamp.cycles = self.clock(), reached.ticks, reached.cycles
        stamp.exit = reached.exit
        return 0, reached.cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One path to one exit."""

    path: str
    exit: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """Everything that one recording holds: cases in the order they ran, ``repeats`` of each, and the clock's questions.

    One more inference lies before the first: it brings the input.
    """

    cases: tuple[Case, ...]
    repeats: int
    stamps: tuple[Stamp, ...]
    questions: npt.NDArray[np.float64]  # (n, 3): board's clock, host's clock before and after
    trace: Trace
    tick_hz: int


def take(
    engine: BoardEngine, board: Board, counter: StampCounter, recorder: Recorder, sample: Sequence[Array],
    cases: Sequence[Case], repeats: int, progress: Callable[[int, int], None],
) -> Taken:  # fmt: skip
    """Run every case ``repeats`` times, in rounds, while a recorder runs.

    Rounds rather than blocks: what drifts touches all cases alike.
    """
    arrays = [array[:1] for array in sample]
    recorder.begin()
    engine.infer(arrays, path=cases[0].path, depth=cases[0].exit)  # the input is on the board from here on
    counter.stamps.clear()
    questions = [_ask_clock(board, counter.clock)]
    done = 0
    for _ in range(repeats):
        for case in cases:
            engine.infer(arrays, path=case.path, depth=case.exit)
            recorder.poll()
            done += 1
            progress(done, repeats * len(cases))
        questions.append(_ask_clock(board, counter.clock))
    return Taken(
        cases=tuple(cases), repeats=repeats, stamps=tuple(counter.stamps), questions=np.array(questions),
        trace=recorder.trace(), tick_hz=board.hello.tick_hz,
    )  # fmt: skip


def _ask_clock(board: Board, clock: Callable[[], float]) -> tuple[float, float, float]:
    before_s = clock()
    device_s = 1e-6 * int(board.sensors()["time_us"])
    return device_s, before_s, clock()


def windows_by_markers(taken: Taken, first_line: int, n_lines: int = 4) -> tuple[npt.NDArray[np.float64], Sync]:
    """Return ``(k, 2)`` ends of each inference in samples, by the pins that show the board's phase.

    Parameters
    ----------
    taken : Taken
        One recording.
    first_line : int
        Digital input of the meter that the first marker pin goes to.
    n_lines : int
        Pins that are wired: 1, 3 (the phase), or 4 (also which exit was reached).

    Raises
    ------
    DataError
        If the pins do not show as many inferences as there were, or show other exits than the board says.
    """
    trace, count = taken.trace, 1 + len(taken.stamps)
    starts, ends = find_pulses(trace.logic, first_line, min(n_lines, 3))
    logic = known_levels(trace.logic, trace.power_w)
    told = read_told(logic, first_line, ticks=n_lines > 3) if n_lines >= 3 else []
    error_s = trace.period_s
    if len(told) == count:
        runs = runs_between(starts, ends, told)
        # what the last op left behind that was too short to be seen
        error_s *= max(1, *(each.end - int(end) for each, (_, end) in zip(told, runs, strict=True)))
    else:
        runs = group_runs(starts, ends, count)
        told = []
    exits, how = _exits_by(taken, told[1:], first_line, n_lines)
    lines = f"D{first_line}" + (f" to D{first_line + min(n_lines, 3) - 1}" if n_lines > 1 else "")
    detail = f"phase of the firmware on {lines}, {len(starts)} pulses seen in {count - 1} inferences; {how}"
    return runs[1:].astype(float), Sync(method="markers", error_s=error_s, detail=detail, exits=exits)


def _exits_by(taken: Taken, told: Sequence[Told], first_line: int, n_lines: int) -> tuple[str, str]:
    """Return what tells the exits, and a word on it; inferences with lost samples prove nothing."""
    line = f"D{first_line + 3}"
    if n_lines < 4:
        return "device records", f"exits by the board's word, the fourth pin is not wired to {line}"
    if not told or all(each.exit < 0 for each in told):
        return "device records", f"exits by the board's word, {line} tells none"
    holes = np.concatenate([[0], np.cumsum(~np.isfinite(taken.trace.power_w))])
    read = 0
    for index, (each, stamp) in enumerate(zip(told, taken.stamps, strict=True)):
        after = told[index + 1].begin if index + 1 < len(told) else len(holes) - 1
        if holes[after] != holes[each.begin]:
            continue
        if each.exit != stamp.exit:
            raise DataError(
                f"inference {index}: the markers show exit {each.exit}, the board says {stamp.exit}; are its four marker pins in "
                f"D{first_line} to {line} in their order?"
            )
        read += 1
    return "markers", f"exits on {line}, {read} read and as the board says"


def windows_by_clock(taken: Taken) -> tuple[npt.NDArray[np.float64], Sync, npt.NDArray[np.float64]]:
    """Return ``(k, 2)`` ends of each inference in samples, by the board's time stamps and the host's clock, and the doubt.

    Length comes from the board's timer, fitted to the host's clock; place from the host's clock around the request, and
    within that from where most energy is. The doubt is ``(k,)``: by how much the energy changes when a window lies anywhere
    else in the stretch in which the board is busy [J].
    """
    trace = taken.trace
    device = fit_clock(*taken.questions.T)
    stream = fit_arrivals(trace.arrivals[:, 0], trace.arrivals[:, 1], trace.period_s)
    stamps = np.array([(each.before_s, each.after_s, each.ticks / taken.tick_hz) for each in taken.stamps])
    length_s = stamps[:, 2] * device.rate
    period_s = trace.period_s * stream.rate
    windows_s = stamps[:, :2] - stream.offset_s
    cumulative_j = trace.cumulative_j()
    starts_s, scatter_s = place_windows(cumulative_j, period_s, windows_s, length_s, _SLACK_S)
    windows = np.stack([starts_s, starts_s + length_s], axis=1) / period_s
    if windows[:, 0].min() < 0.0 or windows[:, 1].max() > len(trace.power_w):
        raise DataError(
            "the clocks of board, meter and host do not fit together: an inference lies outside the recording"
        )
    doubt_j = _doubt_j(cumulative_j, windows, busy_around(trace.power_w, windows))
    error_s = max(scatter_s, trace.period_s)
    return windows, Sync(method="clock fit", error_s=error_s, detail=_say(device, stream, stamps)), doubt_j


def _doubt_j(
    cumulative_j: npt.NDArray[np.float64], windows: npt.NDArray[np.float64], busy: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return ``(k,)``: largest minus least energy of a window's length within its stretch [J]."""
    shares = np.linspace(0.0, 1.0, 21)
    doubt_j = np.empty(len(windows))
    for k, (start, end) in enumerate(windows):
        starts = busy[k, 0] + shares * (busy[k, 1] - busy[k, 0] - (end - start))
        held_j = _energy_j(cumulative_j, np.stack([starts, starts + (end - start)], axis=1))
        doubt_j[k] = held_j.max() - held_j.min()
    return doubt_j


def _energy_j(cumulative_j: npt.NDArray[np.float64], windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return energy_up_to(cumulative_j, windows[:, 1]) - energy_up_to(cumulative_j, windows[:, 0])


def _say(device: ClockFit, stream: ClockFit, stamps: npt.NDArray[np.float64]) -> str:
    spare_s = float(np.max(stamps[:, 1] - stamps[:, 0] - stamps[:, 2]))
    return (
        f"board's clock {1e6 * (device.rate - 1):+.1f} ppm, {1e6 * device.error_s:.0f} us from a line of {device.n} questions; "
        f"meter's {1e6 * (stream.rate - 1):+.1f} ppm; request and reply {1e3 * spare_s:.2f} ms at most; placed by energy"
    )


def rows_of(
    taken: Taken, windows: npt.NDArray[np.float64], sync: Sync, exit_names: Sequence[str],
    doubt_j: npt.NDArray[np.float64] | None = None,
) -> list[Row]:  # fmt: skip
    """Return a row for each case: energies of windows without lost samples, and how long they were.

    The interval of the energy is that of the scatter, wider by what an end that is off by the sync's error would change; with
    ``doubt_j`` by the largest doubt of the case, and the length is the board's own and exact to a tick. Either is wider by
    what a clock may be off. What the meter's gain may be off is not in it.
    """
    trace = taken.trace
    energy_j = _energy_j(trace.cumulative_j(), windows)
    holes = np.concatenate([[0], np.cumsum(~np.isfinite(trace.power_w))])
    # with a sample on either side: an end that lies where samples were lost is seen too late or too early
    low = np.maximum(np.floor(windows[:, 0]).astype(int) - 1, 0)
    high = np.minimum(np.ceil(windows[:, 1]).astype(int) + 1, len(trace.power_w))
    whole = holes[high] == holes[low]
    length_s = (windows[:, 1] - windows[:, 0]) * trace.period_s
    idle_w = idle_power_w(taken, windows)
    rows = []
    for number, case in enumerate(taken.cases):
        mine = np.arange(number, len(windows), len(taken.cases))
        good = mine[whole[mine]]
        if not len(good):
            raise DataError(
                f"samples were lost in every inference of {case.path} to {exit_names[case.exit]}: nothing is left to average"
            )
        power_w = float(energy_j[good].sum() / length_s[good].sum())
        bias_j, bias_s = sync.error_s * abs(power_w - (idle_w if idle_w is not None else 0.0)), sync.error_s
        if doubt_j is not None:
            bias_j, bias_s = float(doubt_j[good].max()), 1.0 / taken.tick_hz
        bias_j, bias_s = bias_j + _CRYSTAL * power_w * length_s[good].mean(), bias_s + _CRYSTAL * length_s[good].mean()
        rows.append(
            Row(
                path=case.path, exit=exit_names[case.exit], n=len(good), excluded=len(mine) - len(good),
                energy_j=interval(energy_j[good], bias_j), latency_s=interval(length_s[good], bias_s), power_w=power_w,
            )
        )  # fmt: skip
    return rows


def idle_power_w(taken: Taken, windows: npt.NDArray[np.float64]) -> float | None:
    """Return the least power that lasts between inferences: the tenth percentile of means over a millisecond."""
    trace = taken.trace
    outside = np.isfinite(trace.power_w)
    for start, end in windows:
        outside[int(start) : int(np.ceil(end))] = False
    count = max(1, round(1e-3 / trace.period_s))
    power_w = trace.power_w[outside]
    blocks = power_w[: len(power_w) // count * count].reshape(-1, count).mean(axis=1)
    return float(np.percentile(blocks, 10)) if len(blocks) else None
