# SPDX-License-Identifier: Apache-2.0
"""Reports: one HTML file with its own small SVG plots, from run records or from a study of simulations.

``render`` shows runs of one model on one trace, ``render_metered`` runs under a meter, ``render_comparison`` many policies over
many simulated cells.
"""

from joulet.report.archive import any_from_json, find, from_json, read, read_any, save, to_json
from joulet.report.bootstrap import (
    Interval,
    Verdict,
    difference_interval,
    mean_difference_interval,
    mean_score_interval,
    score_interval,
    verdicts,
)
from joulet.report.comparison import PageNotes, render_comparison
from joulet.report.example import ExampleNotes, price_along
from joulet.report.export import (
    Written,
    comparison_csv,
    comparison_from_json,
    comparison_json,
    read_comparison,
    write_comparison,
)
from joulet.report.metered import render_metered
from joulet.report.page import render, table_rows, write
from joulet.report.plots import figures

__all__ = [
    "ExampleNotes",
    "Interval",
    "PageNotes",
    "Verdict",
    "Written",
    "any_from_json",
    "comparison_csv",
    "comparison_from_json",
    "comparison_json",
    "difference_interval",
    "figures",
    "find",
    "from_json",
    "mean_difference_interval",
    "mean_score_interval",
    "price_along",
    "read",
    "read_any",
    "read_comparison",
    "render",
    "render_comparison",
    "render_metered",
    "save",
    "score_interval",
    "table_rows",
    "to_json",
    "verdicts",
    "write",
    "write_comparison",
]
