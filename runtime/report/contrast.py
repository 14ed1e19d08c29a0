# SPDX-License-Identifier: Apache-2.0
"""The charts of a comparison: paired differences, energy stacks and accuracy-energy fronts. Each returns one ``<svg>``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from joulet.records import ACCOUNTS
from joulet.report import svg, tally
from joulet.report.bootstrap import Verdict
from joulet.report.charts import ENERGY_COLOURS, SERIES, WIDTH, Box, free_place, wrapped_legend
from joulet.report.study import Cell, Study, is_adaptive
from joulet.report.svg import Frame
from joulet.report.tally import Point
from joulet.units import format_quantity

# room for the name of a policy, at least and at most, and the characters that fit in the latter
LEFT, MOST_LEFT, MOST_CHARS = 120.0, 250.0, 28
STACK_COLOURS = {**ENERGY_COLOURS, "left in the store": "#4a8a2a"}
AHEAD, BEHIND, OPEN = "#0b7f86", svg.ALARM, "#8a96a3"
MOST_FAMILIES = 5
# room for a difference and its interval in figures
FIGURES_PX = 138.0
# a difference more than this many times the median one is drawn as an arrow, so that the others can be told apart
FAR = 2.5


def policy_colours(study: Study) -> dict[str, str]:
    """Return the colour of each policy, the same in every chart."""
    return {policy: SERIES[index % len(SERIES)] for index, policy in enumerate(study.policies)}


def short(name: str) -> str:
    """Return a name as a chart shows it: its middle left out if it is long."""
    return name if len(name) <= MOST_CHARS else f"{name[: MOST_CHARS - 11]}…{name[-10:]}"


def name_px(names: Iterable[str]) -> float:
    """Return the room at the left of a chart for the longest of ``names``."""
    longest = max((len(short(name)) for name in names), default=0)
    return min(max(8.2 * longest + 22.0, LEFT), MOST_LEFT)


def by_difference(found: Sequence[Verdict]) -> list[str]:
    """Return the other policies, the closest or strongest rival first."""
    overall = {verdict.other: verdict.difference.estimate for verdict in found if verdict.family is None}
    return sorted(overall, key=lambda other: overall[other])


def forest(found: Sequence[Verdict], families: Sequence[str]) -> str:
    """Return a row for each other policy: the paired difference over all cells and by family [points]."""
    order = by_difference(found)
    columns: list[str | None] = [None, *families[:MOST_FAMILIES]] if len(families) > 1 else [None]
    top, row = 52.0, 27.0
    height = top + row * len(order) + 52
    # the first column is for all families, wider, and says its interval in figures
    left = name_px(order)
    pitch = (WIDTH - left - FIGURES_PX) / len(columns)
    low, high = _difference_range([v for v in found if v.family in columns])
    numbers = 50.0 if len(columns) <= 4 else 0.0
    parts = [
        svg.text(left - 14, top + row * index + 18, short(other), anchor="end", kind="name")
        for index, other in enumerate(order)
    ]
    for family in columns:
        wide, said = (pitch + FIGURES_PX, FIGURES_PX) if family is None else (pitch, numbers)
        frame = Frame(
            left=left, top=top, width=wide - said - 26, height=row * len(order) + 4,
            x_low=low, x_high=high, y_low=0.0, y_high=1.0,
        )  # fmt: skip
        shown = {verdict.other: verdict for verdict in found if verdict.family == family}
        parts.append(_forest_column(frame, [shown.get(other) for other in order], row, said))
        left += wide
    return svg.drawing(WIDTH, height, "".join(parts), summary="Paired differences in score, with 95 % intervals")


def _difference_range(found: Sequence[Verdict]) -> tuple[float, float]:
    """Return the range to draw [points]: zero and every interval, but for differences far larger than most."""
    usual = FAR * median(abs(v.difference.estimate) for v in found) if found else 0.0
    near = [v.difference for v in found if abs(v.difference.estimate) <= max(usual, 0.01)]
    low = min([100 * difference.low for difference in near] + [0.0])
    high = max([100 * difference.high for difference in near] + [0.0])
    margin = max(0.06 * (high - low), 0.2)
    return low - margin, high + margin


def _forest_column(frame: Frame, shown: Sequence[Verdict | None], row: float, said: float) -> str:
    title = next((v.family or "all families" for v in shown if v is not None), "")
    values = svg.ticks(frame.x_low, frame.x_high, 5 if frame.width > 240 else 4)
    parts = [svg.text(frame.left, frame.top - 12, title, kind="name")]
    for value in values:
        x = frame.x(value)
        parts.append(svg.line([(x, frame.top), (x, frame.bottom)], svg.GRID, width=1))
    parts.append(svg.line([(frame.x(0.0), frame.top - 4), (frame.x(0.0), frame.bottom)], svg.INK, width=1.2))
    parts.append(svg.x_axis(frame, values, "difference [points]" if frame.width > 105 else "[points]"))
    for index, verdict in enumerate(shown):
        if verdict is not None:
            parts.append(_forest_row(frame, verdict, frame.top + row * index + row / 2, said))
    return "".join(parts)


def _forest_row(frame: Frame, verdict: Verdict, y: float, said: float) -> str:
    low, estimate, high = (
        100 * v for v in (verdict.difference.low, verdict.difference.estimate, verdict.difference.high)
    )
    colour = OPEN if not verdict.excludes_zero else AHEAD if verdict.ahead else BEHIND
    spread = f"{low:+.2f} to {high:+.2f}" if verdict.judged else "spread not known"
    where = verdict.family or "all families"
    hover = f"{verdict.policy} − {verdict.other}, {where}: {estimate:+.2f} points ({spread}), {verdict.cells} cells"
    if not frame.x_low <= estimate <= frame.x_high:
        parts = [_arrow(frame, y, colour, hover, right=estimate > 0.0)]
    else:
        ends = [(frame.x(min(max(limit, frame.x_low), frame.x_high)), y) for limit in (low, high)]
        shape = "circle" if verdict.excludes_zero else "ring"
        mark = svg.mark(frame.x(estimate), y, colour, shape=shape, size=4.5, title=hover)
        parts = [svg.line(ends, colour, width=3), mark]
    if said == FIGURES_PX:
        short = f"{low:+.1f} to {high:+.1f}" if verdict.judged else "–"
        parts.append(svg.text(frame.right + said - 84, y + 4, f"{estimate:+.2f}", anchor="end", kind="legend"))
        parts.append(svg.text(frame.right + said - 74, y + 4, short, kind="small"))
    elif said > 0.0:
        parts.append(svg.text(frame.right + said, y + 4, f"{estimate:+.2f}", anchor="end"))
    return "".join(parts)


def _arrow(frame: Frame, y: float, colour: str, hover: str, *, right: bool) -> str:
    x, turn = (frame.right, 1.0) if right else (frame.left, -1.0)
    tip = f"M{svg.number(x)} {svg.number(y)}l{-9 * turn:g} -5v10z"
    stem = svg.line([(x - 22 * turn, y), (x - 8 * turn, y)], colour, width=3)
    return f'{stem}<path d="{tip}" fill="{colour}">{svg.hover(hover)}</path>'


def energy_stacks(study: Study) -> str:
    """Return a bar for each policy, by harvest ratio: where the harvest went, as shares of it."""
    groups = tally.by_ratio(study)
    stacks = {
        title: {policy: tally.energy_shares(study.of(policy, cells)) for policy in study.policies}
        for title, cells in groups.items()
    }
    used = {name for stack in stacks.values() for shares in stack.values() for name in shares}
    entries = {name: STACK_COLOURS[name] for name in (*ACCOUNTS, "left in the store") if name in used}
    left = name_px(study.policies)
    head, taken = wrapped_legend(entries, left, 4, WIDTH - left)
    top, row = taken + 34, 26.0
    peak = max((sum(shares.values()) for stack in stacks.values() for shares in stack.values()), default=1.0)
    pitch, parts = (WIDTH - left) / len(groups), [head]
    for index, policy in enumerate(study.policies):
        parts.append(svg.text(left - 14, top + row * index + 17, short(policy), anchor="end", kind="name"))
    for column, (title, stack) in enumerate(stacks.items()):
        frame = Frame(
            left=left + pitch * column, top=top, width=pitch - 26, height=row * len(stack),
            x_low=0.0, x_high=100.0 * max(peak, 1.0), y_low=0.0, y_high=1.0,
        )  # fmt: skip
        parts.append(_stack_column(frame, stack, row, title))
    height = top + row * len(study.policies) + 46
    return svg.drawing(WIDTH, height, "".join(parts), summary="Where the harvest went, by policy")


def _stack_column(frame: Frame, stack: Mapping[str, Mapping[str, float]], row: float, title: str) -> str:
    count = 5 if frame.width > 200 else 2
    parts = [svg.x_axis(frame, svg.ticks(0.0, frame.x_high, count), "share of the harvest [%]")]
    if title:
        parts.append(svg.text(frame.left, frame.top - 10, title, kind="name"))
    for index, (policy, shares) in enumerate(stack.items()):
        y, done = frame.top + row * index + 3, 0.0
        for name in (*ACCOUNTS, "left in the store"):
            value = 100.0 * shares.get(name, 0.0)
            if value <= 0.0:
                continue
            x = frame.x(done)
            hover = f"{policy}: {name} {value:.1f} % of the harvest"
            parts.append(svg.rect(x, y, frame.x(done + value) - x, row - 6, STACK_COLOURS[name], title=hover))
            done += value
    edge = frame.x(100.0)
    parts.append(svg.line([(edge, frame.top - 2), (edge, frame.bottom)], svg.INK, width=1.4))
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One front: its cells' points, and the mean of the clairvoyant bound."""

    title: str
    points: Sequence[Point]
    bound: float | None


