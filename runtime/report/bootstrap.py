# SPDX-License-Identifier: Apache-2.0
"""Intervals by block bootstrap: whole days are drawn again with replacement, because events of one day are not independent.

Percentile method at 95 %. A score is the sum of correct answers over the sum of arrivals of the drawn blocks. Policies
of one cell, and cells of one group (a trace), see the same drawn days: the differences are paired, and cells that share
their weather are not mistaken for independent ones. The limits are widened to take in the estimate.

Defined edge cases: one block gives an interval of zero width; without any arrival the score is 0; a draw without any
arrival counts as the estimate.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.records import Block, SimulationRecord
from joulet.report.study import Study, study_of

RESAMPLES = 2000
LEVEL = 0.95

Blocks = Sequence[Block]
Value = Literal["correct", "expected"]
_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval; ``low <= estimate <= high``."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if zero lies outside of the interval."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a policy compares with another over the cells of one family.

    Attributes
    ----------
    policy, other
        Names.
    family
        None over all families.
    cells
        Cells that have both.
    difference
        Mean over these cells of score(policy) − score(other), −1..1.
    judged
        False if some cell has a single block, so that its spread is not known.
    """

    policy: str
    other: str
    family: str | None
    cells: int
    difference: Interval
    judged: bool

    @property
    def excludes_zero(self) -> bool:
        """True if the difference is judged and its interval excludes zero."""
        return self.judged and self.difference.excludes_zero

    @property
    def ahead(self) -> bool:
        """True if ``policy`` is better by more than chance."""
        return self.excludes_zero and self.difference.estimate > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Intervals of a whole study: mean score of each policy, and one policy against each other one."""

    scores: Mapping[str, Interval]
    verdicts: tuple[Verdict, ...]


def score_interval(blocks: Blocks, *, seed: int, resamples: int = RESAMPLES, value: Value = "correct") -> Interval:
    """Return the score of ``blocks`` with its interval.

    Raises
    ------
    DataError
        If there is no block.
    """
    return mean_score_interval([blocks], seed=seed, resamples=resamples, value=value)


def difference_interval(
    first: Blocks, second: Blocks, *, seed: int, resamples: int = RESAMPLES, value: Value = "correct"
) -> Interval:
    """Return score(first) − score(second), two policies in one cell, with its interval over the same drawn blocks."""
    return mean_difference_interval([(first, second)], seed=seed, resamples=resamples, value=value)


def mean_score_interval(
    cells: Sequence[Blocks],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    value: Value = "correct",
) -> Interval:
    """Return the mean of the cells' scores with its interval; blocks are drawn again within each cell.

    Parameters
    ----------
    cells
        The blocks of each cell, at least one cell.
    seed
        Of the draws; the same seed gives the same interval.
    groups
        One word a cell: cells of one group and equal number of blocks share their draws. None: all are independent.
    resamples
        Number of draws, 1 or more.
    value
        What counts as right: ``correct`` (realised) or ``expected`` (by the calibrated model).
    """
    days = _Days(seed, resamples)
    sums = _Mean()
    for blocks, group in zip(cells, _groups(cells, groups), strict=True):
        estimate, drawn = days.scores([blocks], group, value)
        sums.add(float(estimate[0]), drawn[:, 0])
    return sums.interval()


def mean_difference_interval(
    pairs: Sequence[tuple[Blocks, Blocks]],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    value: Value = "correct",
) -> Interval:
    """Return the mean over cells of score(first) − score(second) with its interval; parameters as above."""
    days = _Days(seed, resamples)
    sums = _Mean()
    for pair, group in zip(pairs, _groups(pairs, groups), strict=True):
        estimate, drawn = days.scores(pair, group, value)
        sums.add(float(estimate[0] - estimate[1]), drawn[:, 0] - drawn[:, 1])
    return sums.interval()


def verdicts(
    records: Sequence[SimulationRecord],
    policy: str,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    value: Value = "correct",
) -> tuple[Verdict, ...]:
    """Return ``policy`` against every other one: over all families first, then by family.

    Cells in which the optimum gets few events right are left out, as in the report; cells of one trace share the
    drawn days.

    Raises
    ------
    DataError
        If ``policy`` has no record, or two policies of a cell differ in their number of blocks.
    """
    return resample(study_of(records), policy, seed=seed, resamples=resamples, value=value).verdicts


def resample(
    study: Study, policy: str, *, seed: int, resamples: int = RESAMPLES, value: Value = "correct"
) -> Resampled:
    """Return every interval of a study in one pass over its counted cells."""
    if policy not in study.policies:
        raise DataError(f"policy '{policy}' is in no record; choose one of {', '.join(study.policies)}")
    days = _Days(seed, resamples)
    scores: dict[str, _Mean] = {}
    differences: dict[tuple[str, str | None], _Mean] = {}
    for cell in sorted(study.counted, key=lambda cell: cell.trace):
        found = study.cells[cell]
        names = list(found)
        estimate, drawn = days.scores([record.blocks for record in found.values()], cell.trace, value)
        for column, name in enumerate(names):
            scores.setdefault(name, _Mean()).add(float(estimate[column]), drawn[:, column])
        for column, name in enumerate(names if policy in found else []):
            if name == policy:
                continue
            base = names.index(policy)
            gap, gaps = float(estimate[base] - estimate[column]), drawn[:, base] - drawn[:, column]
            for family in (None, cell.family):
                differences.setdefault((name, family), _Mean()).add(gap, gaps, len(found[name].blocks) > 1)
    order = [(other, family) for other in study.policies for family in (None, *study.families)]
    return Resampled(
        scores={name: scores[name].interval() for name in study.policies if name in scores},
        verdicts=tuple(_verdict(policy, key, differences[key]) for key in order if key in differences),
    )


def _verdict(policy: str, key: tuple[str, str | None], mean: _Mean) -> Verdict:
    other, family = key
    return Verdict(
        policy=policy, other=other, family=family, cells=mean.count, difference=mean.interval(), judged=mean.judged
    )


def _groups(cells: Sequence[object], groups: Sequence[str] | None) -> Sequence[str]:
    if groups is None:
        return [f"cell {index}" for index in range(len(cells))]
    if len(groups) != len(cells):
        raise DataError(f"{len(groups)} groups for {len(cells)} cells; give one a cell")
    return groups


class _Mean:
    """Mean over cells of an estimate and of each of its draws, kept as sums."""

    def __init__(self) -> None:
        self.count = 0
        self.judged = True
        self._estimate = 0.0
        self._drawn: _Array | None = None

    def add(self, estimate: float, drawn: _Array, judged: bool = True) -> None:
        """Take in one cell."""
        self.count += 1
        self.judged &= judged
        self._estimate += estimate
        if self._drawn is None:
            self._drawn = drawn.copy()
        else:
            self._drawn += drawn

    def interval(self) -> Interval:
        """Return the mean with its interval."""
        if self._drawn is None:
            raise DataError("an interval needs at least one cell; give the blocks of one or more")
        estimate, tail = self._estimate / self.count, (1.0 - LEVEL) / 2.0
        low, high = (float(limit) for limit in np.quantile(self._drawn / self.count, (tail, 1.0 - tail)))
        return Interval(estimate=estimate, low=min(low, estimate), high=max(high, estimate))


class _Days:
    """Draws of days, one matrix for each group and number of blocks: how often each draw holds each block."""

    def __init__(self, seed: int, resamples: int) -> None:
        if resamples < 1 or seed < 0:
            raise DataError(f"resamples: {resamples} must be 1 or more, and seed: {seed} 0 or more")
        self._seed = seed
        self._resamples = resamples
        self._key: tuple[str, int] | None = None
        self._counts: _Array = np.zeros((0, 0))

    def scores(self, series: Sequence[Blocks], group: str, value: Value) -> tuple[_Array, _Array]:
        """Return the score of each series ``(n_series,)`` and of each of its draws ``(resamples, n_series)``."""
        lengths = {len(blocks) for blocks in series}
        if len(lengths) != 1 or 0 in lengths:
            found = ", ".join(str(length) for length in sorted(lengths))
            raise DataError(f"blocks: found {found} in one cell; every policy needs the same number, 1 or more")
        arrived = np.array([[block.arrived for block in blocks] for blocks in series], dtype=np.float64)
        right = np.array([[getattr(block, value) for block in blocks] for blocks in series], dtype=np.float64)
        estimate = _ratio(right.sum(axis=1), arrived.sum(axis=1), 0.0)
        counts = self._drawn(group, arrived.shape[1])
        return estimate, _ratio(counts @ right.T, counts @ arrived.T, estimate)

    def _drawn(self, group: str, n_blocks: int) -> _Array:
        if self._key != (group, n_blocks):
            # seeded by the group, so that neither order nor company of the cells changes what is drawn
            rng = np.random.default_rng([self._seed, zlib.crc32(group.encode()), n_blocks])
            picks = rng.integers(0, n_blocks, size=(self._resamples, n_blocks))
            picks += np.arange(self._resamples)[:, None] * n_blocks
            flat = np.bincount(picks.ravel(), minlength=self._resamples * n_blocks)
            self._counts = flat.reshape(self._resamples, n_blocks).astype(np.float64)
            self._key = (group, n_blocks)  # one is kept: a year of days is several megabytes
        return self._counts


def _ratio(above: _Array, below: _Array, otherwise: _Array | float) -> _Array:
    empty = below <= 0.0
    return np.where(empty, otherwise, above / np.where(empty, 1.0, below))
