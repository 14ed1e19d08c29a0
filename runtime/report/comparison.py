# SPDX-License-Identifier: Apache-2.0
"""The comparison page: many policies over many cells in one HTML file, no scripts, nothing loaded from anywhere.

It shows means, intervals and the cells that stand out; all figures of all cells are in the CSV and the JSON beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulet.errors import DataError
from joulet.records import PriceMap, SimulationRecord
from joulet.report import contrast, heat, tables
from joulet.report.bootstrap import RESAMPLES, Resampled, resample
from joulet.report.example import ExampleNotes, Timelines, timelines_chart
from joulet.report.page import document, fact_list, lead_in, section, tile_row
from joulet.report.study import FEW_RIGHT, Study, best_policy, study_of
from joulet.report.tally import LARGE_STORE, Tally, tallies

MOST_MAPS = 6
# rounding of two doubles, in per cent
SLACK_PCT = 1e-6
STANDARD_ERRORS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageNotes:
    """What a page says beyond its records.

    Attributes
    ----------
    lead
        Paragraph below the heading.
    facts
        What else a reader must know to judge the figures, name and text.
    focus
        Policy that is held against all others; None: the adaptive one with the best mean score.
    seed
        Of the bootstrap.
    example
        About the example cell, where there are timelines.
    """

    lead: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    focus: str | None = None
    seed: int = 0
    example: ExampleNotes = field(default_factory=ExampleNotes)


def render_comparison(
    records: Sequence[SimulationRecord],
    *,
    title: str,
    timelines: Timelines | None = None,
    price_maps: Sequence[PriceMap] = (),
    notes: PageNotes | None = None,
) -> str:
    """Return the comparison of ``records`` as HTML.

    Parameters
    ----------
    records
        One for each policy and cell, in the order in which policies are to be shown.
    title
        Heading, plain text.
    timelines
        One example cell: the steps of each policy to show.
    price_maps
        Maps of a value-based policy; the page shows the first :data:`MOST_MAPS`.
    notes
        Everything else that the page says.

    Raises
    ------
    DataError
        If there is no record, two of one policy and cell, no record of the focus, or a map that does not fit together.
    """
    notes = notes or PageNotes()
    study = study_of(records)
    focus = notes.focus or best_policy(study)
    found = resample(study, focus, seed=notes.seed)
    if timelines is not None and not any(timelines.values()):
        raise DataError("timelines: no policy has a step; give the steps of one example cell or leave them out")
    parts = (
        lead_in(title, notes.lead),
        _results(study, focus, found),
        _example_section(timelines, notes.example) if timelines else "",
        _map_section(price_maps),
        _cells_section(study, focus),
        _conditions(study, notes),
        "<footer>Made by Joulet from simulation records. Energy marked as modelled was not measured on a board.</footer>",
    )
    return document(title, "".join(parts))


def _results(study: Study, focus: str, found: Resampled) -> str:
    rows = tallies(study, found.scores)
    parts = (
        tile_row(_tiles(study, focus, rows, found)),
        _warning(study),
        _table_section(study, focus, rows),
        _oracle_section(study, focus),
        _difference_section(study, focus, found),
        _energy_sections(study),
    )
    return "".join(parts)


def _tiles(study: Study, focus: str, rows: Sequence[Tally], found: Resampled) -> list[tuple[str, str]]:
    mine = next((row for row in rows if row.policy == focus), None)
    tiles = []
    if mine is not None and mine.pct_of_oracle_energy is not None:
        tiles.append((f"{mine.pct_of_oracle_energy:.1f} %", f"of oracle-energy with {focus}, mean over cells"))
    elif mine is not None:
        tiles.append((f"{100 * mine.score.estimate:.1f} %", f"correct on time with {focus}, mean over cells"))
    others = {verdict.other for verdict in found.verdicts}
    if others:
        ahead = sum(2 * _families_ahead(found, other) > _families_with(found, other) for other in others)
        meaning = f"policies that {focus} is ahead of on most families, 95 % intervals without zero"
        tiles.append((f"{ahead} of {len(others)}", meaning))
    runs = sum(len(cells) for cells in study.cells.values())
    arrived = sum(record.arrived for cells in study.cells.values() for record in cells.values())
    tiles.append(
        (
            f"{len(study.cells):,} × {len(study.policies)}",
            f"cells × policies: {runs:,} run{'' if runs == 1 else 's'}, {_many(arrived)}",
        )
    )
    tiles.append(_check_tile(study))
    return tiles


def _many(arrived: int) -> str:
    return f"{arrived / 1e6:.1f} million events" if arrived >= 1e6 else f"{arrived:,} events"


def _families_ahead(found: Resampled, other: str) -> int:
    return sum(v.ahead for v in found.verdicts if v.other == other and v.family is not None)


def _families_with(found: Resampled, other: str) -> int:
    return sum(v.other == other and v.family is not None for v in found.verdicts)


def _check_tile(study: Study) -> tuple[str, str]:
    records = [record for cells in study.cells.values() for record in cells.values()]
    open_books = sum(record.residual > 1e-3 for record in records)
    above = sum(_above_bound(record) for record in records)
    if open_books or above:
        return (
            f"{open_books + above:,} FAILED",
            f"checks: {open_books:,} ledgers open, {above:,} scores above a bound",
        )
    residual = max(record.residual for record in records)
    closing = f"{100 * residual:.2g} %" if residual >= 1e-5 else "< 0.001 %"
    known = any(record.pct_of_oracle_energy is not None for record in records)
    return (closing, "largest residual; every ledger closes" + (", no score is above its bound" if known else ""))


def _above_bound(record: SimulationRecord) -> bool:
    """Return whether a score lies above its bound.

    A realised one must not at all. An expected one is the mean over outcomes that were drawn: the sum of n answers, each
    between 0 and 1, scatters by at most √n / 2.
    """
    if record.pct_of_oracle_all is not None and record.pct_of_oracle_all > 100.0 + SLACK_PCT:
        return True
    if record.oracle_energy_score is None:
        return False
    too_many = (record.expected_score - record.oracle_energy_score) * record.arrived
    return too_many > STANDARD_ERRORS * math.sqrt(max(record.served, 1)) / 2.0


def _warning(study: Study) -> str:
    said = []
    if study.all_thin:
        said.append(
            f"In no cell does the optimum get {FEW_RIGHT} events right. All cells are averaged here nonetheless, and "
            "small differences mean nothing."
        )
    if not study.complete:
        said.append(
            "Not every policy was run in every cell, so that means of different policies are over different cells; "
            "the paired differences compare like with like."
        )
    return "".join(section("Note", text, "") for text in said)


def _table_section(study: Study, focus: str, rows: Sequence[Tally]) -> str:
    explanation = (
        "Means over cells, each cell with the same weight. Correct on time: answers that were right and in time over "
        "events that arrived, with its 95 % interval (days drawn again). Oracle shares compare expected scores with "
        "the energy optimum, and realised ones with the optimum that knows outcomes too. Brown-outs are per thousand "
        "events. Wasted is what was redone, abandoned or clipped, over the harvest. Latencies are medians over cells."
    )
    return section("Policies side by side", explanation, tables.policies(rows, contrast.policy_colours(study), focus))


def _oracle_section(study: Study, focus: str) -> str:
    tinted = tables.oracle(study, focus)
    if not tinted:
        return ""
    explanation = (
        "100 is the clairvoyant optimum that knows harvest and arrivals, not outcomes. Mean over cells; bold is the "
        f"best of a column. Stores are large from {LARGE_STORE:g} full-depth inferences on."
    )
    return section("Per cent of oracle-energy", explanation, tinted)


def _difference_section(study: Study, focus: str, found: Resampled) -> str:
    if not found.verdicts:
        return ""
    left_out = study.families[contrast.MOST_FAMILIES :]
    explanation = (
        f"Score of {focus} minus that of each other policy in the same cells and on the same days, mean over cells: "
        "to the right of zero, it is ahead. A filled point means that the 95 % interval leaves out zero, a ring that it "
        "does not, or that a cell has a single block and no spread is known. An arrow points to what lies far outside."
    )
    if left_out:
        explanation += f" Families not drawn: {', '.join(left_out)}."
    return section(f"{focus} against each other policy", explanation, contrast.forest(found.verdicts, study.families))


def _energy_sections(study: Study) -> str:
    front = (
        "Energy that the load drew, sleep included, over the events that arrived; mean over cells. The grey steps are "
        "the front: for every policy below it there is one on it that does better with less. Squares stay at one "
        "operating point, diamonds adapt; the dashed line is the optimum's mean score. The vertical axis does not "
        "begin at zero."
    )
    stack = (
        "Each account over what the harvester gave, mean over cells. Beyond the black line a policy lived on what the "
        "store held at the start; a gap before it is the residual."
    )
    return section("Accuracy and energy", front, contrast.fronts(study)) + section(
        "Where the harvest went", stack, contrast.energy_stacks(study)
    )


def _example_section(timelines: Timelines, notes: ExampleNotes) -> str:
    explanation = (
        (f"{notes.name}. " if notes.name else "")
        + "Voltage of the store, then answers by exit: a taller mark means that an exit gave more of the answers (root "
        "scale), its colour the path that gave most. Samples and answers are thinned; brown-outs are complete."
        + (" Violet: the price of a joule, its peak in figures." if notes.prices else "")
    )
    return section("One cell over time", explanation, timelines_chart(timelines, notes))


def _map_section(maps: Sequence[PriceMap]) -> str:
    if not maps:
        return ""
    for price_map in maps:
        heat.check_map(price_map)
    scale = heat.price_scale(maps)
    shown = [f'<div class="pair"><div>{heat.price_chart(m, scale)}</div><div>{heat.point_chart(m)}</div></div>'
             for m in maps[:MOST_MAPS]]  # fmt: skip
    explanation = (
        "Left, how many later correct answers one more joule in the store is worth; right, the operating point at which "
        "an event ends whose confidence is middling at every exit. Each pair holds for one harvest; the colours of prices "
        "are the same in all. White: no price."
    )
    if len(maps) > MOST_MAPS:
        explanation += f" {len(maps) - MOST_MAPS} more maps were given and are not drawn."
    return section("Price and choice over the day", explanation, "".join(shown))


def _cells_section(study: Study, focus: str) -> str:
    behind, content = tables.behind(study, focus), ""
    if behind:
        content += section(
            f"Where {focus} is furthest behind",
            "The cells with the largest gap to the best other policy there, chosen in hindsight. Gaps of one cell have "
            "no interval here; some are chance.",
            behind,
        )
    if study.thin and not study.all_thin:
        count = contrast.cells_named(study.thin)
        content += section(
            f"Not averaged: {count}",
            f"The optimum gets fewer than {FEW_RIGHT} events right there. They are in no mean and no interval above.",
            tables.thin(study, focus),
        )
    return content


def _conditions(study: Study, notes: PageNotes) -> str:
    cells = list(study.cells)
    facts = {
        "models": _listed(cell.model for cell in cells),
        "boards": _listed(cell.board for cell in cells),
        "traces": _listed(f"{cell.trace} ({cell.family})" for cell in cells),
        "arrivals": _listed(cell.arrivals for cell in cells),
        "stores": _listed(tables.store_name(cell) for cell in cells),
        "intervals": f"95 % by {RESAMPLES:,} draws of whole blocks with seed {notes.seed}; all policies of a cell and all "
        "cells of a trace see the same drawn blocks",
        **notes.facts,
    }
    sources: dict[str, dict[str, None]] = {}
    for found in study.cells.values():
        for record in found.values():
            for name, source in record.provenance.items():
                sources.setdefault(name, {})[source] = None
    facts.update({f"source of {name}": _listed(texts) for name, texts in sources.items()})
    return section("Conditions and sources", "Everything that the figures above depend on.", fact_list(facts))


def _listed(values: Iterable[str], most: int = 12) -> str:
    found = list(dict.fromkeys(values))
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
