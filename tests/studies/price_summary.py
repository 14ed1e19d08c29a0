# SPDX-License-Identifier: Apache-2.0
"""What the study of the price of a joule shows, target by target, from the records.jsonl of a sweep.

Cells in which the optimum gets fewer than 100 events right are counted and left out. Shares of oracle-energy compare
expected scores under the same calibrated model; the rest are realised scores, where nothing else is said. Exit code 1
when a target is missed; a target without records to judge it by is told as such.

    python tests/studies/price_summary.py build/study-price/results [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from joulet.records import SimulationRecord
from joulet.report import verdicts
from joulet.report.study import Cell, Study, cell_of, store_size, study_of
from joulet.simulate.sweep import RecordsFile

OURS, FULL, HINDSIGHT = "shadow", "fixed", "best-fixed"
RIVALS = ("threshold", "atm", "linear", "eno", "zygarde", "bandit", "bandit:ucbv", "qlearning")
LARGE = 5.0
LEAST = {("solar", "large"): 97.0, ("rf", "large"): 90.0, ("solar", "small"): 85.0, ("rf", "small"): 85.0}
SCARCE, SCARCE_GAIN = 0.3, 1.3
WORSE_PERCENT = 1.0
RESIDUAL = 1e-3
# two sums of the same doubles in another order
ROUNDING_PERCENT = 1e-6


def newest(records: Iterable[SimulationRecord]) -> list[SimulationRecord]:
    """Return one record a cell and policy: the last, where a study was changed and run again."""
    return list({(cell_of(record), record.policy): record for record in records}.values())


def shares(study: Study) -> dict[str, dict[str, dict[str, float]]]:
    """Return mean % of oracle-energy by family, class of store and policy."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for cell in study.counted:
        size = "large" if store_size(cell) >= LARGE else "small"
        for policy, record in study.cells[cell].items():
            if record.pct_of_oracle_energy is not None:
                rows = found.setdefault(cell.family, {}).setdefault(size, {})
                rows.setdefault(policy, []).append(record.pct_of_oracle_energy)
    return {
        family: {size: {policy: fmean(values) for policy, values in rows.items()} for size, rows in sizes.items()}
        for family, sizes in found.items()
    }


def gain_when_scarce(study: Study) -> dict[str, float | int] | None:
    """Return mean score of ours over that of full-depth w8 where harvest is 0.3 of the demand."""
    pairs = [(found[OURS].score, found[FULL].score) for found in both(study, FULL, SCARCE).values()]
    if not pairs or not sum(full for _, full in pairs):
        return None
    return {"cells": len(pairs), "ratio": sum(ours for ours, _ in pairs) / sum(full for _, full in pairs)}


def both(study: Study, other: str, ratio: float | None = None) -> dict[Cell, dict[str, SimulationRecord]]:
    """Return the counted cells that have ours and another policy."""
    return {
        cell: dict(study.cells[cell])
        for cell in study.counted
        if {OURS, other} <= set(study.cells[cell]) and ratio in (None, cell.harvest_ratio)
    }


def against_hindsight(study: Study) -> dict[str, object] | None:
    """Return the cell in which ours is worst against the best fixed point, and how many are worse than allowed."""
    found = both(study, HINDSIGHT)
    result: dict[str, object] = {"cells": len(found)}
    for what in ("expected_score", "score"):
        gaps = {
            cell: 100.0 * (getattr(rows[OURS], what) / getattr(rows[HINDSIGHT], what) - 1.0)
            for cell, rows in found.items()
            if getattr(rows[HINDSIGHT], what) > 0.0
        }
        if not gaps:
            return None
        worst = min(gaps, key=lambda cell: gaps[cell])
        worse = [cell for cell, gap in gaps.items() if gap < -WORSE_PERCENT]
        by_family = {family: sum(cell.family == family for cell in worse) for family in study.families}
        result[what] = {
            "worst_percent": gaps[worst],
            "worst_cell": worst.name,
            "worse_cells": len(worse),
            "by_family": by_family,
        }
    return result


def rivals(study: Study, records: list[SimulationRecord], seed: int) -> dict[str, dict[str, dict[str, object]]]:
    """Return paired differences of ours to each other policy, by family, in points of score."""
    if OURS not in study.policies:
        return {}
    found: dict[str, dict[str, dict[str, object]]] = {}
    for verdict in verdicts(records, OURS, seed=seed):
        interval = verdict.difference
        found.setdefault(verdict.other, {})[verdict.family or "all"] = {
            "cells": verdict.cells,
            "points": 100.0 * interval.estimate,
            "low": 100.0 * interval.low,
            "high": 100.0 * interval.high,
            "ahead": verdict.ahead,
        }
    return found


def above_bounds(study: Study) -> int:
    """Return how many records beat a bound.

    An expected score is a mean over drawn outcomes, so that only what lies three standard errors above its bound counts;
    a realised score against the bound that knows all has no such excuse.
    """
    count = 0
    for record in (record for found in study.cells.values() for record in found.values()):
        if record.oracle_energy_score is not None:
            bound = record.oracle_energy_score
            error = math.sqrt(max(bound * (1.0 - bound), 1.0 / record.arrived) / record.arrived)
            count += record.expected_score > bound + 3.0 * error
        if record.pct_of_oracle_all is not None:
            count += record.pct_of_oracle_all > 100.0 + ROUNDING_PERCENT
    return count


