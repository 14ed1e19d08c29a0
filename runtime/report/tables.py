# SPDX-License-Identifier: Apache-2.0
"""The HTML tables of a comparison. Every text that comes from a record is escaped here."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from joulet.records import SimulationRecord
from joulet.report import svg, tally
from joulet.report.study import Cell, Study, optimum_right, store_size
from joulet.report.tally import Columns, Tally
from joulet.units import format_quantity

MOST_ROWS = 12
# characters of a name that stays on one line
LONG = 18
# room of a table beside its first column [pixels]
PAGE_PX = 930.0
# a share of the optimum of LOW_PCT and less has no tint
LOW_PCT = 50.0
TINT_LOW, TINT_HIGH = "#ffffff", "#7fcabf"


def policies(rows: Sequence[Tally], colours: Mapping[str, str], focus: str) -> str:
    """Return the table with one line a policy."""
    heads = (
        "policy", "cells", "correct on time", "% of oracle-energy", "% of oracle-all", "brown-outs", "time off",
        "mean bits", "mean exit", "energy per correct", "wasted", "latency p50 / 95 / 99",
    )  # fmt: skip
    best = max((row.score.estimate for row in rows), default=0.0)
    most = max((row.cells for row in rows), default=0)
    lines = []
    for row in rows:
        swatch = f'<span class="swatch" style="background:{colours[row.policy]}"></span>'
        cells = [_policy_cell(row.policy, swatch)]
        cells.append(f"<td>{row.cells:,}{'*' if row.cells < most else ''}</td>")
        mark = ' class="best"' if row.score.estimate == best else ""
        cells.append(f"<td{mark}>{_score(row)}</td>")
        cells += [f"<td>{html.escape(text)}</td>" for text in _figures(row)]
        lines.append(_row(cells, row.policy == focus))
    note = "<p>* run in fewer cells than others</p>" if any(row.cells < most for row in rows) else ""
    return _table("".join(f"<th>{head}</th>" for head in heads), lines, "wide") + note


def _policy_cell(policy: str, swatch: str = "") -> str:
    if len(policy) <= LONG:
        return f"<td>{swatch}{html.escape(policy)}</td>"
    # may break after these, so that one long name does not push the figures off the page
    broken = "".join(html.escape(char) + ("<wbr>" if char in ":,=;" else "") for char in policy)
    return f'<td class="long">{swatch}{broken}</td>'


def _score(row: Tally) -> str:
    low, high = 100 * row.score.low, 100 * row.score.high
    return f"{100 * row.score.estimate:.1f} % <small>{low:.1f}–{high:.1f}</small>"


def _figures(row: Tally) -> list[str]:
    energy = row.energy_per_correct_j
    latencies = [_seconds(value) for value in row.latency_s]
    return [
        _number(row.pct_of_oracle_energy, 1),
        _number(row.pct_of_oracle_all, 1),
        "–" if row.brownouts_per_1000 is None else f"{row.brownouts_per_1000:.3g}",
        _number(100 * row.time_off, 1) + " %",
        _number(row.mean_bits, 2),
        _number(row.mean_exit, 2),
        "–" if energy is None else format_quantity(energy, "J"),
        "–" if row.wasted is None else f"{100 * row.wasted:.1f} %",
        " / ".join(latencies),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else format_quantity(value, "s", digits=2)


def _row(cells: Sequence[str], stressed: bool) -> str:
    name = ' class="focus"' if stressed else ""
    return f"<tr{name}>{''.join(cells)}</tr>"


def _table(head: str, lines: Sequence[str], kind: str = "", above: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    top = f"<thead>{above}<tr>{head}</tr></thead>"
    return f'<div class="scroll"><table{name}>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def oracle(study: Study, focus: str) -> str:
    """Return the tinted tables of % of oracle-energy: by family, and by condition; empty where no bound is known."""
    found = (tally.family_columns(study), tally.condition_columns(study))
    if all(tally.pct(study, policy, study.counted) is None for policy in study.policies):
        return ""
    return "".join(_tinted(study, focus, part) for columns in found for part in _fitting(columns))


def _fitting(groups: Columns) -> list[Columns]:
    """Return the groups of columns in as many tables as the width of the page asks for, about, in pixels."""
    parts: list[dict[str, Mapping[str, Sequence[Cell]]]] = []
    left = 0.0
    for title, group in groups.items():
        width = 16.0 + sum(max(56.0, 7.4 * max(map(len, name.split(":"))) + 14.0) for name in group)
        if not parts or width > left:
            parts.append({})
            left = PAGE_PX
        parts[-1][title] = group
        left -= width
    return list(parts)


def _tinted(study: Study, focus: str, groups: Columns) -> str:
    columns = [cells for group in groups.values() for cells in group.values()]
    values = {policy: [tally.pct(study, policy, cells) for cells in columns] for policy in study.policies}
    best = [max((row[i] or 0.0 for row in values.values()), default=0.0) for i in range(len(columns))]
    firsts = {sum(len(group) for group in list(groups.values())[:place]) for place in range(len(groups))}
    lines = []
    for policy, row in values.items():
        cells = [_policy_cell(policy)]
        cells += [_tint(value, value == best[i], i in firsts) for i, value in enumerate(row)]
        lines.append(_row(cells, policy == focus))
    counts = ["<td>cells</td>"] + [f"<td{_edge(i in firsts)}>{len(c):,}</td>" for i, c in enumerate(columns)]
    lines.append(f'<tr class="counts">{"".join(counts)}</tr>')
    above = "<tr><th></th>" + "".join(
        f'<th class="group" colspan="{len(group)}">{html.escape(title)}</th>' for title, group in groups.items()
    )
    names = [name for group in groups.values() for name in group]
    head = "<th>policy</th>" + "".join(
        f"<th{_edge(i in firsts)}>{html.escape(name).replace(':', ':<wbr>')}</th>" for i, name in enumerate(names)
    )
    return _table(head, lines, "tinted", above + "</tr>")


def _edge(first: bool) -> str:
    return ' class="first"' if first else ""


def _tint(value: float | None, best: bool, first: bool) -> str:
    kinds = " ".join(kind for kind, on in (("best", best and value is not None), ("first", first)) if on)
    name = f' class="{kinds}"' if kinds else ""
    if value is None:
        return f"<td{name}>–</td>"
    # squared, so that the last ten per cent, where policies differ, take most of the tints
    shade = svg.mix(TINT_LOW, TINT_HIGH, max((value - LOW_PCT) / (100.0 - LOW_PCT), 0.0) ** 2)
    return f'<td{name} style="background:{shade}">{value:.1f}</td>'


def store_name(cell: Cell) -> str:
    """Return the store of a cell in farads and in inferences."""
    return f"{format_quantity(cell.capacitor_f, 'F')} = {store_size(cell):g} inferences"


def _cell_line(cell: Cell) -> list[str]:
    ratio = "–" if cell.harvest_ratio is None else f"{cell.harvest_ratio:g} ×"
    return [f"{cell.family} / {cell.trace}", cell.model, store_name(cell), cell.arrivals, ratio]


CELL_HEADS = ("source", "model", "store", "arrivals", "harvest")


def _cells_table(heads: Sequence[str], rows: Sequence[Sequence[str]], hidden: int) -> str:
    lines = [_row([f"<td>{html.escape(text)}</td>" for text in row], False) for row in rows]
    more = f"<p>and {hidden:,} more, in the CSV and the JSON beside this page</p>" if hidden > 0 else ""
    return _table("".join(f"<th>{html.escape(head)}</th>" for head in heads), lines, "cells") + more


def behind(study: Study, focus: str) -> str:
    """Return the counted cells where another policy beats ``focus`` by most; empty if there is none."""
    gaps: list[tuple[float, Cell, SimulationRecord, SimulationRecord]] = []
    for cell in study.counted:
        found = study.cells[cell]
        others = [record for policy, record in found.items() if policy != focus]
        if focus in found and others:
            best = max(others, key=lambda record: record.score)
            gaps.append((best.score - found[focus].score, cell, found[focus], best))
    worst = sorted((gap for gap in gaps if gap[0] > 0.0), key=lambda gap: -gap[0])
    if not worst:
        return ""
    heads = (*CELL_HEADS, focus, "best other", "gap")
    rows = [
        [
            *_cell_line(cell),
            f"{100 * mine.score:.2f} %",
            f"{best.policy} {100 * best.score:.2f} %",
            f"{100 * gap:.2f} points",
        ]
        for gap, cell, mine, best in worst[:MOST_ROWS]
    ]
    said = f"<p>Behind some other policy in {len(worst):,} of {len(gaps):,} cells, ahead or equal in the rest.</p>"
    return said + _cells_table(heads, rows, len(worst) - len(rows))


def thin(study: Study, focus: str) -> str:
    """Return the cells that are not averaged, those with most events first."""
    heads = (*CELL_HEADS, "arrived", "optimum gets right", focus)
    order = sorted(study.thin, key=lambda cell: -optimum_right(study.cells[cell]))
    rows = []
    for cell in order[:MOST_ROWS]:
        found = study.cells[cell]
        known = any(record.oracle_energy_score is not None for record in found.values())
        right = f"{optimum_right(found):.1f}" if known else "not computed"
        arrived = f"{max(record.arrived for record in found.values()):,}"
        score = f"{100 * found[focus].score:.1f} %" if focus in found else "–"
        rows.append([*_cell_line(cell), arrived, right, score])
    return _cells_table(heads, rows, len(order) - len(rows))
