# SPDX-License-Identifier: Apache-2.0
"""A roofline as PNG: how fast each op runs, against how many MACs there are to a byte moved, under what the core could do."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from joulet.report.canvas import STYLE, figure_of, matplotlib_module, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"conv": "#1f6fb4", "conv1x1": "#5aa9e6", "dwconv": "#e07a1f", "fc": "#3a9d5d"}
_OTHER, _INK, _PALE = "#8a94a0", "#43536b", "#eef3f8"
_NEAR = 1.06  # ops of one class that differ by less share a mark
_LEAST_NAMED = 0.02  # of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofPoint:
    """One op that multiplies: what it is called, its class of work, MACs to a byte moved, its rate, and its share of the time."""

    name: str
    work: str
    macs_per_byte: float
    rate: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """What a core could do at most.

    Attributes
    ----------
    unit, bytes_unit
        Of rates, such as ``MAC/cycle`` and ``bytes/cycle``: of the same time.
    peak
        MACs in that unit.
    bytes_rate
        Bytes moved in that unit; None where it is not known.
    source
        Where the figures come from.
    """

    unit: str
    bytes_unit: str
    peak: float
    bytes_rate: float | None
    source: str

    def at(self, macs_per_byte: float) -> float:
        """Return the most that is possible with so many MACs to a byte."""
        return self.peak if self.bytes_rate is None else min(self.peak, self.bytes_rate * macs_per_byte)


@dataclass(slots=True)
class _Mark:
    """Ops of one class that lie on one another; the place is that of the first."""

    first: RoofPoint
    count: int
    share: float


def roofline_png(title: str, points: Sequence[RoofPoint], roof: Roof) -> bytes:
    """Return the plot.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    ValueError
        Without points.
    """
    if not points:
        raise ValueError("no op multiplies: there is nothing to plot")
    marks = _marks(points)
    matplotlib = matplotlib_module()
    from matplotlib.collections import PathCollection

    with matplotlib.rc_context(dict(STYLE)):
        figure = figure_of(8.2, 5.4)
        axes = figure.subplots()
        low, high = _ends(points, roof)
        bottom = min(min(p.rate for p in points) / 2, roof.peak / 20)
        axes.set(
            xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, roof.peak * 1.6), xlabel="MACs per byte moved",
            ylabel=roof.unit, title=title,
        )  # fmt: skip
        _draw_roof(axes, roof, low, high, bottom)
        for work in sorted({mark.first.work for mark in marks}, key=lambda work: (work not in _COLOURS, work)):
            _draw_class(axes, work, [mark for mark in marks if mark.first.work == work], roof)
        _plain_ticks(axes)
        legend = axes.legend(loc="lower right", title="area: share of the time", alignment="left")
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([45.0])
        note = textwrap.fill(f"Roof: {roof.source}", 150)
        figure.supxlabel(note, fontsize=7, color="#6b7785", x=0.01, ha="left", multialignment="left")
        return png_of(figure)


def _marks(points: Sequence[RoofPoint]) -> list[_Mark]:
    """Return points as they are drawn, the greatest share first."""
    marks: list[_Mark] = []
    for point in sorted(points, key=lambda p: -p.share):
        for mark in marks:
            ratios = (mark.first.macs_per_byte / point.macs_per_byte, mark.first.rate / point.rate)
            if mark.first.work == point.work and all(1 / _NEAR < ratio < _NEAR for ratio in ratios):
                mark.count += 1
                mark.share += point.share
                break
        else:
            marks.append(_Mark(point, 1, point.share))
    return sorted(marks, key=lambda mark: -mark.share)


def _ends(points: Sequence[RoofPoint], roof: Roof) -> tuple[float, float]:
    """Return the ends of the axis: all points, and the ridge where there is one."""
    places = [p.macs_per_byte for p in points] + ([] if roof.bytes_rate is None else [roof.peak / roof.bytes_rate])
    return min(places) / 2.2, max(places) * 4


def _draw_roof(axes: Axes, roof: Roof, low: float, high: float, bottom: float) -> None:
    x = np.geomspace(low, high, 400)
    top = np.array([roof.at(each) for each in x])
    axes.fill_between(x, bottom, top, color=_PALE, zorder=0)
    axes.plot(x, top, color=_INK, linewidth=1.6, zorder=2)
    near: dict[str, Any] = {"textcoords": "offset points", "color": _INK}
    axes.annotate(f"peak {roof.peak:.3g} {roof.unit}", (high, roof.peak), xytext=(-4, 5), ha="right", **near)
    if roof.bytes_rate is not None:
        at = low * 1.1
        axes.annotate(f"{roof.bytes_rate:.3g} {roof.bytes_unit}", (at, roof.bytes_rate * at), xytext=(8, -6), **near)


def _draw_class(axes: Axes, work: str, marks: Sequence[_Mark], roof: Roof) -> None:
    colour = _COLOURS.get(work, _OTHER)
    x, y = [mark.first.macs_per_byte for mark in marks], [mark.first.rate for mark in marks]
    tops = [roof.at(each) for each in x]
    axes.vlines(x, y, tops, color=colour, linewidth=0.8, linestyle=":", alpha=0.6, zorder=1)
    areas = [25 + 1100 * mark.share for mark in marks]
    axes.scatter(x, y, s=areas, color=colour, alpha=0.8, edgecolors="white", linewidths=0.8, label=work, zorder=3)
    for mark, area in zip(marks, areas, strict=True):
        if mark.share < _LEAST_NAMED:
            continue
        what = mark.first.name if mark.count == 1 else f"{mark.count} {work}"
        text = f"{what}\n{mark.share:.0%} of the time, {mark.first.rate / roof.at(mark.first.macs_per_byte):.0%} of the roof"
        axes.annotate(
            text, (mark.first.macs_per_byte, mark.first.rate), xytext=(4 + area**0.5 / 2, 0),
            textcoords="offset points", va="center", fontsize=7, color="#2d3846", zorder=4,
        )  # fmt: skip


def _plain_ticks(axes: Axes) -> None:
    """Write 0.2, 1, 50 rather than powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, which="major")
