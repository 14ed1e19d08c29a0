# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file, no scripts, nothing loaded from anywhere, made from run records only."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from joulet.errors import DataError
from joulet.report import charts, day
from joulet.report.archive import save_bytes
from joulet.report.charts import Runs
from joulet.units import format_quantity, format_time

_UNITS = {"s": "s", "j": "J", "w": "W", "v": "V"}  # of settings, by the end of their names

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #eef1f5; color: #17212e; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 28px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 0 0 2px; }
p { margin: 0 0 14px; color: #46525f; max-width: 92ch; }
p.lead { font-size: 17px; color: #17212e; }
section { background: #fff; border-radius: 12px; padding: 24px 28px 20px; margin-top: 20px;
  box-shadow: 0 1px 2px rgba(23, 33, 46, 0.08); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin-top: 22px; }
.tile { background: #fff; border-radius: 12px; padding: 16px 20px; box-shadow: 0 1px 2px rgba(23, 33, 46, 0.08); }
.tile b { display: block; font-size: 27px; line-height: 1.25; letter-spacing: -0.01em; }
.tile span { color: #46525f; font-size: 13.5px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 26px; }
svg { display: block; width: 100%; height: auto; margin-top: 10px; overflow: visible; }
svg text { font-family: inherit; fill: #46525f; font-size: 12px; }
svg text.name { fill: #17212e; font-size: 13.5px; font-weight: 600; }
svg text.axis, svg text.legend { font-size: 12px; }
svg text.small { font-size: 10.5px; }
svg text.inbar { fill: #fff; font-size: 12.5px; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; margin-top: 8px; }
th { text-align: right; font-weight: 600; color: #46525f; font-size: 12.5px; vertical-align: bottom; }
th, td { padding: 7px 8px; border-bottom: 1px solid #e3e8ee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td:first-child { font-weight: 600; }
td.best { font-weight: 700; color: #0b6f75; }
td small { color: #46525f; font-size: 11.5px; font-weight: 400; }
tr.focus td { background: #eef6f5; }
table.wide { font-size: 13px; }
table.wide th, table.wide td { padding: 7px 6px; }
table.wide th { white-space: normal; }
table td.long { white-space: normal; overflow-wrap: anywhere; min-width: 150px; max-width: 190px; }
table.tinted { margin-bottom: 22px; width: auto; }
table.tinted th { white-space: normal; }
table.tinted th, table.tinted td { min-width: 56px; padding: 7px 7px; border-bottom-color: #fff; }
table.tinted th.group { text-align: left; color: #17212e; padding-left: 24px; }
table.tinted .first { border-left: 16px solid #fff; }
tr.counts td { color: #46525f; font-weight: 400; font-size: 12.5px; }
table.cells th, table.cells td { text-align: left; font-weight: 400; padding-right: 16px; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 8px; }
dl { display: grid; grid-template-columns: minmax(180px, max-content) 1fr; gap: 5px 22px; margin: 8px 0 0; }
dl { font-size: 14px; }
dt { color: #46525f; } dd { margin: 0; overflow-wrap: anywhere; }
footer { color: #6a7685; font-size: 13px; margin-top: 22px; }
@media print { body { background: #fff; } section, .tile { box-shadow: none; border: 1px solid #e3e8ee; } }
"""


def render(
    runs: Runs,
    *,
    title: str,
    lead: str = "",
    notes: Mapping[str, str] | None = None,
    clock_start_s: float = 0.0,
) -> str:
    """Return the report of ``runs`` as HTML.

    Parameters
    ----------
    runs
        Run records under the names they are shown by, in the order to show them; all of one model and one trace.
    title, lead
        Heading and the paragraph below it, plain text.
    notes
        What else a reader must know to judge the figures: parameters and sources, plain text.
    clock_start_s
        Time of day at the start of the run [s].

    Raises
    ------
    DataError
        If there is no run to show.
    """
    if not runs:
        raise DataError("a report needs at least one run; give one or more run records")
    body = "".join(
        (
            lead_in(title, lead),
            _tiles(runs),
            section(
                "What became of the events",
                "An event counts only if its answer is right and on time. Grey events met a board without power.",
                charts.outcome_bars(runs),
            ),
            section(
                "Over the day",
                "Voltage of the store above, answers below: a taller mark means that an exit answered more often (root "
                "scale), a darker one that the weights had more bits. Shaded spans are without power.",
                day.day(runs, start_s=clock_start_s),
            ),
            _fronts(runs),
            section(
                "Where the energy went",
                "A bar adds up what was spent and what stayed in the store; the black line marks what the harvester "
                "gave. Point at a part for its figure and where the figure comes from.",
                charts.energy_stack(runs),
            ),
            _table_section(runs),
            _conditions(runs, notes or {}),
            "<footer>Made by Joulet from run records. Energy marked as modelled was not measured on a board.</footer>",
        )
    )
    return document(title, body)


def document(title: str, body: str) -> str:
    """Return a whole page; ``title`` is plain text, ``body`` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def write(path: Path, text: str) -> Path:
    """Write a rendered report whole or not at all; return ``path``."""
    return save_bytes(path, text.encode())


def lead_in(title: str, lead: str) -> str:
    """Return the heading of a page and the paragraph below it, both plain text."""
    below = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    return f"<h1>{html.escape(title)}</h1>{below}"


def section(heading: str, explanation: str, content: str) -> str:
    """Return a card of the page; heading and explanation are plain text, ``content`` is HTML."""
    return f"<section><h2>{html.escape(heading)}</h2><p>{html.escape(explanation)}</p>{content}</section>"


def _fronts(runs: Runs) -> str:
    has_accuracy = any(any(path.accuracy) for path in next(iter(runs.values())).paths)
    right = charts.policy_front(runs) if any(run.summary.score is not None for run in runs.values()) else ""
    left = charts.model_front(runs) if has_accuracy else ""
    if not left and not right:
        return ""
    explanation = (
        "Left, what the model offers: each point is an exit, each line a precision. Right, what each policy made of it "
        "over the day: squares are fixed operating points, diamonds adapt."
    )
    figures = "".join(f"<div>{figure}</div>" for figure in (left, right) if figure)
    return section("Accuracy and energy", explanation, f'<div class="pair">{figures}</div>')


def _tiles(runs: Runs) -> str:
    scored = {name: run.summary for name, run in runs.items() if run.summary.score is not None}
    first = next(iter(runs.values()))
    tiles = []
    if scored:
        best = max(scored, key=lambda name: scored[name].score or 0.0)
        tiles.append((f"{100 * (scored[best].score or 0.0):.1f} %", f"correct on time with {best}, the best here"))
    tiles.append((f"{first.summary.arrived:,}", f"events in {format_time(first.duration_s)}"))
    harvested = format_quantity(max(run.ledger.harvested_pj for run in runs.values()) * 1e-12, "J")
    tiles.append((harvested, "came from the harvester"))
    residual = max(run.ledger.residual_fraction for run in runs.values())
    closing = "every ledger closes; largest residual" if all(r.ledger.closes for r in runs.values()) else "NOT CLOSED"
    tiles.append((f"{100 * residual:.2g} %" if residual >= 1e-5 else "< 0.001 %", closing))
    return tile_row(tiles)


def tile_row(tiles: Sequence[tuple[str, str]]) -> str:
    """Return a row of figures, each with what it means below it, both plain text."""
    cells = "".join(f'<div class="tile"><b>{html.escape(b)}</b><span>{html.escape(t)}</span></div>' for b, t in tiles)
    return f'<div class="tiles">{cells}</div>'


def _ratio(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _plain(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _latencies(p50_s: float | None, p99_s: float | None) -> str:
    if p50_s is None or p99_s is None:
        return "–"
    return f"{format_quantity(p50_s, 's')} / {format_quantity(p99_s, 's')}"


def table_rows(runs: Runs) -> tuple[Sequence[str], list[list[str]]]:
    """Return headings and rows of the policy table, as text; the terminal and the page show the same."""
    heads = (
        "policy", "correct on time", "of arrived", "answered", "mean bits", "mean exit", "mean energy", "brown-outs",
        "time off", "latency p50 / p99",
    )  # fmt: skip
    rows = []
    for name, run in runs.items():
        s = run.summary
        rows.append(
            [
                name,
                "–" if s.correct_on_time is None else f"{s.correct_on_time:,} / {s.arrived:,}",
                _ratio(s.score),
                f"{s.served:,}",
                _plain(s.mean_bits),
                _plain(s.mean_exit),
                "–" if s.mean_energy_j is None else format_quantity(s.mean_energy_j, "J"),
                f"{s.brownouts:,}",
                _ratio(s.off_fraction),
                _latencies(s.latency_p50_s, s.latency_p99_s),
            ]
        )
    return heads, rows


def _table_section(runs: Runs) -> str:
    heads, rows = table_rows(runs)
    colours = charts.series_colours(runs)
    scores = [run.summary.score or 0.0 for run in runs.values()]
    lines = []
    for index, row in enumerate(rows):
        swatch = f'<span class="swatch" style="background:{colours[row[0]]}"></span>'
        tags = []
        for column, content in enumerate(row):
            best = ' class="best"' if column == 2 and len(rows) > 1 and scores[index] == max(scores) else ""
            tags.append(f"<td{best}>{swatch if column == 0 else ''}{html.escape(content)}</td>")
        lines.append(f"<tr>{''.join(tags)}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    first = next(iter(runs.values()))
    explanation = (
        f"Exits count from 0 ({', '.join(f'{i} = {name}' for i, name in enumerate(first.exit_names))}). Means are over "
        "answered events; bits are weighted by multiply-accumulates; latency runs from the event to its answer."
    )
    return section("Policies side by side", explanation, table)


def _conditions(runs: Runs, notes: Mapping[str, str]) -> str:
    first = next(iter(runs.values()))
    facts: dict[str, str] = {"model": f"{first.model} ({first.model_hash[:16]})", "board": first.board}
    facts.update(notes)
    for name in first.settings:
        values = {_setting(run.settings.get(name)) for run in runs.values()}
        if len(values) == 1 and name not in facts:
            words, said = setting(name, first.settings[name])
            facts[words] = said
    for name, run in runs.items():
        own = {
            key: value
            for key, value in run.settings.items()
            if len({_setting(other.settings.get(key)) for other in runs.values()}) > 1
        }
        if own and len(runs) > 1:
            facts[f"settings of {name}"] = ", ".join(f"{key} = {_setting(value)}" for key, value in own.items())
    facts.update({f"source of {name}": source for name, source in first.provenance.items()})
    facts.update({f"figures of {name}": source for name, source in first.ledger.provenance.items()})
    if first.ledger.not_modelled:
        facts["not estimated here"] = ", ".join(first.ledger.not_modelled)
    return section("Conditions and sources", "Everything that the figures above depend on.", fact_list(facts))


def fact_list(facts: Mapping[str, str]) -> str:
    """Return names and what is to be known of them, plain text, as a list of two columns."""
    return f"<dl>{''.join(f'<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>' for k, v in facts.items())}</dl>"


def setting(name: str, value: float | int | str | None) -> tuple[str, str]:
    """Return a setting's name without its unit, and its value with it; a dash where there is none."""
    words, _, unit = name.rpartition("_")
    if unit not in _UNITS or not words or words.endswith("_per"):
        return name.replace("_", " "), _setting(value)
    said = format_quantity(value, _UNITS[unit]) if isinstance(value, int | float) else _setting(value)
    return words.replace("_", " "), said


def _setting(value: float | int | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
