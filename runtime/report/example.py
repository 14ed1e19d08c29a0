# SPDX-License-Identifier: Apache-2.0
"""The chart of one example cell over time: harvest, and for each policy its voltage, its price and its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from joulet.errors import DataError
from joulet.records import PriceMap, StepRecord
from joulet.report import svg
from joulet.report.charts import SERIES, WIDTH, wrapped_legend
from joulet.report.day import hours, outages, power_unit, thin
from joulet.report.heat import price_unit
from joulet.report.svg import Frame

BINS = 220
LEFT = 164.0
VOLTS, PRICE, ROW, GAP = 46.0, 26.0, 11.0, 24.0
SPANS = 450

Timelines = Mapping[str, Sequence[StepRecord]]
Prices = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleNotes:
    """What the steps of an example cell do not say themselves.

    Attributes
    ----------
    name
        The cell in one line.
    clock_start_s
        Time of day at the start [s].
    path_names, exit_names
        As in the container; indices are shown where they are missing.
    prices
        Price that a policy saw, as (time [s], price [1/J]) in order of time; for some policies, or none.
    """

    name: str = ""
    clock_start_s: float = 0.0
    path_names: tuple[str, ...] = ()
    exit_names: tuple[str, ...] = ()
    prices: Prices = field(default_factory=dict)


def timelines_chart(timelines: Timelines, notes: ExampleNotes) -> str:
    """Return the chart of ``timelines``, all of one cell; a policy without steps is left out."""
    shown = {name: steps for name, steps in timelines.items() if steps}
    first = next(iter(shown.values()))
    span_s = max(steps[-1].time_s for steps in shown.values()) or 1.0
    exits = 1 + max((s.exit for steps in shown.values() for s in steps if s.exit is not None), default=-1)
    paths = sorted({s.path for steps in shown.values() for s in steps if s.path is not None})
    colours = {path: SERIES[(3 + 3 * place) % len(SERIES)] for place, path in enumerate(paths)}
    entries = {f"answered on {_name(notes.path_names, path, 'path')}": colours[path] for path in paths}
    head, taken = wrapped_legend({**entries, "no power": "#cdd4dc", "brown-out": svg.ALARM}, LEFT, 2, WIDTH - LEFT)
    harvest = _frame(span_s, taken + 8, 60.0, 0.0, max(s.harvest_power_w for s in first) * 1.08 or 1e-6)
    parts, top = [head, _harvest(first, harvest)], harvest.bottom + 20
    low_v, high_v = _range([s.store_voltage_v for steps in shown.values() for s in steps])
    for name, steps in shown.items():
        volts = _frame(span_s, top, VOLTS, low_v, high_v)
        parts += [svg.text(4, top + 14, _fitting(name), kind="name"), _voltage(steps, volts)]
        top = volts.bottom + 5
        labels = _Labels(policy=name, notes=notes)
        if notes.prices.get(name):
            parts.append(_price(notes.prices[name], _frame(span_s, top, PRICE, 0.0, 1.0)))
            top += PRICE + 5
        parts.append(_answers(steps, _frame(span_s, top, ROW * exits, 0.0, 1.0), exits, colours, labels))
        top += ROW * exits + GAP
    bottom = _frame(span_s, top - GAP + 2, 2.0, 0.0, 1.0)
    values, names, title = hours(span_s, notes.clock_start_s)
    parts.append(svg.x_axis(bottom, values, title, as_label=names))
    summary = f"Voltage, price and answers over time for {len(shown)} policies"
    return svg.drawing(WIDTH, bottom.bottom + 42, "".join(parts), summary=summary)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """Names for the marks of one policy."""

    policy: str
    notes: ExampleNotes

    def exit(self, index: int) -> str:
        """Return the name of an exit."""
        return _name(self.notes.exit_names, index, "exit")

    def path(self, index: int) -> str:
        """Return the name of a path."""
        return _name(self.notes.path_names, index, "path")


def _fitting(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:12]}…"


def _name(names: Sequence[str], index: int, kind: str) -> str:
    return names[index] if index < len(names) else f"{kind} {index}"


def _frame(span_s: float, top: float, height: float, low: float, high: float) -> Frame:
    return Frame(
        left=LEFT, top=top, width=WIDTH - LEFT - 20, height=height,
        x_low=0.0, x_high=span_s, y_low=low, y_high=high if high > low else low + 1.0,
    )  # fmt: skip


def _range(values: Sequence[float]) -> tuple[float, float]:
    margin = max(0.06 * (max(values) - min(values)), 0.02)
    return min(values) - margin, max(values) + margin


def _harvest(steps: Sequence[StepRecord], frame: Frame) -> str:
    scale, unit = power_unit(frame.y_high)
    ticks = svg.ticks(0.0, frame.y_high * scale, 3)
    corners = svg.steps([(frame.x(x), frame.y(y)) for x, y in thin(steps, "harvest_power_w", SPANS)])
    return "".join(
        (
            svg.y_axis(frame, [tick / scale for tick in ticks], "", as_label=[svg.label(tick) for tick in ticks]),
            svg.area(corners, frame.bottom, svg.SUN_FILL),
            svg.line(corners, svg.SUN, width=1.4),
            svg.text(4, frame.top + 14, "harvest", kind="name"),
            svg.text(4, frame.top + 31, f"before converter [{unit}]", kind="small"),
        )
    )


def _voltage(steps: Sequence[StepRecord], frame: Frame) -> str:
    ticks = svg.ticks(frame.y_low, frame.y_high, 2)
    parts = [svg.y_axis(frame, ticks, "", as_label=[f"{svg.label(tick)} V" for tick in ticks])]
    for begin, end in outages(steps, frame.x_high):
        x = frame.x(begin)
        hover = f"no power for {(end - begin) / 60:.1f} min"
        parts.append(
            svg.rect(x, frame.top, max(frame.x(end) - x, 0.6), frame.height, "#cdd4dc", opacity=0.6, title=hover)
        )
    points = [(frame.x(x), frame.y(y)) for x, y in thin(steps, "store_voltage_v", SPANS)]
    parts.append(svg.line(points, svg.MUTED, width=1.3))
    seen = sorted({round(frame.x(step.time_s)) for step in steps if step.event == "brownout"})
    parts += [svg.line([(x, frame.bottom - 7), (x, frame.bottom)], svg.ALARM, width=1.6) for x in seen]
    return "".join(parts)


def _price(prices: Sequence[tuple[float, float]], frame: Frame) -> str:
    peak = max(price for _, price in prices)
    factor, unit = price_unit(peak)
    shown = Frame(
        left=frame.left, top=frame.top, width=frame.width, height=frame.height,
        x_low=frame.x_low, x_high=frame.x_high, y_low=0.0, y_high=peak if peak > 0.0 else 1.0,
    )  # fmt: skip
    step = -(-len(prices) // (2 * SPANS))
    points = svg.steps([(shown.x(time_s), shown.y(max(price, 0.0))) for time_s, price in prices[::step]])
    said = f"{peak / factor:.3g} / {unit}"
    return "".join(
        (
            svg.area(points, shown.bottom, "#9c2f86", opacity=0.16),
            svg.line(points, "#9c2f86", width=1.2),
            svg.text(LEFT - 8, shown.top + 10, said, anchor="end", kind="small"),
            svg.text(4, shown.top + 18, "price", kind="small"),
        )
    )


def _answers(steps: Sequence[StepRecord], frame: Frame, exits: int, colours: Mapping[int, str], labels: _Labels) -> str:
    """Return a row for each exit: a mark where answers came from there, in the colour of the path that gave most."""
    found: dict[tuple[int, int], Counter[int]] = {}
    for step in steps:
        if step.exit is not None:
            place = min(int(BINS * step.time_s / frame.x_high), BINS - 1)
            found.setdefault((place, step.exit), Counter())[step.path or 0] += 1
    totals: Counter[int] = Counter()
    for (place, _), counts in found.items():
        totals[place] += counts.total()
    parts = [svg.rect(frame.left, frame.top, frame.width, frame.height, "#f5f7f9")] if exits else []
    for index in range(exits):
        y = frame.top + ROW * (exits - index) - 2
        parts.append(svg.text(LEFT - 8, y, labels.exit(index), anchor="end", kind="small"))
    wide, drawn = frame.width / BINS, dict[int, list[str]]()
    for (place, index), counts in found.items():
        # the height shows the share of the answers, so that a rare exit is seen and does not shout
        tall = max((ROW - 2) * (counts.total() / totals[place]) ** 0.5, 1.5)
        x, y = frame.left + wide * place, frame.top + ROW * (exits - index) - 1 - tall
        box = f"M{svg.number(x)} {svg.number(y)}h{wide:.1f}v{tall:.1f}h-{wide:.1f}z"
        drawn.setdefault(counts.most_common(1)[0][0], []).append(box)
    for path, boxes in sorted(drawn.items()):
        hover = svg.hover(f"{labels.policy}: answered on {labels.path(path)}")
        parts.append(f'<path d="{"".join(boxes)}" fill="{colours[path]}">{hover}</path>')
    return "".join(parts)


def price_along(
    steps: Sequence[StepRecord],
    maps: Sequence[PriceMap],
    *,
    capacitor_f: float,
    empty_v: float,
    clock_start_s: float = 0.0,
) -> list[tuple[float, float]]:
    """Return the price of a joule along a run, as ``maps`` of one policy tell it: (time [s], price [1/J]).

    Of the maps the one with the closest harvest is read, between its energies linearly. Steps know the harvest before
    the converter, so this is a reading for the eye; a policy that says its price itself is to be preferred.

    Parameters
    ----------
    steps
        The timeline.
    maps
        At least one; they hold for different harvests.
    capacitor_f, empty_v
        Store [F] and the voltage at which its usable energy is zero [V].
    clock_start_s
        Time of day at the start [s].

    Raises
    ------
    DataError
        If there is no map.
    """
    if not maps:
        raise DataError("prices along a run need at least one price map; export one from the policy")
    found = []
    for step in steps:
        chosen = min(maps, key=lambda m: abs(m.harvest_w - step.harvest_power_w))
        usable_j = 0.5 * capacitor_f * max(step.store_voltage_v**2 - empty_v**2, 0.0)
        slot = int(np.searchsorted(chosen.slot_s, (clock_start_s + step.time_s) % 86_400.0, side="right")) - 1
        price = np.interp(usable_j, chosen.energy_j, chosen.price_per_j[max(slot, 0)])
        found.append((step.time_s, float(price)))
    return found
