# SPDX-License-Identifier: Apache-2.0
"""A cap on measured power and a budget of joules on a machine that is a program: its meter tells what its points draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edge_world import World, WorldEngine

from joulet.edge import EdgeRecord, EdgeSettings, Point, points_of_ladder, run
from joulet.edge.account import Account, Cap, parse_cap
from joulet.edge.controller import Controller, Limits
from joulet.edge.metered import Metered
from joulet.edge.model import PowerModel
from joulet.errors import MeterError, UsageError

# path: time of an inference, power while it runs, share of right answers
POINTS = {"small": (0.02, 6.0, 0.6), "middle": (0.06, 8.0, 0.8), "large": (0.1, 12.0, 0.9)}
# at an inference a 200 ms: 2 W idle + 0.08, 0.36, 1.0 J
N = 97


def watts(path: str, period_s: float = 0.2, idle_w: float = 2.0) -> float:
    seconds, power_w, _ = POINTS[path]
    return idle_w + seconds * (power_w - idle_w) / period_s


def go(
    world: World, settings: EdgeSettings, source: str = "rapl", *, allow: bool = False, wrong: float = 1.0
) -> EdgeRecord:
    engine = WorldEngine(world)
    world.wear(source)
    machine = world.machine()
    metered = Metered(source, machine, rate_hz=None, allow_estimate=allow)
    world.ticks.append(metered.poll)
    names = list(world.points)
    # energies that the plan foretells are off by up to `wrong`, one way and the other
    seconds = [world.points[name][0] * wrong ** (k % 2) for k, name in enumerate(names)]
    points = points_of_ladder(names, seconds, [world.points[name][2] for name in names])
    labels = np.arange(N) % 4
    try:
        return run(engine, [np.arange(N, dtype=np.int16).reshape(N, 1)], labels, points, metered, machine, settings)
    finally:
        metered.close()


def settings(cap: str | None, **others: object) -> EdgeSettings:
    fields: dict[str, object] = {"period_s": 0.2, "duration_s": 120.0, "window_s": 5.0, **others}
    return EdgeSettings(cap=None if cap is None else parse_cap(cap), **fields)  # type: ignore[arg-type]


def chosen(record: EdgeRecord) -> dict[str, int]:
    return {point.name: point.chosen for point in record.points}


@pytest.mark.parametrize("source", ["rapl", "hwmon:hwmon0"])
@pytest.mark.parametrize("wrong", [1.0, 3.0])
def test_the_mean_stays_under_the_cap_and_uses_it(tmp_path: Path, source: str, wrong: float) -> None:
    world = World(tmp_path, POINTS)
    record = go(world, settings("5W"), source, wrong=wrong)
    assert record.cap is not None
    assert record.cap.kept
    assert record.cap.over_j <= 0.002 * record.cap.allowed_j
    assert 0.93 * 5.0 < record.cap.mean_w <= 5.0
    # what the meter adds up is what the machine drew
    assert record.measured_j == pytest.approx(record.cap.mean_w * record.duration_s, rel=1e-6)
    assert record.measured_j == pytest.approx(5.0 * 120, rel=0.07)
    assert record.estimated_j == 0.0
    assert record.skipped == record.missed == 0
    counts = chosen(record)
    assert counts["large"] > 150  # of 600: 4.95 W lies between middle, 3.8 W, and large, 7 W
    # what a slot takes is found whatever the plan said: idle power and an inference
    for point in record.points:
        if point.chosen > 50:
            slot_j = record.idle_w * 0.2 + point.energy_j
            assert slot_j == pytest.approx(0.2 * watts(point.name), rel=0.05)


@pytest.mark.parametrize("source", ["jetson", "pi5", "ina226:/dev/i2c-1@0x40,shunt=10mOhm"])
def test_every_kind_of_meter_will_do(tmp_path: Path, source: str) -> None:
    world = World(tmp_path, POINTS)
    record = go(world, settings("5W,25s:4W", duration_s=50.0), source)
    assert record.cap is not None
    assert record.cap.over_j <= 0.005 * record.cap.allowed_j
    assert 0.88 * 225 < record.measured_j <= 225
    assert record.measured_j == pytest.approx(world.energy_j, rel=0.06)  # and some joules before the run began
    assert all(words.startswith("measured") for words in record.provenance)


def test_a_run_that_is_interrupted_tells_what_it_has(tmp_path: Path) -> None:
    world = World(tmp_path, POINTS)

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.at[10.0] = interrupt
    record = go(world, settings("5W"))
    assert 8.0 < record.duration_s < 11.0
    assert any("interrupted" in note for note in record.notes)
    assert record.cap is not None
    assert record.measured_j == pytest.approx(record.cap.mean_w * record.duration_s, rel=1e-6)


def test_it_gains_what_the_best_mix_gains(tmp_path: Path) -> None:
    record = go(World(tmp_path, POINTS), settings("5W", duration_s=300.0))
    counts, n = chosen(record), record.arrived
    value = sum(POINTS[name][2] * count for name, count in counts.items()) / n
    share = (5.0 - watts("middle")) / (watts("large") - watts("middle"))
    best = (1 - share) * 0.8 + share * 0.9
    assert best - 0.012 < value <= best + 1e-9
    assert record.correct is not None
    assert record.correct / n == pytest.approx(value, abs=0.03)


def test_a_cap_that_falls_half_way_is_kept(tmp_path: Path) -> None:
    record = go(World(tmp_path, POINTS), settings("6W,60s:3W"))
    assert record.cap is not None
    assert record.cap.allowed_j == pytest.approx(60 * 6 + 60 * 3)
    assert record.cap.over_j <= 0.002 * record.cap.allowed_j
    assert record.cap.worst_over_j < 0.3
    before = [event.point for event in record.events if event.arrival_s < 59]
    after = [event.point for event in record.events if event.arrival_s > 62]
    assert before.count("large") > 0.5 * len(before)
    assert after.count("large") < 0.05 * len(after)
    energy_j = record.measured_j
    assert 0.92 * 540 < energy_j <= 540


def test_a_cap_below_every_point_leaves_events_unanswered(tmp_path: Path) -> None:
    record = go(World(tmp_path, POINTS), settings("2.2W"))
    assert record.cap is not None
    assert record.cap.kept
    assert record.skipped > 200
    assert chosen(record)["small"] > 100
    assert not any("idle" in note for note in record.notes)


def test_a_cap_below_idle_is_said_and_not_kept(tmp_path: Path) -> None:
    record = go(World(tmp_path, POINTS), settings("1W", duration_s=20.0))
    assert record.cap is not None
    assert not record.cap.kept
    assert record.cap.over_j == pytest.approx(20.0, rel=0.05)
    assert record.answered <= 1
    assert any("idle power alone is above the cap" in note for note in record.notes)


def test_a_budget_lasts_until_its_horizon(tmp_path: Path) -> None:
    record = go(World(tmp_path, POINTS), settings(None, budget_j=480.0, horizon_s=120.0))
    assert record.kept
    assert 0.96 * 480 < record.measured_j <= 480.0
    thirds = np.array_split([event.point for event in record.events], 3)
    shares = [float(np.mean(part == "large")) for part in thirds]
    assert max(shares) - min(shares) < 0.15  # evenly, not all at once


def test_idle_power_that_rises_is_followed(tmp_path: Path) -> None:
    world = World(tmp_path, POINTS)
    world.at[50.0] = lambda: setattr(world, "idle_w", 3.2)
    record = go(world, settings("5W", duration_s=150.0))
    assert record.cap is not None
    assert record.cap.over_j <= 0.01 * record.cap.allowed_j
    late = [event for event in record.events if event.arrival_s > 60]
    assert sum(event.point == "middle" for event in late) > sum(event.point == "large" for event in late)


def test_a_meter_that_vanishes_ends_the_run(tmp_path: Path) -> None:
    world = World(tmp_path, POINTS)
    world.at[30.0] = lambda: setattr(world, "gone", True)
    record = go(world, settings("5W"))
    assert record.ended is not None
    assert "was lost: " in record.ended
    assert "--allow-estimate" in record.ended
    # what was done until then is kept: all but the last block measured
    assert 28.0 < record.duration_s < 31.0
    assert 0.0 < record.estimated_s < 1.5
    assert record.energy_j == pytest.approx(4.9 * record.duration_s, rel=0.06)
    assert record.answered > 140
    assert sum(each.measured_j + each.estimated_j for each in record.power) == pytest.approx(record.energy_j)


def test_a_meter_that_tells_nothing_at_the_beginning_is_an_error(tmp_path: Path) -> None:
    world = World(tmp_path, POINTS)
    world.at[0.3] = lambda: setattr(world, "gone", True)
    with pytest.raises(MeterError, match="was lost: "):
        go(world, settings("5W"))


def test_an_estimate_stands_in_and_is_counted_apart(tmp_path: Path) -> None:
    world = World(tmp_path, POINTS)
    world.at[30.0] = lambda: setattr(world, "gone", True)
    world.at[60.0] = lambda: setattr(world, "gone", False)
    record = go(world, settings("5W"), allow=True)
    assert 28.0 < record.estimated_s < 33.0
    assert record.estimated_j == pytest.approx(record.estimated_s * 4.9, rel=0.06)
    assert record.energy_j == pytest.approx(world.energy_j, rel=0.03)  # and some joules before the run began
    assert any(note.startswith("lost:") for note in record.notes)
    assert any(note.startswith("back:") for note in record.notes)
    assert record.cap is not None
    assert record.cap.over_j <= 0.01 * record.cap.allowed_j


def test_a_point_that_is_too_slow_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path, {**POINTS, "huge": (0.5, 8.0, 0.99)})
    record = go(world, settings("20W", duration_s=30.0))
    assert chosen(record)["huge"] <= 2
    assert record.missed <= 6
    assert chosen(record)["large"] > 100


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say what to keep to"):
        go(World(tmp_path, POINTS), settings(None))
    with pytest.raises(UsageError, match="belong together"):
        go(World(tmp_path, POINTS), settings(None, budget_j=1.0))
    with pytest.raises(UsageError, match="at least twice"):
        go(World(tmp_path, POINTS), settings("5W", window_s=0.3))
    for text in ("6W,4W", "6W,30s:4W,20s:3W", "30s:4W", "x"):
        with pytest.raises(UsageError, match="--power-cap"):
            parse_cap(text)


def test_a_cap_adds_up_over_its_steps() -> None:
    cap = parse_cap("6W,30s:4W,40s:1W")
    assert [cap.at_w(t) for t in (0.0, 29.9, 30.0, 45.0)] == [6.0, 6.0, 4.0, 1.0]
    assert cap.energy_j(0.0, 50.0) == pytest.approx(180 + 40 + 10)
    assert cap.energy_j(35.0, 41.0) == pytest.approx(20 + 1)
    assert Cap(steps=((0.0, 2.0),)).energy_j(3.0, 5.0) == pytest.approx(4.0)


def test_an_account_judges_windows_by_what_was_measured() -> None:
    account = Account(parse_cap("1W"), 4.0)
    for k in range(8):
        account.add(float(k), k + 1.0, 1.0)
    account.settle(8.0)
    assert (account.windows, account.windows_over, account.over_j) == (2, 0, 0.0)
    for k in range(8, 12):
        account.add(float(k), k + 1.0, 1.0)
    account.settle(6.0)  # half as much again as foretold
    assert (account.windows, account.windows_over) == (3, 1)
    assert account.over_j == pytest.approx(2.0)
    assert account.worst_over_j == pytest.approx(2.0)
    assert account.worst_mean_w == pytest.approx(1.5)
    assert account.total_j == pytest.approx(14.0)


def test_one_point_measured_corrects_all() -> None:
    model = PowerModel([1.0, 2.0, 5.0], 0.01, 2.0, 0.04)
    for _ in range(30):
        model.learn(1.0, np.array([5, 0, 0]), 2.0 + 5 * 0.1, 0.05)  # ten times what was guessed
    assert model.energy_j(0) == pytest.approx(0.1, rel=0.15)
    assert model.energy_j(1) == pytest.approx(0.2, rel=0.35)
    assert model.energy_j(2) == pytest.approx(0.5, rel=0.35)
    assert model.idle_w == pytest.approx(2.0, rel=0.1)


def test_points_off_the_hull_are_never_taken() -> None:
    points = [
        Point(path=name, exit=0, name=name, value=value, relative=cost)
        for name, cost, value in (("a", 1.0, 0.5), ("dull", 3.0, 0.55), ("b", 4.0, 0.9), ("worse", 5.0, 0.8))
    ]
    model = PowerModel([p.relative for p in points], 1.0, 0.0, 1e-6)
    model.measured[:] = 1
    controller = Controller(points, model)
    picks = [controller.choose(1.0, Limits(mean_j=2.5, most_j=100.0), range(4)) for _ in range(400)]
    assert set(picks) == {0, 2}
    assert np.mean([points[p].relative for p in picks if p is not None]) == pytest.approx(2.5, abs=0.02)
    assert controller.choose(1.0, Limits(mean_j=9.0, most_j=3.0), range(4)) == 0  # no room for b
    assert controller.choose(1.0, Limits(mean_j=9.0, most_j=0.5), range(4)) is None
