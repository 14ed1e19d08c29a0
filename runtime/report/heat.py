# SPDX-License-Identifier: Apache-2.0
"""Heat maps of a value-based policy over usable energy and time of day: the price of a joule and the point it aims at.

Cells of one colour are one path, merged along the energy axis, so that a map of thousands of cells stays small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.records import PriceMap
from joulet.report import svg
from joulet.report.charts import SERIES, wrapped_legend
from joulet.report.contrast import energy_unit
from joulet.report.svg import Frame
from joulet.units import format_quantity

CHEAP, MIDDLE, DEAR = "#f1f4d9", "#4da3a8", "#123a63"
WORTHLESS = "#ffffff"
NOTHING = "#dfe4ea"
LEVELS = 24
# beyond this factor between the dearest and the cheapest tenth, the scale of prices is logarithmic
WIDE = 30.0
# a logarithmic scale ends this factor below the dearest price; what is cheaper has the lightest colour
DECADES = 1e4
DAY_S = 86_400.0
MOST_ROWS = 72

_Levels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceScale:
    """Borders between price levels, rising [1/J]; level 0 is for prices of zero and less."""

    borders: npt.NDArray[np.float64]
    logarithmic: bool

    def levels(self, price_per_j: npt.NDArray[np.float64]) -> _Levels:
        """Return the level of each price, 0 to :data:`LEVELS`."""
        inside = np.clip(np.searchsorted(self.borders, price_per_j, side="right"), 1, LEVELS)
        return np.where(price_per_j > 0.0, inside, 0).astype(np.int64)

    def colour(self, level: int) -> str:
        """Return the colour of a level."""
        if level == 0:
            return WORTHLESS
        place = 2.0 * (level - 1) / (LEVELS - 1)
        return svg.mix(CHEAP, MIDDLE, place) if place < 1.0 else svg.mix(MIDDLE, DEAR, place - 1.0)


def price_scale(maps: Sequence[PriceMap]) -> PriceScale:
    """Return one scale for all ``maps``, so that their colours can be compared."""
    prices = np.concatenate([m.price_per_j.ravel() for m in maps])
    positive = prices[prices > 0.0]
    if positive.size == 0:
        return PriceScale(borders=np.linspace(0.0, 1.0, LEVELS + 1), logarithmic=False)
    low, high = float(np.quantile(positive, 0.02)), float(positive.max())
    wide = float(np.quantile(positive, 0.9)) > WIDE * float(np.quantile(positive, 0.1))
    if wide and high > low:
        return PriceScale(borders=np.geomspace(max(low, high / DECADES), high, LEVELS + 1), logarithmic=True)
    return PriceScale(borders=np.linspace(0.0, high, LEVELS + 1), logarithmic=False)


def check_map(price_map: PriceMap) -> None:
    """Raise DataError unless the arrays of a map fit together, rise along both axes and are finite."""
    n_t, n_e = price_map.slot_s.size, price_map.energy_j.size
    shapes = {price_map.price_per_j.shape, price_map.point.shape}
    if shapes != {(n_t, n_e)} or n_t < 1 or n_e < 2:
        raise DataError(f"price map of '{price_map.policy}': arrays are not ({n_t} slots, {n_e} energies), 2 or more")
    rising = np.all(np.diff(price_map.energy_j) > 0.0) and np.all(np.diff(price_map.slot_s) > 0.0)
    if not (rising and np.all(np.isfinite(price_map.price_per_j)) and np.all(np.isfinite(price_map.energy_j))):
        raise DataError(f"price map of '{price_map.policy}': energies and slots must rise, and all values be finite")
    if int(price_map.point.max()) >= len(price_map.point_names) or int(price_map.point.min()) < -1:
        raise DataError(f"price map of '{price_map.policy}': a point has no name; give one for each index")


def borders(values: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """Return the limits of the cells around rising ``values``: half way between them, ``low`` and ``high`` outside."""
    return np.concatenate([[low], 0.5 * (values[1:] + values[:-1]), [high]])


def slot_borders(price_map: PriceMap) -> npt.NDArray[np.float64]:
    """Return the beginnings of the slots and the end of the last one [s]."""
    slots = price_map.slot_s
    last = 2.0 * slots[-1] - slots[-2] if slots.size > 1 else DAY_S
    return np.append(slots, max(min(float(last), DAY_S), float(slots[-1]) + 1.0))


def thin_rows(price_map: PriceMap) -> npt.NDArray[np.int64]:
    """Return the energies to show: all, or about :data:`MOST_ROWS` at even distances."""
    energies = price_map.energy_j
    if energies.size <= MOST_ROWS:
        return np.arange(energies.size)
    wanted = np.linspace(float(energies[0]), float(energies[-1]), MOST_ROWS)
    return np.unique(np.argmin(np.abs(energies[None, :] - wanted[:, None]), axis=1))


def price_chart(price_map: PriceMap, scale: PriceScale) -> str:
    """Return the price over time of day and usable energy, darker where a joule is dearer."""
    names = {level: _price_name(scale, level) for level in range(LEVELS + 1)}
    colours = {level: scale.colour(level) for level in range(LEVELS + 1)}
    title = f"{price_map.policy}, {format_quantity(price_map.harvest_w, 'W')} into the store: price of a joule"
    return _chart(price_map, scale.levels(price_map.price_per_j), colours, names, title, _price_legend(scale))


def point_chart(price_map: PriceMap) -> str:
    """Return the chosen operating point over time of day and usable energy."""
    names = {-1: "none", **dict(enumerate(price_map.point_names))}
    title = f"{price_map.policy}, {format_quantity(price_map.harvest_w, 'W')} into the store: chosen point"
    return _chart(price_map, price_map.point.astype(np.int64), point_colours(price_map.point_names), names, title)


def _point_legend(price_map: PriceMap, width: float) -> tuple[str, float]:
    colours = point_colours(price_map.point_names)
    names = {-1: "none", **dict(enumerate(price_map.point_names))}
    present = {names[int(index)]: colours[int(index)] for index in np.unique(price_map.point)}
    return wrapped_legend(present, 56, 22, width - 66)


def point_colours(names: Sequence[str]) -> dict[int, str]:
    """Return a colour for each point: one hue a path, darker for a later exit (``path@exit``); −1 is grey."""
    paths: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        paths.setdefault(name.rpartition("@")[0] or name, []).append(index)
    hues = ("#2f5fc4", "#c2562d", "#4a8a2a", "#9c2f86", "#c79a00", "#0b7f86", *SERIES)
    colours = {-1: NOTHING}
    for place, members in enumerate(paths.values()):
        hue = hues[place % len(hues)]
        for order, index in enumerate(members):
            share = (order + 1) / len(members)
            colours[index] = svg.mix("#ffffff", hue, 0.3 + 0.7 * share) if len(members) > 1 else hue
    return colours


def _price_name(scale: PriceScale, level: int) -> str:
    if level == 0:
        return "no price"
    factor, unit = price_unit(float(scale.borders[-1]))
    low, high = (float(scale.borders[level - 1 + i]) / factor for i in (0, 1))
    return f"{low:.3g} to {high:.3g} correct answers per {unit}"


def price_unit(peak_per_j: float) -> tuple[float, str]:
    """Return what to divide a price [1/J] by, and the unit that it is then per; the peak is below a thousand."""
    for factor, unit in ((1.0, "J"), (1e3, "mJ"), (1e6, "µJ")):
        if peak_per_j < 1e3 * factor:
            return factor, unit
    return 1e9, "nJ"


def _price_legend(scale: PriceScale) -> str:
    factor, unit = price_unit(float(scale.borders[-1]))
    left, step, parts = 56.0, 8.0, []
    for level in range(1, LEVELS + 1):
        parts.append(svg.rect(left + step * (level - 1), 24, step + 0.3, 12, scale.colour(level)))
    for level in (0, LEVELS // 2, LEVELS):
        value = f"{float(scale.borders[level]) / factor:.3g}"
        parts.append(svg.text(left + step * level, 50, value, anchor="middle", kind="small"))
    note = f"correct answers per {unit}" + (", log scale" if scale.logarithmic else "")
    parts.append(svg.text(left + step * LEVELS + 14, 34, note, kind="legend"))
    return "".join(parts)


def _chart(
    price_map: PriceMap,
    levels: _Levels,
    colours: Mapping[int, str],
    names: Mapping[int, str],
    title: str,
    head: str = "",
) -> str:
    """Return a map below ``head``, or below the legend of points; two maps of one pair are of one height."""
    width, tall = 505.0, 260.0
    entries, taken = _point_legend(price_map, width)
    slots = slot_borders(price_map)
    frame = Frame(
        left=56, top=max(taken, 34.0) + 50, width=width - 68, height=tall, x_low=float(slots[0]), x_high=float(slots[-1]),
        y_low=0.0, y_high=float(price_map.energy_j[-1]),
    )  # fmt: skip
    parts = [svg.text(0, 14, title, kind="name"), head or entries]
    parts.append(_patches(frame, price_map, levels, colours, names))
    parts.append(_axes(frame))
    return svg.drawing(width, frame.bottom + 44, "".join(parts), summary=title)


def _axes(frame: Frame) -> str:
    scale, unit = energy_unit(frame.y_high)
    values = svg.ticks(0.0, frame.y_high * scale, 5)
    parts = [svg.text(frame.left - 8, frame.y(value / scale) + 4, svg.label(value), anchor="end") for value in values]
    parts.append(svg.text(4, frame.top - 10, f"usable energy [{unit}]", kind="axis"))
    every = 4 * 3600 if frame.x_high - frame.x_low > 12 * 3600 else 2 * 3600
    hours = [float(s) for s in range(0, int(DAY_S) + 1, every) if frame.x_low <= s <= frame.x_high]
    clock = [f"{int(second // 3600):02d}:00" for second in hours]
    parts.append(svg.x_axis(frame, hours, "time of day", as_label=clock))
    return "".join(parts)


def _patches(
    frame: Frame, price_map: PriceMap, levels: _Levels, colours: Mapping[int, str], names: Mapping[int, str]
) -> str:
    """Return one path for each level: its rectangles, merged along the energy axis."""
    rows = thin_rows(price_map)
    edges = borders(price_map.energy_j[rows], 0.0, float(price_map.energy_j[-1]))
    ys = [frame.y(float(edge)) for edge in edges]
    xs = [frame.x(float(edge)) for edge in slot_borders(price_map)]
    drawn: dict[int, list[str]] = {}
    for column in range(levels.shape[0]):
        start = 0
        for level, run in itertools.groupby(levels[column, rows].tolist()):
            stop = start + len(list(run))
            # a hair wider and taller, so that no seam shows between neighbours
            wide, high = xs[column + 1] - xs[column] + 0.3, ys[start] - ys[stop] + 0.3
            corner = f"M{svg.number(xs[column])} {svg.number(math.floor(10 * ys[stop]) / 10)}"
            drawn.setdefault(level, []).append(f"{corner}h{wide:.1f}v{high:.1f}h-{wide:.1f}z")
            start = stop
    return "".join(
        f'<path d="{"".join(drawn[level])}" fill="{colours[level]}" shape-rendering="crispEdges">{svg.hover(names[level])}</path>'
        for level in sorted(drawn)
    )
