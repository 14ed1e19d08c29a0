# SPDX-License-Identifier: Apache-2.0
"""What changed between two profiles or two runs, and whether it got worse by more than is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from joulet.profile.figures import Interval, Profile, Row
from joulet.records import Summary


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


# (figure, unit, name in the summary, more is better)
_RUN_FIGURES = (
    ("score", "", "score", True),
    ("answered", "", "served", True),
    ("energy of an answer", "J", "mean_energy_j", False),
    ("latency, 95 of 100", "s", "latency_p95_s", False),
    ("time off", "s", "off_s", False),
    ("brown-outs", "", "brownouts", False),
)


def compare_runs(before: Summary, after: Summary, allowed: float) -> Comparison:
    """Compare two runs; they are single ones, so that every change beyond what is allowed counts."""
    changes = []
    for figure, unit, name, more_is_better in _RUN_FIGURES:
        a, b = getattr(before, name), getattr(after, name)
        if a is None and b is None:
            continue
        changes.append(_run_change(figure, unit, a, b, more_is_better, allowed))
    notes = (f"events differ: {before.arrived} / {after.arrived}",) if before.arrived != after.arrived else ()
    return Comparison(changes=tuple(changes), notes=notes)


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
