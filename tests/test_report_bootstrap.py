# SPDX-License-Identifier: Apache-2.0
"""Intervals by block bootstrap against distributions that can be worked out by hand, and their properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_fakes import block_list, make_record

from joulet.errors import DataError
from joulet.records import Block, SimulationRecord
from joulet.report import (
    Interval,
    Verdict,
    difference_interval,
    mean_difference_interval,
    mean_score_interval,
    score_interval,
    verdicts,
)

HALF = block_list((10, 10), (10, 0))


@st.composite
def blocks(draw: st.DrawFn, count: int | None = None) -> tuple[Block, ...]:
    """Return one to eight days; some without any arrival."""
    size = count or draw(st.integers(1, 8))
    arrived = draw(st.lists(st.integers(0, 50), min_size=size, max_size=size))
    return block_list(*((n, draw(st.integers(0, n))) for n in arrived))


def test_one_block_has_no_width() -> None:
    assert score_interval(block_list((8, 2)), seed=1) == Interval(estimate=0.25, low=0.25, high=0.25)


def test_two_blocks_are_both_one_or_mixed() -> None:
    # draws AA, AB, BA, BB: scores 1, 1/2, 1/2, 0, so that both tails of 2.5 % lie at the ends
    assert score_interval(HALF, seed=1) == Interval(estimate=0.5, low=0.0, high=1.0)


def test_a_score_is_a_ratio_of_sums() -> None:
    # 10 of 10 and 0 of 30: together 1/4, not the mean of 1 and 0
    assert score_interval(block_list((10, 10), (30, 0)), seed=1) == Interval(estimate=0.25, low=0.0, high=1.0)


def test_the_tail_of_one_good_day_in_twenty_is_binomial() -> None:
    # the good day is drawn X ~ B(20, 1/20) times: P(X <= 2) = 0.925, P(X <= 3) = 0.984, so 97.5 % is 3 of 20
    days = block_list((10, 10), *((10, 0),) * 19)
    assert score_interval(days, seed=3, resamples=20_000) == Interval(estimate=0.05, low=0.0, high=0.15)


def test_without_arrivals_the_score_is_zero() -> None:
    assert score_interval(block_list((0, 0), (0, 0)), seed=1) == Interval(estimate=0.0, low=0.0, high=0.0)


def test_a_draw_without_arrivals_counts_as_the_estimate() -> None:
    assert score_interval(block_list((0, 0), (10, 5)), seed=1) == Interval(estimate=0.5, low=0.5, high=0.5)


def test_differences_are_paired() -> None:
    # one more right on each day: the days spread, the difference does not
    first, second = block_list((10, 9), (10, 3)), block_list((10, 8), (10, 2))
    gap = difference_interval(first, second, seed=1)
    assert (gap.estimate, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert gap.excludes_zero


def test_cells_of_one_group_see_the_same_days() -> None:
    opposite = block_list((10, 0), (10, 10))
    together = mean_score_interval([HALF, opposite], groups=["trace", "trace"], seed=1)
    apart = mean_score_interval([HALF, opposite], seed=1)
    assert together == Interval(estimate=0.5, low=0.5, high=0.5)
    assert (apart.low, apart.high) == (0.0, 1.0)


def test_more_independent_cells_narrow_the_interval() -> None:
    widths = [(i := mean_score_interval([HALF] * n, seed=1)).high - i.low for n in (1, 4, 16)]
    assert widths[0] > widths[1] > widths[2]


def test_expected_scores_can_be_asked_for() -> None:
    days = (Block(arrived=10, correct=2, expected=4.5), Block(arrived=10, correct=2, expected=5.5))
    assert score_interval(days, seed=1, value="expected").estimate == 0.5
    assert score_interval(days, seed=1).estimate == 0.2


@given(days=blocks(), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_interval_holds_the_estimate_and_stays_in_range(days: tuple[Block, ...], seed: int) -> None:
    found = score_interval(days, seed=seed, resamples=200)
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    assert found == score_interval(days, seed=seed, resamples=200)


@given(days=blocks(), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_policy_does_not_differ_from_itself(days: tuple[Block, ...], seed: int) -> None:
    assert difference_interval(days, days, seed=seed, resamples=200) == Interval(estimate=0.0, low=0.0, high=0.0)


@given(cells=st.lists(blocks(count=4), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_swapping_the_policies_turns_the_interval_around(cells: list[tuple[Block, ...]], seed: int) -> None:
    pairs = list(zip(cells, reversed(cells), strict=True))
    there = mean_difference_interval(pairs, seed=seed, resamples=200)
    back = mean_difference_interval([(b, a) for a, b in pairs], seed=seed, resamples=200)
    assert (there.estimate, there.low, there.high) == pytest.approx((-back.estimate, -back.high, -back.low))


@pytest.mark.parametrize("bad", [[], [()]])
def test_no_cell_or_no_block_is_an_error(bad: list[tuple[Block, ...]]) -> None:
    with pytest.raises(DataError, match="one"):
        mean_score_interval(bad, seed=1)


def test_days_that_do_not_pair_are_an_error() -> None:
    with pytest.raises(DataError, match="same number"):
        difference_interval(HALF, HALF[:1], seed=1)
    with pytest.raises(DataError, match="2 groups for 1 cells"):
        mean_score_interval([HALF], groups=["a", "b"], seed=1)
    with pytest.raises(DataError, match="resamples"):
        score_interval(HALF, seed=1, resamples=0)


def record(policy: str, family: str, trace: str, *days: tuple[int, int]) -> SimulationRecord:
    arrived, correct = (sum(day[i] for day in days) for i in (0, 1))
    return make_record(
        policy, family=family, trace=trace, arrived=arrived, correct_on_time=correct, score=correct / arrived,
        blocks=block_list(*days), oracle_energy_score=1.0,
    )  # fmt: skip


def judge(*records: SimulationRecord) -> dict[tuple[str, str | None], Verdict]:
    return {(v.other, v.family): v for v in verdicts(records, "new", seed=1)}


def test_verdicts_are_over_all_and_by_family() -> None:
    found = judge(
        record("new", "solar", "a", (100, 90), (100, 70)), record("old", "solar", "a", (100, 80), (100, 60)),
        record("new", "rf", "b", (100, 50), (100, 70)), record("old", "rf", "b", (100, 70), (100, 50)),
    )  # fmt: skip
    assert set(found) == {("old", None), ("old", "solar"), ("old", "rf")}
    assert found["old", "solar"].difference.estimate == pytest.approx(0.1)
    assert found["old", "solar"].ahead
    assert not found["old", "rf"].excludes_zero
    assert found["old", None].difference.estimate == pytest.approx(0.05)
    assert found["old", None].cells == 2


def test_one_block_decides_nothing() -> None:
    found = judge(record("new", "solar", "a", (200, 190)), record("old", "solar", "a", (200, 10)))
    assert found["old", "solar"].difference.excludes_zero
    assert not found["old", "solar"].excludes_zero
    assert not found["old", "solar"].ahead


def test_cells_with_few_right_are_in_no_verdict() -> None:
    found = judge(
        record("new", "solar", "a", (100, 90), (100, 90)), record("old", "solar", "a", (100, 80), (100, 80)),
        record("new", "solar", "b", (10, 0), (10, 0)), record("old", "solar", "b", (10, 9), (10, 9)),
    )  # fmt: skip
    assert found["old", "solar"].cells == 1
    assert found["old", "solar"].difference.estimate == pytest.approx(0.1)


def test_the_order_of_cells_changes_nothing() -> None:
    rows = [
        record(policy, "solar", trace, *days)
        for trace in ("a", "b")
        for policy, days in (("new", ((100, 90), (100, 70))), ("old", ((100, 60), (100, 80))))
    ]
    assert judge(*rows) == judge(*rows[2:], *rows[:2])


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(DataError, match="'new' is in no record"):
        judge(record("old", "solar", "a", (100, 60)))
