# SPDX-License-Identifier: Apache-2.0
"""What a sweep says in the end: means by policy, and the comparison of all cells with one of them as an example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulet.errors import JouletError
from joulet.records import PriceMap, SimulationRecord
from joulet.report import ExampleNotes, PageNotes, Written, write_comparison
from joulet.report.example import Timelines
from joulet.report.study import study_of
from joulet.report.tally import mean
from joulet.simulate.job import BEST_FIXED, Job, make_cell
from joulet.simulate.show import price_maps, timeline
from joulet.simulate.study import Study
from joulet.simulate.sweep import Key
from joulet.units import format_quantity

_SHOWN = 6  # policies in the example


def cell_title(study: Study, index: int) -> str:
    """Return a cell in one line."""
    job, name = study.jobs[index], study.names[index]
    store = f"{job.store_inferences:g} inferences" if job.capacitor_f is None else format_quantity(job.capacitor_f, "F")
    harvest = f"× {job.scale:g}" if job.harvest_ratio is None else f"harvest {job.harvest_ratio:g} × demand"
    return f"{name.model} on {name.trace}, {job.arrivals}, {store}, {harvest}"


def summary(records: Sequence[SimulationRecord]) -> dict[str, Any]:
    """Return the largest residual and, by policy, means over the cells that count."""
    if not records:
        return {"largest_residual": None, "not_averaged": 0, "policies": {}}
    study = study_of(records)
    found = {policy: study.of(policy) for policy in study.policies}
    return {
        "largest_residual": max(record.residual for record in records),
        "not_averaged": 0 if study.all_thin else len(study.thin),
        "policies": {
            policy: {
                "cells": len(each),
                "score": mean(record.score for record in each),
                "pct_of_oracle_energy": mean(record.pct_of_oracle_energy for record in each),
            }
            for policy, each in found.items()
            if each
        },
    }


def summary_text(result: Mapping[str, Any]) -> str:
    """Return the result of a sweep for people."""
    failed = result["failed"]
    cells = f"{result['chosen']:,} of {result['cells']:,} cells"
    lines = [
        f"{cells}, {result['records']:,} records ({result['resumed']:,} of them from before), {len(failed)} failed"
    ]
    if result["policies"]:
        lines.append(f"  {'policy':22} {'cells':>6} {'score':>8} {'oracle %':>9}")
    for policy, row in result["policies"].items():
        pct = row["pct_of_oracle_energy"]
        lines.append(
            f"  {policy:22} {row['cells']:6,} {100 * row['score']:7.1f}% "
            + ("        -" if pct is None else f"{pct:9.1f}")
        )
    if result["not_averaged"]:
        lines.append(
            f"  {result['not_averaged']} cells in which the optimum gets fewer than 100 events right are left out"
        )
    if result["largest_residual"] is not None:
        lines.append(f"  largest residual {result['largest_residual']:.1e} of what went through a store")
    lines += [f"  FAILED {each['cell']}, {each['policy'] or 'all policies'}: {each['error']}" for each in failed[:10]]
    if len(failed) > 10:
        lines.append(f"  … and {len(failed) - 10} more; see manifest.json")
    lines.append(f"  in {result['out']}")
    return "\n".join(lines)


def write_report(
    study: Study,
    ids: Sequence[str],
    kept: Mapping[Key, SimulationRecord],
    records: Sequence[SimulationRecord],
    folder: Path,
) -> Written:
    """Write the comparison of all records; the first policy is held against the others."""
    known = {record.policy for record in records}
    focus = next(spec for job in study.jobs for spec in job.policies if spec in known)
    notes = PageNotes(
        lead=f"{len(study.jobs):,} cells of {study.file.name}. What was learned was judged on other days, samples or traces.",
        focus=focus,
    )
    timelines: Timelines | None = None
    maps: Sequence[PriceMap] = ()
    note = None
    done = [index for index, key in enumerate(ids) if any((key, spec) in kept for spec in study.jobs[index].policies)]
    example = min(done, key=lambda index: _oddness(study.jobs[index]))
    try:
        job = study.jobs[example]
        cell = make_cell(job)
        specs = [spec for spec in job.policies if spec != BEST_FIXED][:_SHOWN]
        timelines = timeline(cell, specs) or None
        maps = price_maps(cell) if "shadow" in job.policies else ()
        costs = cell.scenario.costs
        about = ExampleNotes(
            name=cell_title(study, example),
            clock_start_s=job.clock_start_s,
            path_names=costs.path_names,
            exit_names=costs.exit_names,
        )
        notes = replace(notes, example=about)
    except JouletError as error:
        note = f"the example of the report: {error}"
    written = write_comparison(
        folder,
        records,
        title=f"{study.file.stem}: policies compared",
        timelines=timelines,
        price_maps=maps,
        notes=notes,
    )
    return written if note is None else replace(written, left_out=(*written.left_out, note))


def _oddness(job: Job) -> tuple[float, float]:
    """Return how far from the middle of things a cell is: harvest as demand, a store of twenty inferences."""
    ratio = abs(math.log(job.harvest_ratio)) if job.harvest_ratio is not None else 0.0
    store = abs(math.log(job.store_inferences / 20.0)) if job.store_inferences is not None else 0.0
    return ratio, store
