# SPDX-License-Identifier: Apache-2.0
"""Isotonic tables and stops by price."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulet.exits.confidence import (
    BINS,
    Q15,
    calibration_error,
    choose_stops,
    confidence_table,
    isotonic,
    outcome,
    stops_at_price,
    threshold_q15,
)


def test_isotonic_pools_adjacent_violators() -> None:
    values = np.array([1.0, 3.0, 2.0, 2.0, 5.0, 4.0])
    weights = np.array([1.0, 1.0, 1.0, 2.0, 1.0, 3.0])
    np.testing.assert_allclose(isotonic(values, weights), [1.0, 2.25, 2.25, 2.25, 4.25, 4.25])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=40))
def test_isotonic_is_monotone_and_keeps_the_mean(pairs: list[tuple[float, float]]) -> None:
    values, weights = np.array(pairs).T
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert abs(np.sum(fitted * weights) - np.sum(values * weights)) < 1e-9 * max(1.0, weights.sum())


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=0, max_size=300))
def test_a_table_rises_strictly_and_stays_in_q15(pairs: list[tuple[int, bool]]) -> None:
    margins = np.array([m for m, _ in pairs], np.int64)
    correct = np.array([c for _, c in pairs], bool)
    table = confidence_table(margins, correct)
    assert len(table) == BINS
    assert all(b > a for a, b in pairwise(table))
    assert table[0] >= 0
    assert table[-1] <= Q15


def test_a_table_is_close_to_what_it_was_fitted_on() -> None:
    rng = np.random.default_rng(0)
    margins = rng.integers(0, 256, 40_000)
    truth = 0.3 + 0.6 * (margins / 255)
    table = np.array(confidence_table(margins, rng.random(len(margins)) < truth)) / Q15
    wanted = 0.3 + 0.6 * ((np.arange(BINS) * 8 + 3.5) / 255)
    assert np.abs(table - wanted).max() < 0.04


def test_stops_are_the_best_thresholds() -> None:
    rng = np.random.default_rng(4)
    bins = rng.integers(0, 4, (3, 60))
    correct = (rng.random((3, 60)) < 0.2 + 0.2 * bins).astype(float)
    costs = np.array([0.3, 0.6, 1.0])
    price = 0.3
    stops = stops_at_price(bins, correct, costs, price)

    def worth(candidate: tuple[int, ...]) -> float:
        accuracy, spent = outcome(bins, correct, costs, candidate)
        return accuracy - price * spent

    # Given the later thresholds, each one is the best.
    for first in range(5):
        assert worth(stops) >= worth((first, stops[1], 0)) - 1e-12
    assert stops[-1] == 0


def test_a_perfect_early_exit_takes_everything() -> None:
    bins = np.full((2, 50), 20)
    correct = np.stack([np.ones(50), np.r_[np.ones(45), np.zeros(5)]])
    stops = choose_stops(bins, correct, np.array([0.2, 1.0]), 0.9)
    assert stops.accuracy == 1.0
    assert abs(stops.mean_macs - 0.2) < 1e-9


def test_a_useless_early_exit_is_never_taken() -> None:
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 32, (2, 400))
    correct = np.stack([np.zeros(400), np.ones(400)])
    stops = choose_stops(bins, correct, np.array([0.2, 1.0]), 1.0)
    assert stops.accuracy == 1.0
    assert stops.bins[0] > bins[0].max()
    table = confidence_table(bins[0] * 8, correct[0] > 0)
    assert threshold_q15(table, BINS) > max(table)


def test_thresholds_count_bins() -> None:
    table = confidence_table(np.array([0, 100, 200]), np.array([False, True, True]))
    for bin_, threshold in product(range(BINS), [5, 17]):
        assert (table[bin_] >= threshold_q15(table, threshold)) == (bin_ >= threshold)


def test_calibration_error_is_small_where_the_table_holds_and_large_where_halves_differ() -> None:
    rng = np.random.default_rng(0)
    margins = rng.integers(0, 256, 6000)
    right = rng.random(6000) < 0.3 + 0.6 * margins / 255
    assert calibration_error(margins, right) < 0.03
    split = np.arange(6000) % 2 == 0
    assert calibration_error(margins, split) > 0.9, "each half is judged by the other half's table"
    assert calibration_error(margins[:1], right[:1]) == 0.0
