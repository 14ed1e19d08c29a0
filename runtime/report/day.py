# SPDX-License-Identifier: Apache-2.0
"""The chart of a run over time: harvest, store voltage, and which exit answered at how many bits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from joulet.records import InferenceRecord, RunRecord, Status, StepRecord
from joulet.report import svg
from joulet.report.charts import WIDTH, Runs, series_colours
from joulet.report.svg import Frame

BINS = 168
LEFT = 190.0
FEW_BITS, MANY_BITS = "#a9ddd0", "#0a3f6b"
ANSWERED = frozenset({Status.ON_TIME, Status.LATE})


@dataclass(slots=True)
class _Cell:
    """Events of one span of time that ended at one exit (or nowhere)."""

    count: int = 0
    bits: float = 0.0
    correct: int = 0


def hours(duration_s: float, start_s: float) -> tuple[list[float], list[str], str]:
    """Return tick positions [s], their names and the axis title; ``start_s`` is the clock at the run's start."""
    if duration_s < 3600.0:
        unit, size = ("s", 1.0) if duration_s < 600.0 else ("min", 60.0)
        short = svg.ticks(0.0, duration_s / size, 8)
        return [value * size for value in short], [svg.label(value) for value in short], f"time [{unit}]"
    every = next(step for step in (0.5, 1, 2, 3, 6, 12, 24, 48, 168, 1e9) if duration_s / 3600.0 / step <= 14)
    first = -(-start_s // (every * 3600.0)) * every * 3600.0
    values: list[float] = []
    while first <= start_s + duration_s + 1.0:
        values.append(first - start_s)
        first += every * 3600.0
    names = [f"{int((start_s + v) // 3600) % 24:02d}:{int((start_s + v) % 3600) // 60:02d}" for v in values]
    return values, names, "time of day"


def day(runs: Runs, *, start_s: float = 0.0) -> str:
    """Return the whole chart: harvest at the top, then voltage and exits of each run under one another."""
    first = next(iter(runs.values()))
    low_v, high_v = _voltage_range(runs)
    exits = max(len(run.exit_names) for run in runs.values())
    strip_row, volt_height, gap = 13.0, 54.0, 30.0
    harvest = _frame(first, 40.0, 84.0, 0.0, max((s.harvest_power_w for s in first.timeline), default=0.0) * 1.08)
    parts = [_bits_scale(runs), _harvest(first, harvest)]
    top, colours = harvest.bottom + 26.0, series_colours(runs)
    for name, run in runs.items():
        volts = _frame(run, top, volt_height, low_v, high_v)
        parts.append(_voltage(run, volts, colours[name]))
        strip_top = volts.bottom + 4
        parts.append(_strip(run, name, strip_top, strip_row, start_s))
        parts.append(svg.text(6, top + 16, name, kind="name"))
        parts.append(svg.text(6, top + 34, _score(run), kind="legend"))
        top = strip_top + strip_row * (len(run.exit_names) + 1) + gap
    bottom = Frame(
        left=LEFT, top=top - gap, width=WIDTH - LEFT - 20, height=4,
        x_low=0.0, x_high=first.duration_s, y_low=0.0, y_high=1.0,
    )  # fmt: skip
    values, names, title = hours(first.duration_s, start_s)
    parts.append(svg.x_axis(bottom, values, title, as_label=names))
    summary = f"Harvest, store voltage and chosen exits over time for {len(runs)} policies and {exits} exits"
    return svg.drawing(WIDTH, bottom.bottom + 42, "".join(parts), summary=summary)


def _frame(run: RunRecord, top: float, height: float, low: float, high: float) -> Frame:
    return Frame(
        left=LEFT, top=top, width=WIDTH - LEFT - 20, height=height,
        x_low=0.0, x_high=run.duration_s, y_low=low, y_high=high or 1.0,
    )  # fmt: skip


def _score(run: RunRecord) -> str:
    score = run.summary.score
    return f"{run.summary.on_time:,} on time" if score is None else f"{100 * score:.1f} % correct on time"


def _voltage_range(runs: Runs) -> tuple[float, float]:
    values = [step.store_voltage_v for run in runs.values() for step in run.timeline]
    return (min(values) - 0.05, max(values) + 0.1) if values else (0.0, 1.0)


def _bits_scale(runs: Runs) -> str:
    low, high = _bits_range(runs.values())
    x, parts = WIDTH - 20 - 96, []
    for index in range(24):
        parts.append(svg.rect(x + 4 * index, 4, 4.2, 12, svg.mix(FEW_BITS, MANY_BITS, index / 23)))
    parts.append(svg.text(x - 8, 14, f"mean weight bits  {low:g}", anchor="end", kind="legend"))
    parts.append(svg.text(x + 102, 14, f"{high:g}", kind="legend"))
    parts.append(svg.rect(x - 290, 4, 12, 12, svg.ALARM, opacity=0.75))
    parts.append(svg.text(x - 272, 14, "events not answered", kind="legend"))
    return "".join(parts)


def _bits_range(runs: Iterable[RunRecord]) -> tuple[float, float]:
    found = [bits for run in runs for path in run.paths for bits in path.mean_bits]
    return (min(found), max(found)) if found and max(found) > min(found) else (4.0, 8.0)


def _harvest(run: RunRecord, frame: Frame) -> str:
    scale, unit = power_unit(frame.y_high)
    ticks = svg.ticks(0.0, frame.y_high * scale, 3)
    axis = svg.y_axis(frame, [tick / scale for tick in ticks], "", as_label=[svg.label(tick) for tick in ticks])
    points = [(frame.x(x), frame.y(y)) for x, y in thin(run.timeline, "harvest_power_w")]
    corners = svg.steps(points)
    return "".join(
        (
            axis,
            svg.area(corners, frame.bottom, svg.SUN_FILL),
            svg.line(corners, svg.SUN, width=1.4),
            svg.text(6, frame.top + 16, "harvest", kind="name"),
            svg.text(6, frame.top + 34, f"at the cell [{unit}]", kind="legend"),
        )
    )


def power_unit(peak_w: float) -> tuple[float, str]:
    """Return the factor and the unit in which ``peak_w`` is one or more."""
    for scale, unit in ((1.0, "W"), (1e3, "mW"), (1e6, "µW")):
        if peak_w * scale >= 1.0:
            return scale, unit
    return 1e9, "nW"


def thin(timeline: Sequence[StepRecord], field: str, bins: int = 900) -> list[tuple[float, float]]:
    """Return (time, value) with at most the lowest and highest of each of ``bins`` spans, in order."""
    points = [(step.time_s, float(getattr(step, field))) for step in timeline]
    if len(points) <= 2 * bins:
        return points
    span = (points[-1][0] - points[0][0]) / bins or 1.0
    kept: list[tuple[float, float]] = []
    group: list[tuple[float, float]] = []
    edge = points[0][0] + span
    for point in points:
        while point[0] > edge:
            kept += sorted({min(group, key=lambda p: p[1]), max(group, key=lambda p: p[1])}) if group else []
            group, edge = [], edge + span
        group.append(point)
    return kept + sorted({min(group, key=lambda p: p[1]), max(group, key=lambda p: p[1])} if group else set())


def _voltage(run: RunRecord, frame: Frame, colour: str) -> str:
    ticks = svg.ticks(frame.y_low, frame.y_high, 3)
    parts = [svg.y_axis(frame, ticks, "", as_label=[f"{svg.label(tick)} V" for tick in ticks])]
    for begin, end in outages(run.timeline, run.duration_s):
        x = frame.x(begin)
        title = f"no power for {(end - begin) / 60:.1f} min"
        width = max(frame.x(end) - x, 0.8)
        parts.append(svg.rect(x, frame.top, width, frame.height, "#cdd4dc", opacity=0.55, title=title))
    points = [(frame.x(x), frame.y(y)) for x, y in thin(run.timeline, "store_voltage_v")]
    parts.append(svg.area(points, frame.bottom, colour, opacity=0.13))
    parts.append(svg.line(points, colour, width=1.5) if points else "")
    return "".join(parts)


def outages(timeline: Sequence[StepRecord], duration_s: float) -> list[tuple[float, float]]:
    """Return the spans without power [s]."""
    spans: list[tuple[float, float]] = []
    since: float | None = None
    for step in timeline:
        if not step.powered and since is None:
            since = step.time_s
        elif step.powered and since is not None:
            spans.append((since, step.time_s))
            since = None
    if since is not None:
        spans.append((since, duration_s))
    return spans


def cells(run: RunRecord, bins: int = BINS) -> list[Mapping[int | None, _Cell]]:
    """Return, for each of ``bins`` spans of the run, its events by exit (None: not answered)."""
    grid: list[dict[int | None, _Cell]] = [{} for _ in range(bins)]
    edges = [run.duration_s * (index + 1) / bins for index in range(bins)]
    for event in run.events:
        place = min(bisect_right(edges, event.arrival_s), bins - 1)
        key = event.exit if event.status in ANSWERED else None
        _add(grid[place].setdefault(key, _Cell()), event)
    return list(grid)


def _add(cell: _Cell, event: InferenceRecord) -> None:
    cell.count += 1
    cell.bits += event.mean_bits or 0.0
    cell.correct += bool(event.correct)


def _strip(run: RunRecord, name: str, top: float, row: float, start_s: float) -> str:
    exits = len(run.exit_names)
    frame = _frame(run, top, row * (exits + 1), 0.0, 1.0)
    low, high = _bits_range([run])
    parts = [svg.rect(frame.left, top, frame.width, row * exits, "#f5f7f9")]
    for index, exit_name in enumerate(run.exit_names):
        y = top + row * (exits - 1 - index)
        parts.append(svg.text(LEFT - 8, y + row - 3, exit_name, anchor="end", kind="small"))
        parts.append(svg.line([(frame.left, y + row), (frame.right, y + row)], "#fff", width=1))
    parts.append(svg.text(LEFT - 8, top + row * (exits + 1) - 3, "none", anchor="end", kind="small"))
    step = frame.width / BINS
    for place, row_cells in enumerate(cells(run)):
        total = sum(cell.count for cell in row_cells.values())
        for key, cell in row_cells.items():
            y = top + row * (exits if key is None else exits - 1 - key)
            share = cell.count / total
            bits = cell.bits / cell.count
            clock = (start_s + run.duration_s * place / BINS) / 3600.0
            when = f"{int(clock) % 24:02d}:{int(clock % 1 * 60):02d}"
            where = "not answered" if key is None else f"answered at exit {run.exit_names[key]}, {bits:.1f} bits"
            title = f"{name}, {when}: {cell.count} of {total} events {where}"
            if key is not None:
                title += f", {100 * cell.correct / cell.count:.0f} % correct"
            colour = svg.ALARM if key is None else svg.mix(FEW_BITS, MANY_BITS, (bits - low) / (high - low))
            # the height shows the share, so that a rare exit is seen and does not shout
            tall = max((row - 2) * share**0.5, 1.5)
            width = step + 0.05
            x = frame.left + step * place
            parts.append(
                svg.rect(x, y + row - 1 - tall, width, tall, colour, title=title, opacity=0.75 if key is None else 1.0)
            )
    return "".join(parts)