def summarise(records: list[SimulationRecord], seed: int = 0) -> dict[str, object]:
    """Return all figures and what became of each target: true, false, or None without records to judge it by."""
    study = study_of(records)
    by_family, scarce, hindsight = shares(study), gain_when_scarce(study), against_hindsight(study)
    against = rivals(study, records, seed)
    residual, above = max(record.residual for record in records), above_bounds(study)
    met: dict[str, bool | None] = {}
    for (family, size), least in LEAST.items():
        share = by_family.get(family, {}).get(size, {}).get(OURS)
        name = f"{OURS} >= {least:g} % of oracle-energy, {family}, stores {'>=' if size == 'large' else '<'} {LARGE:g}"
        met[name] = None if share is None else share >= least
    met[f"{OURS} >= {SCARCE_GAIN} x full-depth w8 at harvest {SCARCE}"] = (
        None if scarce is None else scarce["ratio"] >= SCARCE_GAIN
    )
    for other in RIVALS:
        families = [row["ahead"] for family, row in against.get(other, {}).items() if family != "all"]
        met[f"{OURS} ahead of {other} on most families"] = (
            2 * sum(map(bool, families)) > len(families) if families else None
        )
    name = f"{OURS} nowhere worse than {HINDSIGHT} by more than {WORSE_PERCENT:g} % (expected scores)"
    met[name] = None if hindsight is None else hindsight["expected_score"]["worse_cells"] == 0  # type: ignore[index]
    met["every ledger closes"] = residual <= RESIDUAL
    met["no score is above its bound"] = above == 0
    return {
        "cells": len(study.cells),
        "counted": len(study.counted),
        "thin": len(study.thin),
        "all_thin": study.all_thin,
        "complete": study.complete,
        "records": len(records),
        "pct_of_oracle_energy": by_family,
        "scarce": scarce,
        "hindsight": hindsight,
        "against": against,
        "largest_residual": residual,
        "above_bounds": above,
        "met": met,
    }


def text(found: dict) -> str:
    """Return the summary for people."""
    lines = [
        f"{found['cells']:,} cells, {found['records']:,} records; {found['thin']:,} cells in which the optimum gets fewer than "
        f"100 events right {'are all there are, and are averaged' if found['all_thin'] else 'are left out'}"
    ]
    if not found["complete"]:
        lines.append("not every policy was run in every cell; means of different policies are over different cells")
    sizes = {"large": f"stores >= {LARGE:g}", "small": f"stores < {LARGE:g}"}
    columns = [
        (family, size) for family, rows in found["pct_of_oracle_energy"].items() for size in sizes if size in rows
    ]
    lines += ["", "mean % of oracle-energy", f"  {'':14}" + "".join(f"{family:>13}" for family, _ in columns)]
    lines.append(f"  {'':14}" + "".join(f"{sizes[size]:>13}" for _, size in columns))
    rows = [found["pct_of_oracle_energy"][family][size] for family, size in columns]
    for policy in dict.fromkeys(policy for row in rows for policy in row):
        lines.append(
            f"  {policy:14}" + "".join(f"{row[policy]:13.1f}" if policy in row else f"{'-':>13}" for row in rows)
        )
    lines += ["", f"{OURS} against each other, points of score (95 % interval by days; * excludes zero in its favour)"]
    for other, families in found["against"].items():
        said = (
            f"{family} {row['points']:+.2f} ({row['low']:+.2f} … {row['high']:+.2f}){'*' if row['ahead'] else ''}"
            for family, row in families.items()
        )
        lines.append(f"  {other:14}" + ", ".join(said))
    lines.append("")
    if found["scarce"] is not None:
        lines.append(
            f"{OURS} / full-depth w8 at harvest {SCARCE}: {found['scarce']['ratio']:.2f} ({found['scarce']['cells']} cells)"
        )
    for what, name in (("expected_score", "expected"), ("score", "realised")) if found["hindsight"] else ():
        row = found["hindsight"][what]
        lines.append(
            f"{OURS} against {HINDSIGHT}, {name}: worst {row['worst_percent']:+.2f} % ({row['worst_cell']}); "
            f"{row['worse_cells']} of {found['hindsight']['cells']} cells worse by more than {WORSE_PERCENT:g} % {row['by_family']}"
        )
    lines.append(f"largest residual {found['largest_residual']:.1e}; {found['above_bounds']} scores above a bound")
    lines.append("")
    words = {True: "PASS", False: "FAIL", None: "not judged"}
    lines += [f"  {words[value]:10} {name}" for name, value in found["met"].items()]
    return "\n".join(lines)


def main() -> int:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", metavar="DIR", help="folders of joulet sweep (slices)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    records = newest(
        record for folder in args.folder for record in RecordsFile(folder / "records.jsonl").read().records.values()
    )
    if not records:
        print(
            f"price_summary: error: no record in {', '.join(map(str, args.folder))}; run joulet sweep first",
            file=sys.stderr,
        )
        return 2
    found = summarise(records, args.seed)
    print(json.dumps(found, indent=1) if args.json else text(found))
    return 1 if False in found["met"].values() else 0  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
