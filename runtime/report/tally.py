# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison: one line a policy, and means over groups of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from joulet.records import ACCOUNTS, SimulationRecord
from joulet.report.bootstrap import Interval
from joulet.report.study import Cell, Study, store_size

# what the load took from the store, and what of the harvest served nothing
LOAD = ("compute", "redone", "abandoned", "sleep", "sensing", "policy", "refit")
WASTED = ("redone", "abandoned", "clipped")
LARGE_STORE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one policy did over its counted cells.

    Attributes
    ----------
    policy, cells
        Its name and the number of cells.
    score
        Mean over cells, 0..1, with its interval.
    pct_of_oracle_energy, pct_of_oracle_all
        Means over the cells where the bound is known [%].
    brownouts_per_1000
        Brown-outs per thousand arrived events, all cells together.
    time_off
        Mean share of time without power, 0..1.
    mean_bits, mean_exit
        Means over the cells with an answer.
    energy_per_correct_j
        Drawn by the load over correct answers, all cells together [J].
    wasted
        Redone, abandoned and clipped over harvested, mean over cells, 0..
    latency_s
        p50, p95 and p99, each the median over cells [s].
    """

    policy: str
    cells: int
    score: Interval
    pct_of_oracle_energy: float | None
    pct_of_oracle_all: float | None
    brownouts_per_1000: float | None
    time_off: float
    mean_bits: float | None
    mean_exit: float | None
    energy_per_correct_j: float | None
    wasted: float | None
    latency_s: tuple[float | None, float | None, float | None]


def tallies(study: Study, scores: Mapping[str, Interval]) -> list[Tally]:
    """Return a line for each policy that has a counted cell."""
    return [_tally(policy, study.of(policy), scores[policy]) for policy in study.policies if policy in scores]


def _tally(policy: str, records: list[SimulationRecord], score: Interval) -> Tally:
    arrived, correct = sum(r.arrived for r in records), sum(r.correct_on_time for r in records)
    latencies = [[getattr(r, field) for r in records] for field in ("latency_p50_s", "latency_p95_s", "latency_p99_s")]
    p50, p95, p99 = (_over(median, values) for values in latencies)
    return Tally(
        policy=policy,
        cells=len(records),
        score=score,
        pct_of_oracle_energy=mean(r.pct_of_oracle_energy for r in records),
        pct_of_oracle_all=mean(r.pct_of_oracle_all for r in records),
        brownouts_per_1000=1000.0 * sum(r.brownouts for r in records) / arrived if arrived else None,
        time_off=fmean(r.time_off for r in records),
        mean_bits=mean(r.mean_bits for r in records),
        mean_exit=mean(r.mean_exit for r in records),
        energy_per_correct_j=sum(load_j(r) for r in records) / correct if correct else None,
        wasted=mean(share(r, WASTED) for r in records),
        latency_s=(p50, p95, p99),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known, None where nothing is."""
    return _over(fmean, values)


def _over(reduce: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return reduce(known) if known else None


def load_j(record: SimulationRecord) -> float:
    """Return what the load drew from the store in a run [J]."""
    return sum(record.energy_nj.get(account, 0.0) for account in LOAD) * 1e-9


def share(record: SimulationRecord, accounts: Sequence[str]) -> float | None:
    """Return some accounts over the harvest of a run, None where nothing was harvested."""
    harvested = record.energy_nj.get("harvested", 0.0)
    return sum(record.energy_nj.get(account, 0.0) for account in accounts) / harvested if harvested > 0.0 else None


def energy_shares(records: Sequence[SimulationRecord]) -> dict[str, float]:
    """Return each account, and what stayed in the store, over the harvest; means over runs, those with 0 left out."""
    stack = {name: mean(share(record, [name]) for record in records) for name in ACCOUNTS}
    stored = [share(record, ["stored"]) for record in records]
    stack["left in the store"] = mean(None if value is None else max(value, 0.0) for value in stored)
    return {name: value for name, value in stack.items() if value is not None and value > 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A policy in the accuracy-energy plane: load energy per arrived event [J] and score (0..1), means over cells."""

    policy: str
    energy_j: float
    score: float


def points(study: Study, cells: Sequence[Cell]) -> list[Point]:
    """Return a point for each policy that was run in ``cells``."""
    found = []
    for policy in study.policies:
        records = [record for record in study.of(policy, cells) if record.arrived]
        if records:
            energy_j = fmean(load_j(record) / record.arrived for record in records)
            found.append(Point(policy=policy, energy_j=energy_j, score=fmean(r.score for r in records)))
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats in both energy and score, by rising energy."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.energy_j, -p.score)):
        if not kept or point.score > kept[-1].score:
            kept.append(point)
    return kept


def bound(study: Study, cells: Sequence[Cell]) -> float | None:
    """Return the mean score of the energy optimum over ``cells``, None unless it is known in all of them."""
    known = []
    for cell in cells:
        scores = [r.oracle_energy_score for r in study.cells[cell].values() if r.oracle_energy_score is not None]
        if not scores:
            return None
        known.append(max(scores))
    return fmean(known) if known else None


def by_ratio(study: Study) -> dict[str, list[Cell]]:
    """Return the counted cells by harvest ratio if there are two to four of them, else all under an empty name."""
    ratios = study.ratios
    if not 2 <= len(ratios) <= 4:
        return {"": list(study.counted)}
    return {
        f"harvest = {ratio:g} × demand": [cell for cell in study.counted if cell.harvest_ratio == ratio]
        for ratio in ratios
    }


Columns = Mapping[str, Mapping[str, Sequence[Cell]]]


def family_columns(study: Study) -> Columns:
    """Return the counted cells by family: all stores, then large and small ones where there are both."""
    large = [cell for cell in study.counted if store_size(cell) >= LARGE_STORE]
    small = [cell for cell in study.counted if store_size(cell) < LARGE_STORE]
    groups = {"all stores": list(study.counted)}
    if large and small:
        groups |= {f"stores of {LARGE_STORE:g} and more": large, f"stores below {LARGE_STORE:g}": small}
    return {
        title: {family: [cell for cell in cells if cell.family == family] for family in study.families}
        for title, cells in groups.items()
    }


def condition_columns(study: Study, most: int = 7) -> Columns:
    """Return the counted cells by harvest ratio, store and model, each where there are 2 to ``most`` of them."""
    groups: dict[str, dict[str, list[Cell]]] = {
        "harvest over demand": {f"{r:g}": [c for c in study.counted if c.harvest_ratio == r] for r in study.ratios},
        "store, in inferences": {f"{s:g}": [c for c in study.counted if store_size(c) == s] for s in study.stores},
    }
    for title, field in (("model", "model"), ("arrivals", "arrivals")):
        names = dict.fromkeys(str(getattr(cell, field)) for cell in study.counted)
        groups[title] = {name: [c for c in study.counted if getattr(c, field) == name] for name in names}
    return {title: columns for title, columns in groups.items() if 2 <= len(columns) <= most}


def pct(study: Study, policy: str, cells: Sequence[Cell]) -> float | None:
    """Return the mean % of oracle-energy of a policy over ``cells``, None where it is not known."""
    return mean(record.pct_of_oracle_energy for record in study.of(policy, cells))
