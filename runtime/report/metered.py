# SPDX-License-Identifier: Apache-2.0
"""The report of metered runs: the same page as :mod:`joulet.report.page` makes, from what a meter said instead of a harvester."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

from joulet.errors import DataError
from joulet.metered_run import EdgeRecord
from joulet.report.charts import OUTCOME_COLOURS, bars
from joulet.report.page import document, fact_list, lead_in, section, setting, tile_row
from joulet.report.power import Metered, energy_bars, point_colours, power_over_time
from joulet.units import format_quantity, format_time

_NAMES = {
    "correct": "right, on time",
    "wrong": "wrong, on time",
    "late": "late",
    "skipped": "left unanswered",
    "missed": "missed: came too late to it",
}
_COLOURS = {
    **{key: OUTCOME_COLOURS[key] for key in ("correct", "wrong", "late", "missed")},
    "skipped": OUTCOME_COLOURS["expired"],
}


def render_metered(runs: Metered, *, title: str, lead: str = "") -> str:
    """Return the report of metered runs as HTML.

    Parameters
    ----------
    runs
        Records under the names they are shown by, in the order to show them; all of one model.
    title, lead
        Heading and the paragraph below it, plain text.

    Raises
    ------
    DataError
        If there is no run to show.
    """
    if not runs:
        raise DataError("a report needs at least one run; give one or more run records")
    body = (
        lead_in(title, lead),
        tile_row(_tiles(runs)),
        section(
            "What became of the events",
            "An event counts only if its answer is right and on time"
            + (
                "."
                if any(run.correct is not None for run in runs.values())
                else "; without labels every answer on time is shown as right."
            ),
            bars({name: outcomes(run) for name, run in runs.items()}, _NAMES, _COLOURS),
        ),
        section(
            "Power over time",
            "Above, what the meter said; the bold line is the mean over the window that the cap holds for. Below, which point "
            "answered: a taller mark means more often (root scale).",
            power_over_time(runs),
        ),
        section(
            "Where the energy went",
            "Idle power and the inferences of each point as learnt from the meter, block by block; the black line is the meter's "
            "own sum. What they do not explain is the residual.",
            energy_bars(runs),
        ),
        section(
            "Operating points",
            "Energy of an inference above idle power with one standard deviation, as known at the end. Right: of its answers.",
            _points_table(runs),
        ),
        _conditions(runs),
        "<footer>Made by Joulet from run records. Energy marked as estimated was not measured.</footer>",
    )
    return document(title, "".join(body))


def outcomes(run: EdgeRecord) -> dict[str, int]:
    """Return how many events ended in each way; they sum up to those that arrived."""
    right = run.correct_on_time
    correct = run.on_time if right is None else right
    return {
        "correct": correct,
        "wrong": run.on_time - correct,
        "late": run.answered - run.on_time,
        "skipped": run.skipped,
        "missed": run.missed,
    }


def _tiles(runs: Metered) -> list[tuple[str, str]]:
    tiles = []
    scores = {name: run.score for name, run in runs.items() if run.score is not None}
    if scores:
        best = max(scores, key=lambda name: scores[name] or 0.0)
        among = f" with {best}, the best here" if len(runs) > 1 else ""
        tiles.append((f"{100 * (scores[best] or 0.0):.1f} %", f"right and on time{among}"))
    first = next(iter(runs.values()))
    tiles.append((f"{first.arrived:,}", f"events in {format_time(first.duration_s)}"))
    for name, run in list(runs.items())[:2]:
        tiles.append((format_quantity(run.mean_w, "W"), _kept(run) + (f" ({name})" if len(runs) > 1 else "")))
    residual = max(run.ledger.residual_fraction for run in runs.values())
    closing = "not explained by idle power and inferences"
    if not all(run.ledger.closes for run in runs.values()):
        closing += ": DOES NOT CLOSE"
    tiles.append((f"{100 * residual:.2g} %" if residual >= 1e-5 else "< 0.001 %", closing))
    return tiles


def _kept(run: EdgeRecord) -> str:
    if run.cap is not None:
        return f"mean, under a cap of {_cap(run)}: {'kept' if run.cap.kept else 'NOT KEPT'}"
    budget = format_quantity(run.budget_j or 0.0, "J")
    return f"mean; {format_quantity(run.energy_j, 'J')} of {budget}: {'kept' if run.kept else 'NOT KEPT'}"


def _cap(run: EdgeRecord) -> str:
    assert run.cap is not None
    return ", ".join((f"from {format_time(t)} " if t else "") + format_quantity(p, "W") for t, p in run.cap.steps)


def _points_table(runs: Metered) -> str:
    heads = ["point", "run"] if len(runs) > 1 else ["point"]
    heads += ["worth", "chosen", "right", "energy each", "latency", "energy in all"]
    colours, rows = point_colours(runs), []
    for name, run in runs.items():
        right = _right(run)
        for point in run.points:
            if not point.chosen:
                continue
            swatch = f'<span class="swatch" style="background:{colours[point.name]}"></span>'
            cells = [swatch + html.escape(point.name)]
            cells += [html.escape(name)] if len(runs) > 1 else []
            cells += [
                f"{point.value:.3f}",
                f"{point.chosen:,}",
                right.get(point.name, "–"),
                f"{format_quantity(point.energy_j, 'J')} ± {format_quantity(point.sd_j, 'J', digits=2)}",
                "–" if point.latency_s is None else format_quantity(point.latency_s, "s"),
                format_quantity(run.ledger.points_j.get(point.name, 0.0), "J"),
            ]
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f"<th>{each}</th>" for each in heads)
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _right(run: EdgeRecord) -> dict[str, str]:
    found: dict[str, list[bool]] = {}
    for event in run.events:
        if event.point is not None and event.correct is not None:
            found.setdefault(event.point, []).append(event.correct)
    return {name: f"{100 * sum(each) / len(each):.1f} %" for name, each in found.items()}


def _conditions(runs: Metered) -> str:
    first = next(iter(runs.values()))
    facts = {"model": f"{first.model} ({first.model_hash[:16]})"}
    for what, of in _FACTS.items():
        values = {name: of(run) for name, run in runs.items()}
        if len(set(values.values())) == 1:
            facts[what] = next(iter(values.values()))
        else:
            facts.update({f"{what}, {name}": value for name, value in values.items()})
    for name in dict.fromkeys(key for run in runs.values() for key in run.settings):
        words = setting(name, None)[0]
        said = {run_name: setting(name, run.settings.get(name))[1] for run_name, run in runs.items()}
        same = len(set(said.values())) == 1
        facts[words] = next(iter(said.values())) if same else ", ".join(f"{k}: {v}" for k, v in said.items())
    for name, run in runs.items():
        for number, note in enumerate(run.notes, start=1):
            facts[f"note {number}" + (f", {name}" if len(runs) > 1 else "")] = note
    return section("Conditions and sources", "Everything that the figures above depend on.", fact_list(facts))


def _energy(run: EdgeRecord) -> str:
    said = f"{format_quantity(run.measured_j, 'J')}, {'; '.join(run.provenance) or 'no readings'}"
    if run.estimated_s > 0.0:
        said += (
            f"; {format_quantity(run.estimated_j, 'J')} estimated for {format_time(run.estimated_s)} without readings"
        )
    return said


def _windows(run: EdgeRecord) -> str:
    if run.cap is None:
        return "no cap"
    cap = run.cap
    worst = "none whole" if cap.worst_mean_w is None else f"worst {format_quantity(cap.worst_mean_w, 'W')}"
    return (
        f"{format_time(cap.window_s)} long, {cap.windows_over} of {cap.windows} over by {format_quantity(cap.over_j, 'J')} in "
        f"all; sliding: {worst}"
    )


_FACTS: Mapping[str, Callable[[EdgeRecord], str]] = {
    "engine": lambda run: run.engine or "not stated",
    "meter": lambda run: run.meter,
    "energy drawn": _energy,
    "energy of a point": lambda run: "estimated: learnt from the meter by a Kalman filter, above idle power",
    "idle power": lambda run: format_quantity(run.idle_w, "W"),
    "worth of a point": lambda run: run.values,
    "exits are decided": lambda run: run.decided,
    "windows": _windows,
    "ended": lambda run: run.ended or "at its time",
    "knob": lambda run: run.knob or "none",
}


def table_rows(runs: Metered) -> tuple[Sequence[str], list[list[str]]]:
    """Return headings and rows of a table of runs, as text."""
    heads = ("run", "right on time", "answered", "mean power", "energy of an answer", "latency p50 / p95")
    rows = []
    for name, run in runs.items():
        p50, p95 = run.latency_s(0.5), run.latency_s(0.95)
        rows.append([
            name,
            "–" if run.score is None else f"{100 * run.score:.1f} %",
            f"{run.answered:,} / {run.arrived:,}",
            format_quantity(run.mean_w, "W"),
            "–" if run.answer_j is None else format_quantity(run.answer_j, "J"),
            "–" if p50 is None or p95 is None else f"{format_quantity(p50, 's')} / {format_quantity(p95, 's')}",
        ])  # fmt: skip
    return heads, rows
