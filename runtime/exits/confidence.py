# SPDX-License-Identifier: Apache-2.0
"""From margins to probabilities, and from probabilities to where an inference should stop.

A margin 0..255 falls into one of 32 bins. The share of correct answers in each bin, smoothed and made monotone, is
the confidence table. Exits are taken by price: stop unless the expected gain of going on exceeds the price of the
extra multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

BINS = 32
Q15 = 32767
_ERROR_BINS = 10
_PRIOR_SAMPLES = 2.0  # weight of the neighbourhood's mean in a bin
_PRICES = np.geomspace(0.002, 2.0, 40)  # accuracy per whole inference's MACs

WISHED_SAVING = 0.47
LOSS_LIMIT = 0.003
OPTIMISM = 0.003
"""Accuracy by which stops look better on the samples they were chosen on than on others."""


def isotonic(values: F64, weights: F64) -> F64:
    """Return the non-decreasing sequence nearest to ``values`` in weighted squares (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            last = blocks.pop()
            total = last[1] + block[1]
            mean = (last[0] * last[1] + block[0] * block[1]) / total if total > 0 else (last[0] + block[0]) / 2
            block = (mean, total, last[2] + block[2])
        blocks.append(block)
    return np.concatenate([np.full(count, mean) for mean, _, count in blocks])


def margin_bins(margins: I64) -> I64:
    """Return the bins of the confidence table that margins 0..255 fall into."""
    return np.asarray(np.minimum(margins >> 3, BINS - 1))


def confidence_table(margins: I64, correct: Bool) -> tuple[int, ...]:
    """Return P(correct) of each margin bin in q15, strictly increasing, ``(32,)``.

    Parameters
    ----------
    margins
        Integer margins 0..255, ``(n,)``.
    correct
        Whether the answer was right, ``(n,)``.
    """
    bins = margin_bins(margins)
    count: F64 = np.bincount(bins, minlength=BINS).astype(np.float64)
    right: F64 = np.bincount(bins, weights=correct.astype(np.float64), minlength=BINS).astype(np.float64)
    prior = _local_mean(right, count)
    share = (right + _PRIOR_SAMPLES * prior) / (count + _PRIOR_SAMPLES)
    smooth = isotonic(share, count + _PRIOR_SAMPLES * 0.1)
    table = np.clip(np.rint(smooth * Q15), 0, Q15 - BINS).astype(np.int64)
    # One step a bin keeps bins apart, so that a threshold on the confidence is a threshold on the margin.
    return tuple(int(q) for q in np.maximum.accumulate(table) + np.arange(BINS))


def calibration_error(margins: I64, correct: Bool) -> float:
    """Return the expected calibration error of confidence tables on samples they were not made from.

    Each half of the samples (every other one) is judged by the table of the other half: the gap between mean confidence
    and share of right answers in ten bins of confidence, weighted by how many samples each holds (Guo et al. 2017).

    Parameters
    ----------
    margins
        Integer margins 0..255, ``(n,)``.
    correct
        Whether the answer was right, ``(n,)``.
    """
    n = len(margins)
    if n < 2:
        return 0.0
    confidence = np.zeros(n)
    for half in (0, 1):
        judged = np.arange(n) % 2 == half
        table = np.asarray(confidence_table(margins[~judged], correct[~judged])) / Q15
        confidence[judged] = table[margin_bins(margins[judged])]
    place = np.minimum((confidence * _ERROR_BINS).astype(np.int64), _ERROR_BINS - 1)
    gap = np.bincount(place, weights=confidence - correct.astype(np.float64), minlength=_ERROR_BINS)
    return float(np.abs(gap).sum() / n)


def _local_mean(right: F64, count: F64) -> F64:
    """Return the mean of each bin's neighbourhood, wide where data is scarce, with one imagined half-right sample."""
    result = np.zeros(BINS)
    for b in range(BINS):
        reach = 1
        while reach < BINS and count[max(0, b - reach) : b + reach + 1].sum() < 12:
            reach += 1
        near = slice(max(0, b - reach), b + reach + 1)
        result[b] = (right[near].sum() + 0.5) / (count[near].sum() + 1.0)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """Margin bin from which each exit stops (32: never; 0: always), and what that gives on the data it was fitted on."""

    bins: tuple[int, ...]
    price: float
    accuracy: float
    mean_macs: float


def stops_at_price(bins: I64, correct: F64, costs: F64, price: float, least: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the stopping bin of every exit by backward induction.

    Parameters
    ----------
    bins
        Margin bins ``(exits, n)``.
    correct
        1 where the exit is right, else 0, ``(exits, n)``.
    costs
        MACs spent when stopping at an exit, heads on the way included, as a share of a whole inference ``(exits,)``.
    price
        Accuracy worth one whole inference.
    least
        Lowest bin from which each exit may stop, 0 where it is empty.
    """
    value = correct[-1] - price * costs[-1]
    found = [0]
    for k in range(len(costs) - 2, -1, -1):
        here = correct[k] - price * costs[k]
        gain = np.bincount(bins[k], weights=here - value, minlength=BINS)
        suffix = np.append(np.cumsum(gain[::-1])[::-1], 0.0)
        first = least[k] if least else 0
        threshold = first + int(suffix[first:].argmax())
        found.append(threshold)
        value = np.where(bins[k] >= threshold, here, value)
    return tuple(reversed(found))


def outcome(bins: I64, correct: F64, costs: F64, stops: Sequence[int]) -> tuple[float, float]:
    """Return (accuracy, mean cost) of stopping at the first exit whose bin reaches its threshold."""
    answer, spent = correct[-1], np.full(bins.shape[1], costs[-1])
    for k in range(len(costs) - 2, -1, -1):
        stop = bins[k] >= stops[k]
        answer = np.where(stop, correct[k], answer)
        spent = np.where(stop, costs[k], spent)
    return float(answer.mean()), float(spent.mean())


def stop_shares(bins: I64, stops: Sequence[int]) -> tuple[float, ...]:
    """Return the share of samples that stops at each exit, of margin bins ``(exits, n)``; the last exit stops the rest."""
    reached = bins >= np.asarray(stops)[:, None]
    reached[-1] = True
    first = reached.argmax(axis=0)
    return tuple(float((first == exit).mean()) for exit in range(len(bins)))


def choose_stops(bins: I64, correct: F64, costs: F64, base_accuracy: float, *, least: Sequence[int] = ()) -> Stops:
    """Return the stops that save most without losing accuracy against the imported model.

    Stops must beat the imported model by 0.3 points here, because they look better on these samples than on others.
    If no price saves 47 % that way, the most accurate one that does is taken, as long as it loses at most 0.3 points;
    else the accuracy is kept at the saving there is, and if it cannot be kept the most accurate stops are taken. ``least``
    is as in :func:`stops_at_price`.
    """
    tried = []
    for price in _PRICES:
        stops = stops_at_price(bins, correct, costs, float(price), least)
        accuracy, macs = outcome(bins, correct, costs, stops)
        tried.append(Stops(bins=stops, price=float(price), accuracy=accuracy, mean_macs=macs))
    safe = [s for s in tried if s.accuracy >= base_accuracy + OPTIMISM]
    best = min(safe, key=lambda s: s.mean_macs, default=None)
    if best is not None and best.mean_macs <= 1 - WISHED_SAVING:
        return best
    allowed = [s for s in tried if s.accuracy >= base_accuracy - LOSS_LIMIT]
    enough = [s for s in allowed if s.mean_macs <= 1 - WISHED_SAVING]
    if enough:
        return max(enough, key=lambda s: s.accuracy)
    even = [s for s in tried if s.accuracy >= base_accuracy]
    return best or min(even, key=lambda s: s.mean_macs, default=None) or max(tried, key=lambda s: s.accuracy)


def threshold_q15(table: Sequence[int], stop_bin: int) -> int:
    """Return the confidence from which an exit stops; 32767 when it never does, because no table reaches it."""
    return int(table[stop_bin]) if stop_bin < BINS else Q15


def accuracy_q15(correct: Bool | F64) -> int:
    """Return the share of right answers in q15; the largest value is left to what nobody has measured."""
    return int(np.clip(round(float(np.mean(correct)) * Q15), 0, Q15 - 1))
