# SPDX-License-Identifier: Apache-2.0
"""Energy and time of each op at each precision: by the board's marker pins through a meter, or as the emulator counts them.

All exits are gone through in turn, so that every op and every head runs once. Through a meter the pins end each op by a pulse
(:mod:`joulet.profile.ticks`), and ends of windows fall on its samples: an op is as often too long as too short, by up to a
sample, and the scatter of repeats holds that. An op that lies between two samples is seen with no length, which over repeats
averages to its true one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.engine.board import BoardEngine
from joulet.engine.seam import Array
from joulet.errors import DataError, UsageError
from joulet.profile.figures import Interval, StepRow, interval
from joulet.profile.recorder import Recorder, Trace
from joulet.profile.sync import energy_up_to, find_pulses
from joulet.profile.ticks import Told, find_ticks, known_levels, read_told

_BACKBONE = 255
_CRYSTAL = 100e-6
_UNSEEN = 3.0  # -ln 5 %: an op not seen in n repeats is shorter than this over n samples, 95 times of 100
Windows = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run: paths of one integer precision throughout, and the ops of each stretch from exit to exit."""

    paths: tuple[int, ...]
    precisions: tuple[str, ...]
    stretches: tuple[tuple[int, ...], ...]

    @property
    def ops(self) -> tuple[int, ...]:
        """All ops, in the order in which they run."""
        return tuple(op for stretch in self.stretches for op in stretch)


def plan_steps(engine: BoardEngine, precision: str | None) -> Plan:
    """Return what to run for every integer precision, or for one.

    Raises
    ------
    UsageError
        If no path runs the whole model at it, or ops run in bands.
    """
    container = engine.container
    if any(section.name == "BANDS" for section in container.table.sections):
        raise UsageError(
            "--steps: some ops of this container run in bands, several as one (joulet inspect --board): profile one that was "
            "compiled without --ram-limit, on a board that has the memory"
        )
    n_exits = engine.n_exits
    paths: dict[str, int] = {}
    for index, path in enumerate(container.paths):
        used = {int(each) for each in path["precisions"][:n_exits]}
        name = container.precision_names[min(used)]
        if len(used) == 1 and not container.precisions[min(used)]["is_f32"] and precision in (None, name):
            paths.setdefault(name, index)
    if not paths:
        raise UsageError(
            f"--steps: no path runs the whole model at {precision or 'one integer precision'}; joulet inspect lists paths"
        )
    return Plan(
        paths=tuple(paths.values()),
        precisions=tuple(paths),
        stretches=tuple(tuple(_stretch(engine, exit)) for exit in range(n_exits)),
    )


def _stretch(engine: BoardEngine, exit: int) -> Iterator[int]:
    """Yield the ops from exit ``exit`` - 1 to ``exit``, of heads only its own."""
    exits, ops = engine.container.exits, engine.container.ops
    first = 0 if exit == 0 else int(exits[exit - 1]["last_op"]) + 1
    for index in range(first, int(exits[exit]["last_op"]) + 1):
        if int(ops[index]["exit"]) in (_BACKBONE, exit):
            yield index


def run_steps(
    engine: BoardEngine, plan: Plan, sample: Sequence[Array], repeats: int, after: Callable[[int, int], None]
) -> None:
    """Go through all exits of all paths; ``after(done, total)`` is called behind each path."""
    arrays = [array[0] for array in sample]
    for done in range(repeats * len(plan.paths)):
        engine.start(arrays, plan.paths[done % len(plan.paths)])
        for exit in range(engine.n_exits):
            engine.run_to_exit(exit)
        after(1 + done, repeats * len(plan.paths))


def step_rows(
    engine: BoardEngine, plan: Plan, energy: Sequence[Sequence[Interval]], latency: Sequence[Sequence[Interval]], n: Sequence[int],
    power_w: Sequence[Sequence[float]],
) -> tuple[StepRow, ...]:  # fmt: skip
    """Return rows from figures ``[precision][place in plan.ops]``; ``n`` counts the repeats of each precision."""
    container = engine.container
    names = [each["name"] if isinstance(each, dict) else each for each in container.meta.get("ops", ())]
    rows = []
    for number, precision in enumerate(plan.precisions):
        for place, op in enumerate(plan.ops):
            head = int(container.ops[op]["exit"])
            rows.append(
                StepRow(
                    precision=precision, op=op, name=str(names[op]) if op < len(names) else f"op {op}",
                    exit=None if head == _BACKBONE else engine.exit_names[head], n=n[number],
                    energy_j=energy[number][place], latency_s=latency[number][place], power_w=power_w[number][place],
                )
            )  # fmt: skip
    return tuple(rows)


# as the emulator counts


def exact_steps(engine: BoardEngine, plan: Plan, ops: Sequence[tuple[float, float]]) -> tuple[StepRow, ...]:
    """Return rows from (energy [J], time [s]) of every op that ran in one pass of :func:`run_steps`; intervals are points.

    Raises
    ------
    DataError
        If other ops ran than the container has.
    """
    count = len(plan.ops)
    if len(ops) != count * len(plan.paths):
        raise DataError(f"{len(ops)} ops ran on the board, the container has {count} at {len(plan.paths)} precisions")
    table = np.array(ops).reshape(len(plan.paths), count, 2)
    points = [[[Interval(mean=v, low=v, high=v) for v in part] for part in table[:, :, k].tolist()] for k in (0, 1)]
    power_w = (table[:, :, 0] / table[:, :, 1]).tolist()
    return step_rows(engine, plan, points[0], points[1], [1] * len(plan.paths), power_w)


# through a meter


