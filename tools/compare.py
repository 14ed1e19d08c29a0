# SPDX-License-Identifier: Apache-2.0
"""``joulet compare``: what changed between two profiles or two runs; exit code 1 when something got worse."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from joulet.errors import DataError, UsageError
from joulet.metered_run import EdgeRecord
from joulet.profile.compare import Change, Comparison, compare_profiles, compare_runs
from joulet.profile.figures import load_profile
from joulet.records import RunRecord
from joulet.report import find, read_any
from joulet.units import format_quantity

EPILOG = """\
BEFORE and AFTER are two profiles (joulet profile --out), or two runs (their folders or run records).

  joulet compare before.json after.json
  joulet compare before.json after.json --allow 3% --json     # as a gate: exit code 1 when something got worse
  joulet compare joulet-run/ other-run/

A figure of a profile is worse when it grew by more than --allow and the 95 % intervals do not overlap; where they do, it is
unclear, which --strict also stops at. Runs are single ones: there every change beyond --allow counts. What is gone fails.
Of a run under a meter and one under a harvester the figures are compared that both have.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "compare",
        help="two profiles or runs: what changed; fails when it got worse",
        description="Compare two profiles or two runs. Exit code 1 when a figure got worse by more than is allowed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument(
        "--allow", default="2%", metavar="SHARE", help="by which a figure may get worse, such as 3%% (2%%)"
    )
    parser.add_argument("--strict", action="store_true", help="fail also where it is unclear")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Compare; return the exit code."""
    allowed = share_of(args.allow)
    before, after = _run_record(args.before), _run_record(args.after)
    if (before is None) != (after is None):
        raise UsageError(f"'{args.before}' and '{args.after}': one is a run, the other a profile; give two of a kind")
    if before is not None and after is not None:
        found = compare_runs(before, after, allowed)
    else:
        found = compare_profiles(load_profile(args.before), load_profile(args.after), allowed)
    failed = found.fails(strict=args.strict)
    print(json.dumps(_table(found, allowed, failed)) if args.json else text_of(found, allowed, failed))
    return 1 if failed else 0


def share_of(text: str) -> float:
    """Return ``3%`` or ``0.03`` as a share.

    Raises
    ------
    UsageError
        If it is neither, or negative.
    """
    word = text.strip()
    try:
        share = float(word.removesuffix("%")) * (0.01 if word.endswith("%") else 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < 10.0:
        raise UsageError(f"--allow {text}: give a share such as 3% or 0.03")
    return share


def _run_record(path: Path) -> RunRecord | EdgeRecord | None:
    """Return the record of a run folder or file; None when the file is something else."""
    found = find(path)
    try:
        return read_any(found)
    except DataError:
        if found.suffix == ".gz":
            raise
        return None


def _table(found: Comparison, allowed: float, failed: bool) -> dict[str, object]:
    changes = [asdict(each) for each in found.changes]
    return {"failed": failed, "allowed": allowed, "changes": changes, "notes": list(found.notes)}


def text_of(found: Comparison, allowed: float, failed: bool) -> str:
    """Return a comparison for people."""
    lines = [_line(each) for each in found.changes]
    lines += [f"  note: {note}" for note in found.notes]
    count = sum(each.fails for each in found.changes)
    unclear = sum(each.verdict == "unclear" for each in found.changes)
    also = f", {unclear} unclear" if unclear else ""
    lines.append(
        f"{'WORSE' if failed else 'ok'}: {count} of {len(found.changes)} figures worse by more than {allowed:.1%}{also}"
    )
    return "\n".join(lines)


def _line(each: Change) -> str:
    ratio = "" if each.ratio is None else f"{each.ratio - 1.0:+8.1%}"
    return (
        f"  {each.what:<22} {each.figure:<20} {_value(each.before, each.unit):>11} -> {_value(each.after, each.unit):<11} "
        f"{ratio:>9}  {each.verdict}"
    )


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return format_quantity(value, unit, digits=4) if unit else f"{value:.4g}"
