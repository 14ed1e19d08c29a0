# SPDX-License-Identifier: Apache-2.0
"""What changed between two profiles or two runs, and whether it got worse by more than is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joulet.metered_run import EdgeRecord
from joulet.profile.figures import Interval, Profile, Row
from joulet.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure before and after.

    ``verdict`` is ``same`` (within what is allowed), ``better``, ``worse``, ``unclear`` (worse by more than is allowed, but the
    intervals overlap), ``gone`` or ``new``. ``ratio`` is after over before, None where there is none.
    """

    what: str
    figure: str
    unit: str
    before: float | None
    after: float | None
    ratio: float | None
    verdict: str

    @property
    def fails(self) -> bool:
        """True for what a gate stops at."""
        return self.verdict in ("worse", "gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes; ``notes`` say in what the two differ besides."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def fails(self, *, strict: bool = False) -> bool:
        """Return whether anything got worse; ``strict`` also counts what is unclear."""
        return any(each.fails or (strict and each.verdict == "unclear") for each in self.changes)


def compare_profiles(before: Profile, after: Profile, allowed: float) -> Comparison:
    """Compare row by row; ``allowed`` is the share by which a figure may grow, such as 0.03."""
    changes: list[Change] = []
    rows = {(row.path, row.exit): row for row in after.rows}
    for old in before.rows:
        changes += _row_changes(old, rows.pop((old.path, old.exit), None), allowed)
    changes += [_lone(row, "new") for row in rows.values()]
    return Comparison(changes=tuple(changes), notes=tuple(_differences(before, after)))


def _row_changes(old: Row, new: Row | None, allowed: float) -> Iterator[Change]:
    what = f"{old.path} to {old.exit}"
    if new is None:
        yield _lone(old, "gone")
        return
    for figure, unit, a, b in (
        ("energy", "J", old.energy_j, new.energy_j),
        ("latency", "s", old.latency_s, new.latency_s),
    ):
        ratio = b.mean / a.mean if a.mean > 0.0 else None
        yield Change(
            what=what,
            figure=figure,
            unit=unit,
            before=a.mean,
            after=b.mean,
            ratio=ratio,
            verdict=_verdict(a, b, ratio, allowed),
        )


def _verdict(a: Interval, b: Interval, ratio: float | None, allowed: float) -> str:
    if ratio is None or abs(ratio - 1.0) <= allowed:
        return "same"
    if ratio < 1.0:
        return "better" if b.high < a.low else "same"
    return "worse" if b.low > a.high else "unclear"


def _lone(row: Row, verdict: str) -> Change:
    mean = row.energy_j.mean
    before, after = (mean, None) if verdict == "gone" else (None, mean)
    return Change(
        what=f"{row.path} to {row.exit}",
        figure="energy",
        unit="J",
        before=before,
        after=after,
        ratio=None,
        verdict=verdict,
    )


def _differences(before: Profile, after: Profile) -> Iterator[str]:
    for name in ("model_hash", "engine", "meter", "provenance", "inside"):
        a, b = getattr(before, name), getattr(after, name)
        if a != b:
            yield f"{name.replace('_', ' ')} differs: {a} / {b}"
    if before.sync.method != after.sync.method:
        yield f"sync differs: {before.sync.method} / {after.sync.method}"


# figure: (unit, more is better)
_RUN_FIGURES = {
    "score": ("", True),
    "answered": ("", True),
    "energy of an answer": ("J", False),
    "latency, 95 of 100": ("s", False),
    "time off": ("s", False),
    "brown-outs": ("", False),
    "energy over the cap": ("J", False),
    "energy over the budget": ("J", False),
    "energy drawn": ("J", False),
}


def figures_of(run: RunRecord | EdgeRecord) -> dict[str, float | None]:
    """Return what runs are compared by; of the energy of an answer idle power and sleep are no part."""
    if isinstance(run, RunRecord):
        s = run.summary
        return {
            "score": s.score, "answered": s.served, "energy of an answer": s.mean_energy_j,
            "latency, 95 of 100": s.latency_p95_s, "time off": s.off_s, "brown-outs": s.brownouts,
        }  # fmt: skip
    return {
        "score": run.score, "answered": run.answered, "energy of an answer": run.answer_j,
        "latency, 95 of 100": run.latency_s(0.95),
        "energy over the cap": None if run.cap is None else run.cap.over_j,
        "energy over the budget": None if run.budget_j is None else max(0.0, run.energy_j - run.budget_j),
        "energy drawn": run.energy_j,
    }  # fmt: skip


def compare_runs(before: RunRecord | EdgeRecord, after: RunRecord | EdgeRecord, allowed: float) -> Comparison:
    """Compare two runs by the figures that both kinds have.

    They are single ones, so that every change beyond what is allowed counts. Where one ran under a meter and the other did not, a
    note says that their energies are of different provenance.
    """
    a, b = figures_of(before), figures_of(after)
    mixed = isinstance(before, EdgeRecord) != isinstance(after, EdgeRecord)
    changes = [
        _run_change(figure, unit, a.get(figure), b.get(figure), more_is_better, allowed)
        for figure, (unit, more_is_better) in _RUN_FIGURES.items()
        if (a.get(figure), b.get(figure)) != (None, None) and not (mixed and (figure not in a or figure not in b))
    ]
    return Comparison(changes=tuple(changes), notes=tuple(_run_differences(before, after)))


def _run_differences(before: RunRecord | EdgeRecord, after: RunRecord | EdgeRecord) -> Iterator[str]:
    if before.model_hash != after.model_hash:
        yield f"model differs: {before.model} / {after.model}"
    if _arrived(before) != _arrived(after):
        yield f"events differ: {_arrived(before)} / {_arrived(after)}"
    if isinstance(before, EdgeRecord) and isinstance(after, EdgeRecord):
        for name in ("engine", "meter", "provenance", "knob", "decided"):
            a, b = getattr(before, name), getattr(after, name)
            if a != b:
                yield f"{name} differs: {a} / {b}"
        if _limits(before) != _limits(after):
            yield f"limits differ: {_limits(before)} / {_limits(after)}"
    elif isinstance(before, EdgeRecord) or isinstance(after, EdgeRecord):
        yield f"energies differ in provenance: {_provenance(before)} / {_provenance(after)}"
    for run in (before, after):
        if isinstance(run, EdgeRecord) and run.estimated_j > 0.0:
            yield f"{run.estimated_j / run.energy_j:.1%} of the energy of {run.meter} is estimated"


def _arrived(run: RunRecord | EdgeRecord) -> int:
    return run.summary.arrived if isinstance(run, RunRecord) else run.arrived


def _limits(run: EdgeRecord) -> str:
    cap = "" if run.cap is None else ", ".join(f"{power_w:g} W from {time_s:g} s" for time_s, power_w in run.cap.steps)
    budget = "" if run.budget_j is None else f"{run.budget_j:g} J"
    return ", ".join(part for part in (cap, budget) if part)


def _provenance(run: RunRecord | EdgeRecord) -> str:
    if isinstance(run, EdgeRecord):
        return "; ".join(run.provenance) or "no readings"
    return run.ledger.provenance.get("compute", "modelled")


def _run_change(
    figure: str, unit: str, a: float | None, b: float | None, more_is_better: bool, allowed: float
) -> Change:
    ratio = b / a if a and b is not None else None
    if a is None or b is None:
        verdict = "new" if a is None else "gone"
    elif a == b or (ratio is not None and abs(ratio - 1.0) <= allowed):
        verdict = "same"
    else:
        verdict = "better" if (b > a) == more_is_better else "worse"
    return Change(what="run", figure=figure, unit=unit, before=a, after=b, ratio=ratio, verdict=verdict)