def metered_steps(engine: BoardEngine, plan: Plan, trace: Trace, first_line: int) -> tuple[StepRow, ...]:
    """Return rows from what a meter took down of :func:`run_steps`, the pins telling ends of ops and exits.

    Raises
    ------
    DataError
        If the pins do not show all ops.
    """
    logic = known_levels(trace.logic, trace.power_w)
    told = read_told(logic, first_line)
    exits = engine.n_exits
    passes, left = divmod(len(told), exits)
    if left or not told or passes % len(plan.paths):
        raise DataError(
            f"the markers tell {len(told)} exits, {exits} at a time: are the board's four marker pins in D{first_line} to "
            f"D{first_line + 3} of the meter, and its firmware of this version?"
        )
    starts, ends = find_pulses(logic, first_line)
    ticks, risen = find_ticks(logic, first_line)
    windows = []
    for number, each in enumerate(told):
        found = _windows(each, starts, ends, ticks, risen)
        expected = plan.stretches[number % exits]
        if len(found) != len(expected) or each.exit != number % exits:
            raise DataError(
                f"on the way to exit {engine.exit_names[number % exits]} the markers show {len(found)} ops and exit {each.exit}; "
                f"there are {len(expected)}: lost samples, or wires in another order"
            )
        windows.append(found)
    table = np.concatenate(windows).reshape(passes // len(plan.paths), len(plan.paths), len(plan.ops), 2)
    hold_w = _hold_w(trace, ticks, risen)
    return _rows(engine, plan, trace, table, hold_w)


def _windows(told: Told, starts: Places, ends: Places, ticks: Places, risen: Places) -> Windows:
    """Return ``(n, 2)``: of each op its pulse, or twice the place of its end where none was seen."""
    low, high = np.searchsorted(ticks, [told.begin, told.end])
    found = np.empty((high - low, 2))
    before = told.begin
    for place, tick in enumerate(ticks[low:high]):
        mine = slice(*np.searchsorted(starts, [before, tick]))
        found[place] = (starts[mine][0], ends[mine][-1]) if len(starts[mine]) else (tick, tick)
        before = risen[low + place]
    return found


def _hold_w(trace: Trace, ticks: Places, risen: Places) -> float:
    """Return the mean power while ends of ops are told [W]."""
    power_w = np.concatenate([trace.power_w[int(a) : int(b)] for a, b in zip(ticks, risen, strict=True)])
    return float(np.nanmean(power_w))


def _rows(engine: BoardEngine, plan: Plan, trace: Trace, table: Windows, hold_w: float) -> tuple[StepRow, ...]:
    cumulative_j = trace.cumulative_j()
    holes = np.concatenate([[0], np.cumsum(~np.isfinite(trace.power_w))])
    at = table.astype(np.intp)
    # a pulse whose neighbours were lost may have been longer
    whole = holes[np.minimum(at[..., 1] + 1, len(holes) - 1)] == holes[np.maximum(at[..., 0] - 1, 0)]
    energy_j = energy_up_to(cumulative_j, table[..., 1]) - energy_up_to(cumulative_j, table[..., 0])
    length_s = (table[..., 1] - table[..., 0]) * trace.period_s
    energy: list[list[Interval]] = []
    latency: list[list[Interval]] = []
    power: list[list[float]] = []
    counts = []
    for number in range(len(plan.paths)):
        rows = [
            _figures(energy_j[whole[:, number, k], number, k], length_s[whole[:, number, k], number, k], trace, hold_w)
            for k in range(len(plan.ops))
        ]
        energy.append([row[0] for row in rows])
        latency.append([row[1] for row in rows])
        power.append([row[2] for row in rows])
        counts.append(int(whole[:, number].sum(axis=0).min()))
    return step_rows(engine, plan, energy, latency, counts, power)


def _figures(energy_j: Windows, length_s: Windows, trace: Trace, hold_w: float) -> tuple[Interval, Interval, float]:
    """Return energy, time and power of one op; where it was never seen, from nothing to what would have been."""
    n = len(energy_j)
    if not n:
        raise DataError("samples were lost in every repeat of an op: nothing is left to average; give more --repeats")
    if not length_s.any():
        most_s = trace.period_s * min(1.0, _UNSEEN / n)
        return Interval(mean=0.0, low=0.0, high=most_s * hold_w), Interval(mean=0.0, low=0.0, high=most_s), hold_w
    power_w = float(energy_j.sum() / length_s.sum())
    # samples at either end hold part of what lies beside the op
    bias_j = trace.period_s * abs(power_w - hold_w) + _CRYSTAL * float(energy_j.mean())
    energy = interval(energy_j, bias_j)
    latency = interval(length_s, _CRYSTAL * float(length_s.mean()))
    # all repeats alike tell no scatter, but an end may lie anywhere within its sample
    least_s = trace.period_s / np.sqrt(n)
    return _no_narrower(energy, least_s * power_w), _no_narrower(latency, least_s), power_w


def _no_narrower(found: Interval, half: float) -> Interval:
    return Interval(
        mean=found.mean, low=max(0.0, min(found.low, found.mean - half)), high=max(found.high, found.mean + half)
    )


def record_steps(
    engine: BoardEngine, plan: Plan, sample: Sequence[Array], recorder: Recorder, repeats: int, marks: int,
    progress: Callable[[int, int], None],
) -> Trace:  # fmt: skip
    """Run all steps while a recorder runs, with the marks that tell ends of ops and exits."""
    before, engine.marks = engine.marks, marks

    def after(done: int, total: int) -> None:
        recorder.poll()
        progress(done, total)

    try:
        recorder.begin()
        run_steps(engine, plan, sample, repeats, after)
    finally:
        engine.marks = before
    return recorder.trace()