def fronts(study: Study) -> str:
    """Return score against load energy per arrived event, a panel a harvest ratio, with the front drawn."""
    panels = [
        _Panel(title=title, points=tally.points(study, cells), bound=tally.bound(study, cells))
        for title, cells in tally.by_ratio(study).items()
    ]
    panels = [panel for panel in panels if panel.points]
    colours = policy_colours(study)
    across = min(len(panels), 3) or 1
    pitch, tall = WIDTH / across, 340.0 if across > 1 else 380.0
    head, taken = wrapped_legend({short(policy): colours[policy] for policy in study.policies}, 4, 4, WIDTH - 8)
    parts = [head]
    for index, panel in enumerate(panels):
        low, high = _score_range(panel)
        peak = max(point.energy_j for point in panel.points)
        frame = Frame(
            left=pitch * (index % across) + 46, top=taken + 60 + (tall + 96) * (index // across), width=pitch - 66,
            height=tall, x_low=0.0, x_high=peak * 1.08 or 1.0, y_low=low, y_high=high,
        )  # fmt: skip
        parts.append(_front_panel(frame, panel, colours))
    height = taken + 12 + (tall + 96) * (-(-len(panels) // across))
    return svg.drawing(WIDTH, height, "".join(parts), summary="Score against energy per arrived event, by policy")


def _score_range(panel: _Panel) -> tuple[float, float]:
    values = [100 * point.score for point in panel.points]
    values += [] if panel.bound is None else [100 * panel.bound]
    margin = max((max(values) - min(values)) * 0.1, 1.0)
    return max(0.0, min(values) - margin), min(100.0, max(values) + margin)


def _front_panel(frame: Frame, panel: _Panel, colours: Mapping[str, str]) -> str:
    scale, unit = energy_unit(frame.x_high)
    energies = svg.ticks(0.0, frame.x_high * scale, 4)
    parts = [svg.y_axis(frame, svg.ticks(frame.y_low, frame.y_high, 6), "")]
    parts.append(svg.text(frame.left - 8, frame.top - 28, panel.title, kind="name") if panel.title else "")
    parts.append(svg.text(frame.left - 8, frame.top - 11, "correct on time / arrived [%]", kind="axis"))
    names = [svg.label(value) for value in energies]
    positions = [value / scale for value in energies]
    parts.append(svg.x_axis(frame, positions, f"load energy per arrived event [{unit}]", as_label=names))
    spots = {point.policy: (frame.x(point.energy_j), frame.y(100 * point.score)) for point in panel.points}
    taken = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in spots.values()]
    if panel.bound is not None:
        y = frame.y(100 * panel.bound)
        parts.append(svg.line([(frame.left, y), (frame.right, y)], svg.INK, width=1.2, dash="5 4"))
        parts.append(svg.text(frame.left + 6, y - 6, f"oracle-energy {100 * panel.bound:.1f} %", kind="small"))
        taken.append(Box(frame.left, y - 18, frame.left + 130, y + 2))
    best = tally.front(panel.points)
    corners = svg.steps([spots[point.policy] for point in best])
    corners.append((frame.right, corners[-1][1]))
    parts.append(svg.line(corners, "#9aa7b5", width=1.6))
    taken += [
        Box(min(x0, x1) - 2, min(y0, y1) - 2, max(x0, x1) + 2, max(y0, y1) + 2)
        for (x0, y0), (x1, y1) in itertools.pairwise(corners)
    ]
    for point in panel.points:
        x, y = spots[point.policy]
        shape = "diamond" if is_adaptive(point.policy) else "square"
        hover = f"{point.policy}: {100 * point.score:.2f} % correct on time, {format_quantity(point.energy_j, 'J')}"
        parts.append(svg.mark(x, y, colours[point.policy], shape=shape, size=6, title=hover))
    for point in best:
        x, y = spots[point.policy]
        label_x, label_y, anchor = free_place(x, y, 7.6 * len(short(point.policy)), taken, frame)
        parts.append(svg.text(label_x, label_y, short(point.policy), anchor=anchor, kind="name"))
    return "".join(parts)


def energy_unit(peak_j: float) -> tuple[float, str]:
    """Return the factor and the unit in which ``peak_j`` is one or more."""
    for scale, unit in ((1.0, "J"), (1e3, "mJ"), (1e6, "µJ")):
        if peak_j * scale >= 1.0:
            return scale, unit
    return 1e9, "nJ"


def cells_named(cells: Sequence[Cell]) -> str:
    """Return a number of cells in words."""
    return f"{len(cells):,} cell" + ("" if len(cells) == 1 else "s")
