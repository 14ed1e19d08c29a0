# SPDX-License-Identifier: Apache-2.0
"""Forecasts against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from joulet.policies.predictors import DayOfYear, Ewma, Persistence, Predictor, ProEnergy, Quantile, Wcma

MAKERS: list[Callable[[], Predictor]] = [
    Persistence,
    lambda: Ewma(4),
    lambda: Wcma(4, days=3),
    lambda: ProEnergy(4, days=3),
    lambda: DayOfYear(4),
    lambda: Quantile(Wcma(4, days=3)),
]


def feed(predictor: Predictor, powers_w: list[float]) -> Predictor:
    for power_w in powers_w:
        predictor.observe(power_w)
    return predictor


def test_persistence_repeats() -> None:
    assert feed(Persistence(), [1.0, 7.0]).predict(3).tolist() == [7.0, 7.0, 7.0]


def test_ewma_moves_each_slot_of_the_day_by_itself() -> None:
    ewma = Ewma(2, keep=0.75)
    assert feed(ewma, [4.0, 8.0]).predict(3).tolist() == [4.0, 8.0, 4.0]
    # slot 0: 0.75·4 + 0.25·8 = 5; slot 1 next
    assert feed(ewma, [8.0]).predict(2).tolist() == [8.0, 5.0]


def test_ewma_repeats_the_last_power_for_slots_never_seen() -> None:
    assert feed(Ewma(4), [3.0, 5.0]).predict(4).tolist() == [5.0, 5.0, 3.0, 5.0]


def test_wcma_scales_the_mean_day_by_today() -> None:
    # two days: means of slots (2, 4, 6, 8)
    wcma = feed(Wcma(4, alpha=0.25, days=2, window=2, fade=0.5), [1.0, 3.0, 6.0, 8.0, 3.0, 5.0, 6.0, 8.0])
    # the window still holds slots 2 and 3 of day two, when the mean day was day one: ratios 1 and 1
    assert wcma.gap == pytest.approx(1.0)
    feed(wcma, [1.0, 8.0])
    # ratios 1/2 (weight 1/2) and 8/4 (weight 1): (0.25 + 2) / 1.5 = 1.5
    assert wcma.gap == pytest.approx(1.5)
    # one slot: 0.25·8 + 0.75·1.5·6; two: 1/16·8 + 15/16·1.25·8
    assert wcma.predict(2).tolist() == pytest.approx([2.0 + 0.75 * 9.0, 0.5 + 15 / 16 * 10.0])


def test_wcma_forgets_days_beyond_its_depth_and_bounds_dawn() -> None:
    wcma = feed(Wcma(2, alpha=0.0, days=1, highest=3.0), [9.0, 9.0, 1.0, 4.0])
    assert wcma.predict(2).tolist() == pytest.approx([1.0 + (4.0 / 9.0 - 1.0), 4.0 * (1.0 + (4.0 / 9.0 - 1.0) * 0.95)])
    feed(wcma, [10.0])
    assert wcma.gap == 3.0
    # a slot without its usual power says nothing of the weather
    dark = feed(Wcma(2, days=1), [0.0, 5.0, 1.0])
    assert dark.gap == 1.0


def test_pro_energy_takes_the_day_most_like_today() -> None:
    pro = feed(ProEnergy(3, gamma=0.5, days=3, window=2), [1.0, 1.0, 1.0, 5.0, 6.0, 7.0, 9.0, 9.0, 9.0])
    assert pro.predict(1).tolist() == [9.0]  # midnight: the latest day, half of 9 and half of 9
    feed(pro, [5.0, 5.0])
    # closest to (5, 5) is (5, 6): 0.5·5 + 0.5·7; then 0.25·5 + 0.75·5
    assert pro.predict(2).tolist() == [6.0, 5.0]


def test_day_of_year_knows_seasons_and_scales() -> None:
    sun = DayOfYear(24, latitude_deg=40.0, day=172)
    summer, winter = sun.height(172), sun.height(355)
    # height at noon: sin(90° − 40° ± 23.45°); half an hour off at the middle of the slot
    assert summer.max() == pytest.approx(math.sin(math.radians(73.45)), abs=0.01)
    assert winter.max() == pytest.approx(math.sin(math.radians(26.55)), abs=0.01)
    assert (summer > 0).sum() == 14  # hours of day whose middle is in the sun
    assert (winter > 0).sum() == 10
    feed(sun, (summer * 3.0).tolist())
    assert sun.scale_w == pytest.approx(3.0)
    np.testing.assert_allclose(sun.predict(30), 3.0 * np.concatenate([sun.height(173), sun.height(174)[:6]]))


def test_quantile_is_kept_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    careful = Quantile(Persistence(), level=0.2, memory=50)
    assert careful.predict(1).tolist() == [0.0]
    kept = []
    for power_w in rng.uniform(0.9, 1.1, 600).tolist():
        kept.append(power_w >= careful.predict(1)[0])
        careful.observe(power_w)
    assert np.mean(kept[100:]) == pytest.approx(0.8, abs=0.06)
    assert len(careful._sorted) == len(careful._recent) == 50
    assert careful._sorted == sorted(careful._recent)


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_past_gives_the_same_forecast_and_reset_forgets(make: Callable[[], Predictor]) -> None:
    past = np.random.default_rng(0).uniform(-0.01, 1.0, 45).tolist()
    used, fresh = make(), make()
    feed(used, past[::-1])
    used.reset()
    feed(used, past)
    feed(fresh, past)
    for steps in (1, 4, 11):
        forecast_w = used.predict(steps)
        assert forecast_w.shape == (steps,)
        assert np.isfinite(forecast_w).all()
        assert forecast_w.tolist() == fresh.predict(steps).tolist()


@pytest.mark.parametrize("make", MAKERS)
def test_a_day_that_begins_late_and_steady_power_are_no_trouble(make: Callable[[], Predictor]) -> None:
    predictor = make()
    predictor.reset(3)
    assert np.isfinite(predictor.predict(5)).all()
    feed(predictor, [2.0] * 3)
    if not isinstance(predictor, DayOfYear):
        assert predictor.predict(6).tolist() == pytest.approx([2.0] * 6)
