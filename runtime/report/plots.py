# SPDX-License-Identifier: Apache-2.0
"""The main figures of a comparison as PNG, through matplotlib: for slides and papers, where a page cannot go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from joulet.records import ACCOUNTS, PriceMap, SimulationRecord
from joulet.report import contrast, heat, svg, tally
from joulet.report.canvas import STYLE, figure_of, matplotlib_module, png_of
from joulet.report.study import Cell, Study, is_adaptive, study_of
from joulet.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_MAPS = 3


def figures(records: Sequence[SimulationRecord], *, price_maps: Sequence[PriceMap] = ()) -> dict[str, bytes]:
    """Return PNG bytes by file name: comparison, energy, front, and price_map where there are maps.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    DataError
        As :func:`joulet.report.render_comparison`.
    """
    matplotlib = matplotlib_module()
    study = study_of(records)
    # settings of this call only; nothing of the caller's matplotlib is changed, and no window is asked for
    with matplotlib.rc_context(dict(STYLE)):
        found = {
            "comparison.png": png_of(_comparison(study)),
            "energy.png": png_of(_energy(study)),
            "front.png": png_of(_front(study)),
        }
        if price_maps:
            found["price_map.png"] = png_of(_price_maps(price_maps[:MOST_MAPS]))
    return found


def _said(name: str) -> str:
    """Return a name as matplotlib shows it as it is: no formula between dollars, no label hidden by an underscore."""
    shown = contrast.short(name).replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown


def _across(figure: Figure, labels: Sequence[str]) -> int:
    """Return how many columns of a legend the width of a figure holds."""
    longest = max((len(label) for label in labels), default=1)
    return max(int(figure.get_figwidth() / (0.55 + 0.062 * longest)), 1)


def _grid(figure: Figure, rows: int, columns: int, *, sharex: bool = False, sharey: bool = False) -> list[Axes]:
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return list(axes.ravel())


def _comparison(study: Study) -> Figure:
    """Draw bars of % of oracle-energy, or of the score where no bound is known, a panel a family."""
    panels = {family: [cell for cell in study.counted if cell.family == family] for family in study.families}
    bounded = any(tally.pct(study, policy, study.counted) is not None for policy in study.policies)
    across = min(len(panels), 4)
    down = -(-len(panels) // across)
    figure = figure_of(2.2 + 2.3 * across, 0.3 + (0.9 + 0.27 * len(study.policies)) * down)
    grid = _grid(figure, down, across, sharex=True, sharey=True)
    for axes, (family, cells) in zip(grid, panels.items(), strict=False):
        _bars(axes, study, [_height(study, policy, cells, bounded) for policy in study.policies])
        axes.set_title(f"{_said(family)}, {contrast.cells_named(cells)}")
    for spare in grid[len(panels) :]:
        spare.set_axis_off()
    grid[0].invert_yaxis()
    figure.supxlabel("% of oracle-energy, mean over cells" if bounded else "correct on time [%]", fontsize=9)
    return figure


def _bars(axes: Axes, study: Study, values: Sequence[float | None]) -> None:
    colours = contrast.policy_colours(study)
    places = np.arange(len(values))
    axes.barh(places, [value or 0.0 for value in values], color=[colours[p] for p in study.policies], height=0.72)
    for place, value in enumerate(values):
        said = "–" if value is None else f"{value:.1f}"
        axes.text((value or 0.0) + 1.2, place, said, va="center", fontsize=7.5)
    axes.set_yticks(places, [_said(policy) for policy in study.policies])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0.0, 114.0)
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x")


def _height(study: Study, policy: str, cells: Sequence[Cell], bounded: bool) -> float | None:
    if bounded:
        return tally.pct(study, policy, cells)
    score = tally.mean(record.score for record in study.of(policy, cells))
    return None if score is None else 100.0 * score


def _energy(study: Study) -> Figure:
    """Draw where the harvest went, a bar a policy, a panel a harvest ratio."""
    groups = tally.by_ratio(study)
    figure = figure_of(2.4 + 2.3 * len(groups), 1.7 + 0.27 * len(study.policies))
    names = (*ACCOUNTS, "left in the store")
    places = np.arange(len(study.policies))
    for axes, (title, cells) in zip(
        _grid(figure, 1, len(groups), sharex=True, sharey=True), groups.items(), strict=True
    ):
        shares = [tally.energy_shares(study.of(policy, cells)) for policy in study.policies]
        done = np.zeros(len(shares))
        for name in names:
            wide = np.array([100.0 * share.get(name, 0.0) for share in shares])
            if wide.any():
                axes.barh(places, wide, left=done, color=contrast.STACK_COLOURS[name], height=0.72, label=name)
            done += wide
        axes.axvline(100.0, color=svg.INK, linewidth=1.0)
        axes.set_yticks(places, [_said(policy) for policy in study.policies])
        axes.set_xticks((0, 25, 50, 75, 100), ("0", "", "50", "", "100"))
        axes.set_title(title)
        axes.tick_params(axis="y", length=0)
    figure.axes[0].invert_yaxis()
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    shown = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in shown], shown, loc="outside upper center", ncols=_across(figure, shown), fontsize=8
    )
    figure.supxlabel("share of the harvest, mean over cells [%]", fontsize=9)
    return figure


def _front(study: Study) -> Figure:
    """Draw score against load energy per arrived event, a panel a harvest ratio, with the front."""
    groups = {title: cells for title, cells in tally.by_ratio(study).items() if tally.points(study, cells)}
    colours = contrast.policy_colours(study)
    figure = figure_of(max(3.4 * len(groups), 6.4), 4.6)
    for axes, (title, cells) in zip(_grid(figure, 1, len(groups) or 1), groups.items(), strict=False):
        points = tally.points(study, cells)
        scale, unit = contrast.energy_unit(max(point.energy_j for point in points))
        best = tally.front(points)
        edge = max(point.energy_j for point in points) * 1.06 * scale
        line = [(point.energy_j * scale, 100.0 * point.score) for point in best]
        xs, ys = zip(*line, (edge, line[-1][1]), strict=True)
        axes.step(xs, ys, where="post", color="#9aa7b5", linewidth=1.3, zorder=1)
        for point in points:
            axes.plot(
                point.energy_j * scale, 100.0 * point.score, linestyle="none", color=colours[point.policy],
                marker="D" if is_adaptive(point.policy) else "s", markersize=6, markeredgecolor="white",
                label=_said(point.policy),
            )  # fmt: skip
        bound = tally.bound(study, cells)
        if bound is not None:
            axes.axhline(100.0 * bound, color=svg.INK, linewidth=1.0, linestyle=(0, (5, 4)), label="oracle-energy")
        axes.set_xlim(0.0, edge)
        axes.set_title(title)
        axes.locator_params(nbins=6)
        axes.set_xlabel(f"load energy per arrived event [{unit}]")
        axes.grid()
    if groups:
        figure.axes[0].set_ylabel("correct on time / arrived [%]")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=_across(figure, labels), fontsize=8)
    return figure


def _price_maps(maps: Sequence[PriceMap]) -> Figure:
    """Draw price and chosen point of each map, a row a map, in the colours of the page."""
    for price_map in maps:
        heat.check_map(price_map)
    scale = heat.price_scale(maps)
    figure = figure_of(9.0, 0.8 + 2.9 * len(maps))
    grid = figure.subplots(len(maps), 2, squeeze=False)
    for row, price_map in enumerate(maps):
        _price_axes(figure, grid[row][0], price_map, scale)
        _point_axes(grid[row][1], price_map)
    return figure


def _mesh(axes: Axes, price_map: PriceMap, levels: Any, colours: Mapping[int, str], title: str) -> Any:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    keys = sorted(colours)
    factor, unit = contrast.energy_unit(float(price_map.energy_j[-1]))
    hours = heat.slot_borders(price_map) / 3600.0
    energies = heat.borders(price_map.energy_j, 0.0, float(price_map.energy_j[-1])) * factor
    norm = BoundaryNorm(np.arange(keys[0] - 0.5, keys[-1] + 1.0), len(keys))
    mesh = axes.pcolormesh(
        hours, energies, np.asarray(levels).T, cmap=ListedColormap([colours[key] for key in keys]), norm=norm
    )
    axes.set_title(title)
    axes.set_xlabel("time of day [h]")
    axes.set_xticks(range(int(np.ceil(hours[0])), int(hours[-1]) + 1, 4))
    axes.set_ylabel(f"usable energy [{unit}]")
    return mesh


def _price_axes(figure: Figure, axes: Axes, price_map: PriceMap, scale: heat.PriceScale) -> None:
    colours = {level: scale.colour(level) for level in range(heat.LEVELS + 1)}
    where = f"{_said(price_map.policy)}, {format_quantity(price_map.harvest_w, 'W')} into the store"
    mesh = _mesh(axes, price_map, scale.levels(price_map.price_per_j), colours, where)
    factor, unit = heat.price_unit(float(scale.borders[-1]))
    bar = figure.colorbar(mesh, ax=axes, ticks=[0.5 + level for level in range(0, heat.LEVELS + 1, 6)])
    bar.ax.set_yticklabels([f"{scale.borders[level] / factor:.3g}" for level in range(0, heat.LEVELS + 1, 6)])
    bar.ax.minorticks_off()
    bar.set_label(f"correct answers per {unit}")


def _point_axes(axes: Axes, price_map: PriceMap) -> None:
    from matplotlib.patches import Patch

    colours = heat.point_colours(price_map.point_names)
    _mesh(axes, price_map, price_map.point, colours, "chosen operating point")
    names = {-1: "none", **dict(enumerate(price_map.point_names))}
    present = [int(index) for index in np.unique(price_map.point)]
    patches = [Patch(color=colours[index], label=_said(names[index])) for index in present]
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
