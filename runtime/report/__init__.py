# SPDX-License-Identifier: Apache-2.0
"""Reports: one HTML file with its own small SVG plots, from run records or from a study of simulations.

``render`` shows runs of one model on one trace; ``render_comparison`` many policies over many simulated cells.
"""

from joulet.report.archive import from_json, read, save, to_json
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
from joulet.report.page import render, table_rows, write
from joulet.report.plots import figures

__all__ = [
    "ExampleNotes",
    "Interval",
    "PageNotes",
    "Verdict",
    "Written",
    "comparison_csv",
    "comparison_from_json",
    "comparison_json",
    "difference_interval",
    "figures",
    "from_json",
    "mean_difference_interval",
    "mean_score_interval",
    "price_along",
    "read",
    "read_comparison",
    "render",
    "render_comparison",
    "save",
    "score_interval",
    "table_rows",
    "to_json",
    "verdicts",
    "write",
    "write_comparison",
]
