# SPDX-License-Identifier: Apache-2.0
"""``joulet report``: an HTML report from the run records that ``joulet run`` and ``joulet demo`` leave."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulet.errors import UsageError
from joulet.metered_run import EdgeRecord
from joulet.records import RunRecord
from joulet.report import find, read_any, render, render_metered, write
from joulet.units import parse_quantity


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "report",
        help="make one HTML file with plots from run records",
        description=(
            "Draws store voltage, harvest, chosen exits and bits over time, what became of the events, where the "
            "energy went and accuracy against energy, for one run or several of the same model side by side; of runs under "
            "a meter power against its cap, the points chosen and what each took. The file loads nothing from anywhere."
        ),
        epilog=(
            "examples: joulet report joulet-demo/*.json.gz -o compared.html --title 'Two days'; joulet report fixed-run/ "
            "each-run/"
        ),
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders or records (.json.gz), shown by their names")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="file to write")
    parser.add_argument("--title", help="heading of the report")
    parser.add_argument("--clock-start", default="0h", metavar="TIME", help="time of day at the start, e.g. 6h")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Read, render, write."""
    runs: dict[str, RunRecord | EdgeRecord] = {}
    for path in args.runs:
        name = _name(path)
        if name in runs:
            raise UsageError(f"two runs are called {name}; rename one, the names stand in the plots")
        runs[name] = read_any(find(path))
    hashes = {record.model_hash for record in runs.values()}
    if len(hashes) > 1:
        raise UsageError(f"the runs are of {len(hashes)} different models; give runs of one model")
    start_s = parse_quantity(args.clock_start, "s", what="--clock-start", allow_zero=True)
    path = write(args.output, _page(runs, args.title, start_s))
    print(json.dumps({"report": str(path), "runs": list(runs)}) if args.json else f"report: {path}")
    return 0


def _name(path: Path) -> str:
    """Return what a run is called in the plots."""
    name = path.resolve().name if path.is_dir() else path.name
    return name.removesuffix(".gz").removesuffix(".json").replace("-", " ")


def _page(runs: Mapping[str, RunRecord | EdgeRecord], title: str | None, start_s: float) -> str:
    metered = {name: run for name, run in runs.items() if isinstance(run, EdgeRecord)}
    harvested = {name: run for name, run in runs.items() if isinstance(run, RunRecord)}
    if metered and harvested:
        raise UsageError(
            f"'{next(iter(metered))}' ran under a meter and '{next(iter(harvested))}' under a harvester, which one page does not "
            "show; joulet compare sets figures that both have side by side"
        )
    if metered:
        return render_metered(metered, title=title or "Adaptive inference under a meter")
    return render(harvested, title=title or "Adaptive inference under a harvester", clock_start_s=start_s)
