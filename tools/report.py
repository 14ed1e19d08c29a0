# SPDX-License-Identifier: Apache-2.0
"""``joulet report``: an HTML report from the run records that ``joulet run`` and ``joulet demo`` leave."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from joulet.errors import UsageError
from joulet.report import read, render, write
from joulet.units import parse_quantity


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "report",
        help="make one HTML file with plots from run records",
        description=(
            "Draws store voltage, harvest, chosen exits and bits over time, what became of the events, where the "
            "energy went and accuracy against energy, for one run or several of the same model side by side. The file "
            "loads nothing from anywhere."
        ),
        epilog="example: joulet report joulet-demo/*.json.gz -o compared.html --title 'Two days'",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run records (.json or .json.gz), shown by their file names")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="file to write")
    parser.add_argument("--title", default="Adaptive inference under a harvester", help="heading of the report")
    parser.add_argument("--clock-start", default="0h", metavar="TIME", help="time of day at the start, e.g. 6h")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Read, render, write."""
    runs = {}
    for path in args.runs:
        name = path.name.removesuffix(".gz").removesuffix(".json").replace("-", " ")
        if name in runs:
            raise UsageError(f"two run records are called {path.name}; rename one, the names stand in the plots")
        runs[name] = read(path)
    hashes = {record.model_hash for record in runs.values()}
    if len(hashes) > 1:
        raise UsageError(f"the runs are of {len(hashes)} different models; give runs of one model")
    start_s = parse_quantity(args.clock_start, "s", what="--clock-start", allow_zero=True)
    path = write(args.output, render(runs, title=args.title, clock_start_s=start_s))
    print(json.dumps({"report": str(path), "runs": list(runs)}) if args.json else f"report: {path}")
    return 0
