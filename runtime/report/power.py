# SPDX-License-Identifier: Apache-2.0
"""Charts of metered runs: power against its cap and the points that answered over time, and where the energy went."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

from joulet.metered_run import EdgeRecord
from joulet.report import svg
from joulet.report.charts import SERIES, WIDTH, legend, wrapped_legend
from joulet.report.day import LEFT, hours
from joulet.report.svg import Frame
from joulet.units import format_quantity

Metered = Mapping[str, EdgeRecord]

IDLE, RESIDUAL, UNANSWERED = "#b8c4d0", "#e07a5f", svg.ALARM
BLOCK, MEAN, ESTIMATED = "#9db7d4", "#1c4f9c", "#f3d9a4"
_HIGH, _ROW, _GAP = 120.0, 13.0, 34.0
_BINS = 168
_FEW, _OTHERS = 0.01, "other points"  # of the energy: what takes less is drawn together


def chosen_points(runs: Metered) -> tuple[str, ...]:
    """Return the points that answered in any run, cheapest first, each once."""
    found: dict[str, float] = {}
    for run in runs.values():
        for point in run.points:
            if point.chosen:
                found.setdefault(point.name, point.energy_j)
    return tuple(sorted(found, key=lambda name: found[name]))


def point_colours(runs: Metered) -> dict[str, str]:
    """Return the colour of each point that answered, the same in every chart."""
    return {name: SERIES[(2 + index) % len(SERIES)] for index, name in enumerate(chosen_points(runs))}


def power_over_time(runs: Metered) -> str:
    """Return power, its sliding mean and its cap, and below which point answered when, for each run."""
    parts = [_legend(runs)]
    top, colours = 58.0, point_colours(runs)
    longest_s = max(run.duration_s for run in runs.values())
    for name, run in runs.items():
        frame = Frame(
            left=LEFT, top=top, width=WIDTH - LEFT - 20, height=_HIGH,
            x_low=0.0, x_high=longest_s, y_low=0.0, y_high=1.12 * _highest_w(run),
        )  # fmt: skip
        parts.append(_power(run, frame))
        parts.append(svg.text(6, top + 16, name, kind="name"))
        parts.append(svg.text(6, top + 34, f"mean {format_quantity(run.mean_w, 'W')}", kind="legend"))
        strip, bottom = _answers(run, frame, colours)
        parts.append(strip)
        top = bottom + _GAP
    axis = Frame(
        left=LEFT, top=top - _GAP, width=WIDTH - LEFT - 20, height=4, x_low=0.0, x_high=longest_s, y_low=0.0, y_high=1.0
    )
    values, names, title = hours(longest_s, 0.0)
    title = title.replace("time of day", "time since the start [h:min]")
    parts.append(svg.x_axis(axis, values, title, as_label=names))
    summary = f"Power, cap and chosen points over time for {len(runs)} runs"
    return svg.drawing(WIDTH, axis.bottom + 42, "".join(parts), summary=summary)


def _legend(runs: Metered) -> str:
    entries = {"power between two looks at the meter": BLOCK, "mean over the window": MEAN}
    if any(run.cap for run in runs.values()):
        entries["cap"] = svg.ALARM
    if any(run.estimated_s for run in runs.values()):
        entries["estimated: no readings"] = ESTIMATED
    return legend(entries, LEFT, 20)


def _highest_w(run: EdgeRecord) -> float:
    caps = [power_w for _, power_w in run.cap.steps] if run.cap is not None else []
    return max([each.power_w for each in run.power] + caps, default=1.0) or 1.0


def _power(run: EdgeRecord, frame: Frame) -> str:
    ticks = svg.ticks(0.0, frame.y_high, 4)
    parts = [svg.y_axis(frame, ticks, "", as_label=[f"{svg.label(tick)} W" for tick in ticks])]
    for each in run.power:
        if each.estimated_j > 0.5 * (each.measured_j + each.estimated_j):
            x = frame.x(each.start_s)
            parts.append(svg.rect(x, frame.top, frame.x(each.end_s) - x, frame.height, ESTIMATED))
    edges = [(frame.x(each.start_s), frame.y(each.power_w)) for each in run.power]
    if run.power:
        edges.append((frame.x(run.power[-1].end_s), edges[-1][1]))
    parts.append(svg.line(svg.steps(edges), BLOCK, width=1.1) if edges else "")
    mean = window_means(run)
    if len(mean) > 1:
        parts.append(svg.line([(frame.x(t), frame.y(w)) for t, w in mean], MEAN, width=2.2))
    if run.cap is not None:
        steps = [(frame.x(t), frame.y(w)) for t, w in run.cap.steps if t < run.duration_s]
        corners = svg.steps([*steps, (frame.x(run.duration_s), steps[-1][1])])
        parts.append(svg.line(corners, svg.ALARM, width=1.6, dash="6 4"))
    return "".join(parts)


def window_means(run: EdgeRecord) -> list[tuple[float, float]]:
    """Return (end of the window [s], mean power over it [W]) wherever a whole window has passed.

    The window is that of the cap; without one, a fortieth of the run.
    """
    window_s = run.cap.window_s if run.cap is not None else run.duration_s / 40.0
    ends, sums = [0.0], [0.0]
    for each in run.power:
        ends.append(each.end_s)
        sums.append(sums[-1] + each.measured_j + each.estimated_j)

    def until_j(time_s: float) -> float:
        at = max(1, min(bisect.bisect_left(ends, time_s), len(ends) - 1))
        share = (time_s - ends[at - 1]) / max(ends[at] - ends[at - 1], 1e-12)
        return sums[at - 1] + share * (sums[at] - sums[at - 1])

    return [(t, (until_j(t) - until_j(t - window_s)) / window_s) for t in ends if t >= window_s > 0.0]


def _answers(run: EdgeRecord, frame: Frame, colours: Mapping[str, str]) -> tuple[str, float]:
    """Return a row a point, a mark where it answered, the taller the more often, and the pixel below the last row."""
    rows = [name for name in colours if any(p.name == name and p.chosen for p in run.points)]
    bins = max(1, round(_BINS * run.duration_s / frame.x_high)) if frame.x_high else 1
    bin_s = run.duration_s / bins or 1.0
    counts: dict[str | None, list[int]] = {name: [0] * bins for name in [*rows, None]}
    for event in run.events:
        counts[event.point][min(int(event.arrival_s / bin_s), bins - 1)] += 1
    most = max(max(row) for row in counts.values()) or 1
    parts, top = [], frame.bottom + 10.0
    wide = frame.x(bin_s) - frame.x(0.0)
    for name, row in counts.items():
        if name is None and not any(row):
            continue
        label = "not answered" if name is None else name
        parts.append(svg.text(LEFT - 8, top + _ROW - 3, label, anchor="end", kind="small"))
        for index, count in enumerate(row):
            if count:
                tall = (_ROW - 2.0) * (count / most) ** 0.5
                title = f"{label}: {count} events from {index * bin_s:.4g} s to {(index + 1) * bin_s:.4g} s"
                colour = UNANSWERED if name is None else colours[name]
                x = frame.x(index * bin_s)
                parts.append(svg.rect(x, top + _ROW - tall, max(wide - 0.6, 0.6), tall, colour, title=title))
        top += _ROW
    return "".join(parts), top


def energy_bars(runs: Metered) -> str:
    """Return one bar a run: idle power, the inferences of each point and what neither explains; the line is the meter's sum."""
    colours = {"idle": IDLE, **point_colours(runs), _OTHERS: "#7d6b91", "not explained": RESIDUAL}
    shares = {name: _shares(run) for name, run in runs.items()}
    used = {key: colours[key] for key in colours if any(share.get(key) for share in shares.values())}
    legends, taken = wrapped_legend(used, LEFT, 4.0, WIDTH - LEFT - 20)
    row, top = 40.0, taken + 18.0
    highest_j = max(max(sum(share.values()), runs[name].energy_j) for name, share in shares.items()) or 1.0
    frame = Frame(
        left=LEFT, top=top - 8, width=WIDTH - LEFT - 20, height=row * len(runs) + 4,
        x_low=0.0, x_high=1.04 * highest_j, y_low=0.0, y_high=1.0,
    )  # fmt: skip
    parts = [legends, svg.x_axis(frame, svg.ticks(0.0, frame.x_high, 8), "energy over the run [J]")]
    for index, (name, share) in enumerate(shares.items()):
        y, done_j = top + index * row, 0.0
        parts.append(svg.text(LEFT - 14, y + 18, name, anchor="end", kind="name"))
        for key in used:
            if part_j := share.get(key, 0.0):
                x = frame.x(done_j)
                title = f"{name}: {key} {format_quantity(part_j, 'J')}"
                parts.append(svg.rect(x, y, frame.x(done_j + part_j) - x, 26, used[key], title=title))
                done_j += part_j
        mark = frame.x(runs[name].energy_j)
        parts.append(svg.line([(mark, y - 4), (mark, y + 30)], svg.INK, width=1.6))
    return svg.drawing(WIDTH, frame.bottom + 46, "".join(parts), summary="Where the energy went, by run")


def _shares(run: EdgeRecord) -> dict[str, float]:
    """Return energies to draw [J]; a residual below zero shows as a bar that ends beyond the line."""
    ledger, shares = run.ledger, {"idle": run.ledger.idle_j}
    for name, energy_j in ledger.points_j.items():
        key = name if energy_j >= _FEW * ledger.drawn_j else _OTHERS
        shares[key] = shares.get(key, 0.0) + energy_j
    return {**shares, "not explained": max(0.0, ledger.residual_j)}
