# SPDX-License-Identifier: Apache-2.0
"""The charts of a report. Each takes runs by the name they are shown under and returns one ``<svg>``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulet.records import ACCOUNTS, RunRecord
from joulet.report import svg
from joulet.report.svg import Frame
from joulet.units import format_quantity

Runs = Mapping[str, RunRecord]

WIDTH = 1040.0
SERIES = (
    "#64707f", "#a5702c", "#0b7f86", "#2f5fc4", "#9c2f86", "#4a8a2a", "#c2562d", "#5b4bb5",
    "#c79a00", "#d0679a", "#5aa7c7", "#7a2e2e",
)  # fmt: skip
ENERGY_COLOURS = {
    "compute": "#1c6f8c",
    "redone": "#e07a5f",
    "abandoned": "#c8372d",
    "sleep": "#8fb7c9",
    "sensing": "#5aa897",
    "policy": "#9c2f86",
    "conversion": "#e9a820",
    "leakage": "#c9a46a",
    "clipped": "#d9dee5",
    "refit": "#6b4fa8",
}
OUTCOME_NAMES = {
    "correct": "correct, on time",
    "wrong": "wrong, on time",
    "late": "late",
    "expired": "expired or dropped",
    "missed": "missed: no power",
    "lost": "cut by a brown-out",
    "pending": "still waiting",
}
OUTCOME_COLOURS = {
    "correct": "#0b7f86",
    "wrong": "#e9a820",
    "late": "#b99bd0",
    "expired": "#9aa7b5",
    "missed": "#d9dee5",
    "lost": "#c8372d",
    "pending": "#f0f2f5",
}


def series_colours(runs: Runs) -> dict[str, str]:
    """Return the colour of each run, the same in every chart."""
    return {name: SERIES[index % len(SERIES)] for index, name in enumerate(runs)}


def outcomes(run: RunRecord) -> dict[str, int]:
    """Return how many events ended in each way of :data:`OUTCOME_NAMES`; they sum up to those that arrived."""
    s = run.summary
    correct = s.correct_on_time if s.correct_on_time is not None else s.on_time
    return {
        "correct": correct,
        "wrong": s.on_time - correct,
        "late": s.late,
        "expired": s.expired + s.dropped,
        "missed": s.missed,
        "lost": s.lost,
        "pending": s.pending,
    }


def legend(entries: Mapping[str, str], x: float, y: float) -> str:
    """Return a row of colour swatches with names."""
    parts = []
    for name, colour in entries.items():
        parts.append(svg.rect(x, y - 10, 12, 12, colour))
        parts.append(svg.text(x + 18, y, name, kind="legend"))
        x += 36 + 7.0 * len(name)
    return "".join(parts)


def wrapped_legend(entries: Mapping[str, str], left: float, top: float, width: float) -> tuple[str, float]:
    """Return colour swatches with names in as many rows as ``width`` asks for, and the pixels these take."""
    parts, x, y = [], left, top + 12
    for name, colour in entries.items():
        taken = 36 + 7.0 * len(name)
        if x > left and x + taken - 18 > left + width:
            x, y = left, y + 20
        parts.append(legend({name: colour}, x, y))
        x += taken
    return "".join(parts), y + 8 - top


def outcome_bars(runs: Runs) -> str:
    """Return one bar a run: the share of its events that was answered well, badly or not at all."""
    return bars({name: outcomes(run) for name, run in runs.items()}, OUTCOME_NAMES, OUTCOME_COLOURS)


def bars(counts: Mapping[str, Mapping[str, int]], names: Mapping[str, str], colours: Mapping[str, str]) -> str:
    """Return one bar a run: of its events, the share that ended in each way.

    Parameters
    ----------
    counts
        ``counts[run][way]``, ways in the order to draw them; a way called ``correct`` has its share written in the bar.
    names, colours
        Of the ways.
    """
    left, row, top = 190.0, 40.0, 44.0
    height = top + row * len(counts) + 46
    frame = Frame(
        left=left, top=top - 8, width=WIDTH - left - 20, height=row * len(counts) + 4,
        x_low=0.0, x_high=100.0, y_low=0.0, y_high=1.0,
    )  # fmt: skip
    seen = {key for run in counts.values() for key, count in run.items() if count}
    parts = [legend({names[k]: colours[k] for k in names if k in seen}, left, 20)]
    parts.append(svg.x_axis(frame, svg.ticks(0, 100, 10), "share of the events that arrived [%]"))
    for index, (name, run) in enumerate(counts.items()):
        y = top + index * row
        parts.append(svg.text(left - 14, y + 18, name, anchor="end", kind="name"))
        total, done = max(sum(run.values()), 1), 0
        for key, count in run.items():
            if not count:
                continue
            x, width = frame.x(100.0 * done / total), frame.width * count / total
            title = f"{name}: {count:,} of {total:,} events {names[key]} ({100 * count / total:.1f} %)"
            parts.append(svg.rect(x, y, width, 26, colours[key], title=title))
            if key == "correct" and width > 56:
                parts.append(svg.text(x + 10, y + 18, f"{100 * count / total:.1f} %", kind="inbar"))
            done += count
    return svg.drawing(WIDTH, height, "".join(parts), summary="What became of the events, by policy")


def energy_stack(runs: Runs) -> str:
    """Return one bar a run: where the harvested energy went [J], the change of the store included."""
    left, row, top = 190.0, 40.0, 44.0
    height = top + row * len(runs) + 46
    harvested = max((run.ledger.harvested_pj * 1e-12 for run in runs.values()), default=1.0)
    drawn = max((_positive_stack_j(run) for run in runs.values()), default=1.0)
    scale, unit = (1.0, "J") if max(harvested, drawn) >= 1.0 else (1e3, "mJ")
    frame = Frame(
        left=left, top=top - 8, width=WIDTH - left - 20, height=row * len(runs) + 4,
        x_low=0.0, x_high=max(harvested, drawn) * scale * 1.02 or 1.0, y_low=0.0, y_high=1.0,
    )  # fmt: skip
    colours = {**ENERGY_COLOURS, "left in the store": "#4a8a2a"}
    used = [key for key in ACCOUNTS if any(run.ledger.spent_pj.get(key, 0) for run in runs.values())]
    parts = [legend({key: colours[key] for key in [*used, "left in the store"]}, left, 20)]
    parts.append(svg.x_axis(frame, svg.ticks(0, frame.x_high, 8), f"energy over the run [{unit}]"))
    for index, (name, run) in enumerate(runs.items()):
        y, done = top + index * row, 0.0
        parts.append(svg.text(left - 14, y + 18, name, anchor="end", kind="name"))
        entries = {key: run.ledger.spent_pj.get(key, 0) * 1e-12 for key in used}
        entries["left in the store"] = max(run.ledger.stored_delta_pj * 1e-12, 0.0)
        for key, energy_j in entries.items():
            if energy_j <= 0.0:
                continue
            title = f"{name}: {key} {format_quantity(energy_j, 'J')}"
            source = run.ledger.provenance.get(key)
            title += f" ({source})" if source else ""
            x0, x1 = frame.x(done * scale), frame.x((done + energy_j) * scale)
            parts.append(svg.rect(x0, y, x1 - x0, 26, colours[key], title=title))
            done += energy_j
        mark = frame.x(run.ledger.harvested_pj * 1e-12 * scale)
        parts.append(svg.line([(mark, y - 4), (mark, y + 30)], svg.INK, width=1.6))
    return svg.drawing(WIDTH, height, "".join(parts), summary="Where the energy went, by policy")


def _positive_stack_j(run: RunRecord) -> float:
    spent = sum(run.ledger.spent_pj.values())
    return (spent + max(run.ledger.stored_delta_pj, 0)) * 1e-12


def _accuracy_range(values: list[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    margin = max((high - low) * 0.12, 1.0)
    return max(0.0, low - margin), min(100.0, high + margin)


def model_front(runs: Runs) -> str:
    """Return what the model offers on the board: calibrated accuracy against energy, a line a path, a point an exit."""
    run = next(iter(runs.values()))
    paths = [path for path in run.paths if any(path.accuracy)]
    width, height = 505.0, 360.0
    energies = [energy * 1e3 for path in paths for energy in path.energy_j]
    low, high = _accuracy_range([100 * value for path in paths for value in path.accuracy])
    frame = Frame(
        left=56, top=46, width=width - 76, height=height - 104,
        x_low=0.0, x_high=max(energies, default=1.0) * 1.08 or 1.0, y_low=low, y_high=high,
    )  # fmt: skip
    parts = [svg.y_axis(frame, svg.ticks(low, high, 5), "accuracy on calibration data [%]")]
    parts.append(svg.x_axis(frame, svg.ticks(0.0, frame.x_high, 5), "energy of one inference [mJ]"))
    shown = sorted(paths, key=lambda path: ">" in path.name)
    colours = {path.name: SERIES[(2 + i) % len(SERIES)] for i, path in enumerate(p for p in shown if ">" not in p.name)}
    for path in reversed(shown):
        points = [(frame.x(e * 1e3), frame.y(100 * a)) for e, a in zip(path.energy_j, path.accuracy, strict=True)]
        colour = colours.get(path.name, "#b9c3ce")
        parts.append(svg.line(points, colour, width=2 if path.name in colours else 1.2))
        for exit_index, (x, y) in enumerate(points):
            title = (
                f"{path.name} to exit {run.exit_names[exit_index]}: "
                f"{100 * path.accuracy[exit_index]:.1f} %, {format_quantity(path.energy_j[exit_index], 'J')}, "
                f"{path.mean_bits[exit_index]:.1f} bits"
            )
            parts.append(svg.mark(x, y, colour, shape="ring", size=4.5 if path.name in colours else 3, title=title))
    entries = dict(colours)
    if len(shown) > len(colours):
        entries["switched at an exit"] = "#b9c3ce"
    parts.append(legend(entries, frame.left + 6, height - 4))
    return svg.drawing(width, height, "".join(parts), summary="Accuracy against energy, what the model offers")


def policy_front(runs: Runs) -> str:
    """Return what the day gave: correct-on-time share against mean energy per answered event, a point a run."""
    width, height = 505.0, 360.0
    colours = series_colours(runs)
    points = {
        name: (run.summary.mean_energy_j * 1e3, 100 * run.summary.score)
        for name, run in runs.items()
        if run.summary.mean_energy_j is not None and run.summary.score is not None
    }
    low, high = _accuracy_range([score for _, score in points.values()])
    frame = Frame(
        left=56, top=46, width=width - 76, height=height - 104,
        x_low=0.0, x_high=max((x for x, _ in points.values()), default=1.0) * 1.3 or 1.0, y_low=low, y_high=high,
    )  # fmt: skip
    parts = [svg.y_axis(frame, svg.ticks(low, high, 5), "correct on time / arrived [%]")]
    parts.append(svg.x_axis(frame, svg.ticks(0.0, frame.x_high, 5), "mean energy per answered event [mJ]"))
    marks = {name: (frame.x(energy_mj), frame.y(score)) for name, (energy_mj, score) in points.items()}
    taken = [Box(x - 9, y - 9, x + 9, y + 9) for x, y in marks.values()]
    for name, (x, y) in marks.items():
        energy_mj, score = points[name]
        shape = "square" if name.startswith("fixed") else "diamond"
        title = f"{name}: {score:.1f} % correct on time, {energy_mj:.3g} mJ per answered event"
        parts.append(svg.mark(x, y, colours[name], shape=shape, size=7, title=title))
        label_x, label_y, anchor = free_place(x, y, 7.8 * len(name), taken, frame)
        parts.append(svg.text(label_x, label_y, name, anchor=anchor, kind="name"))
    return svg.drawing(width, height, "".join(parts), summary="Correct on time against energy, by policy")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the drawing [pixels]."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return True if the two overlap."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


def free_place(x: float, y: float, width: float, taken: list[Box], frame: Frame) -> tuple[float, float, str]:
    """Return where a mark's name goes (x, baseline, anchor): the first place beside it that nothing else takes."""
    options = [(x + 13, y + 5, "start"), (x - 13, y + 5, "end"), (x, y - 14, "middle"), (x, y + 24, "middle")]
    options += [(x + 9, y + 5 + lift, "start") for lift in (-18, 18, -34, 34)]
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}
    for place in options:
        left = place[0] - width * shift[place[2]]
        box = Box(left, place[1] - 12, left + width, place[1] + 4)
        inside = box.left >= frame.left and box.right <= frame.right + 12
        if inside and not any(box.meets(other) for other in taken):
            taken.append(box)
            return place
    return options[0]
