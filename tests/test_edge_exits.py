# SPDX-License-Identifier: Apache-2.0
"""Going on or answering at each exit under a cap, on a network that is a program: sure of easy samples, in doubt of hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edge_world import World

from joulet.edge import EdgeRecord, EdgeSettings, points_of_table, run
from joulet.edge.account import parse_cap
from joulet.edge.controller import Limits
from joulet.edge.exits import ExitRule, can_decide
from joulet.edge.metered import Metered
from joulet.edge.model import PowerModel
from joulet.engine.seam import Array, Depth, ExitEvent, InferResult, TensorInfo
from joulet.records import CostTable, StepCost

N = 211
SURE, DOUBT = 32440, 11469  # 99 % and 35 % in q15
_HARD = 0.3  # share of samples that the first exit gets wrong 65 times of 100


def step(cycles: int) -> StepCost:
    return StepCost(cycles=cycles, macs=cycles, bit_macs=8 * cycles)


TABLE = CostTable(
    board="none", path_names=("w8",), exit_names=("early", "last"),
    steps=(((step(200), step(1000)), (None, step(800)), (None, None)),),
    prefixes=((0, 0),), accuracy=((0.8, 0.97),),
)  # fmt: skip


def hard(sample: int) -> bool:
    return (sample * 0.6180339887) % 1.0 < _HARD


class TwoExits:
    """Exits after 0.02 s and 0.1 s at 8 W: the first is right about easy samples and says so, the last about all but a few."""

    def __init__(self, world: World) -> None:
        self._world, self._sample, self._done, self._exit = world, 0, 0.0, 0
        info = TensorInfo(name="x", shape=(1, 1), dtype=np.dtype(np.int16), scale=1.0, zero_point=0)
        self.inputs = self.outputs = (info,)
        self.exit_names, self.path_names, self.model_hash = TABLE.exit_names, TABLE.path_names, "00" * 32

    def start(self, inputs: Sequence[Array], path: int) -> None:
        self._sample, self._done = int(np.asarray(inputs[0]).reshape(-1)[0]), 0.0

    def switch(self, path: int) -> None:
        raise AssertionError("there is one path")

    def run_to_exit(self, exit: int) -> ExitEvent:
        until_s = (0.02, 0.1)[exit]
        self._world.pass_time(until_s - self._done, 8.0)
        self._done, self._exit = until_s, exit
        return ExitEvent(exit=exit, confidence_q15=DOUBT if exit == 0 and hard(self._sample) else SURE, macs=0)

    def answer(self) -> Array:
        good = self._exit == 1 or not hard(self._sample) or (self._sample * 0.754877) % 1.0 < 0.35
        return np.eye(4, dtype=np.int8)[(self._sample + (0 if good else 1)) % 4]

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        self.start([np.asarray(inputs[0])[0]], 0)
        reached = self.run_to_exit(1 if depth == "last" else int(depth))
        return InferResult(
            outputs=(self.answer()[np.newaxis],), exit=np.full(1, reached.exit, np.uint8),
            confidence_q15=np.full(1, reached.confidence_q15, np.uint16), macs=np.zeros(1, np.uint64),
        )  # fmt: skip


def go(folder: Path, cap: str | None, table: CostTable | None, **others: float) -> EdgeRecord:
    world = World(folder, {}, idle_w=2.0)
    machine = world.machine()
    metered = Metered("rapl", machine, rate_hz=None, allow_estimate=False)
    world.ticks.append(metered.poll)
    points, values = points_of_table(TABLE)
    settings = EdgeSettings(
        period_s=0.2, duration_s=120.0, cap=None if cap is None else parse_cap(cap), values=values, **others
    )
    x = np.arange(N, dtype=np.int16).reshape(N, 1)
    try:
        return run(TwoExits(world), [x], np.arange(N) % 4, points, metered, machine, settings, table=table)
    finally:
        metered.close()


# answering all at the first exit takes 2.6 W, all at the last 5 W, the hard ones only there 3.3 W
@pytest.mark.parametrize(("cap", "gain"), [("3W", 0.04), ("3.5W", 0.07), ("4W", 0.04)])
def test_more_is_right_at_the_same_cap(tmp_path: Path, cap: str, gain: float) -> None:
    fixed = go(tmp_path / "a", cap, None)
    each = go(tmp_path / "b", cap, TABLE)
    assert (fixed.decided, each.decided) == ("before each event", "at each exit")
    for record in (fixed, each):
        assert record.cap is not None
        assert record.cap.kept
        assert record.cap.over_j <= 0.005 * record.cap.allowed_j
        assert record.answered >= record.arrived - 6
    assert fixed.correct is not None
    assert each.correct is not None
    assert (each.correct - fixed.correct) / each.arrived > gain
    went_on = [event for event in each.events if event.point == "w8@last"]
    assert np.mean([hard(event.sample) for event in went_on]) > 0.55  # of all samples 0.3 are hard


def test_a_budget_is_spent_on_what_is_in_doubt(tmp_path: Path) -> None:
    record = go(tmp_path, None, TABLE, budget_j=380.0, horizon_s=120.0)
    assert record.kept
    assert 0.9 * 380 < record.measured_j <= 380.0
    assert record.correct is not None
    assert record.correct / record.arrived > 0.9  # 0.805 at the first exit


def test_nothing_goes_on_past_what_there_is(tmp_path: Path) -> None:
    world = World(tmp_path, {}, idle_w=2.0)
    points, _ = points_of_table(TABLE)
    model = PowerModel([point.relative for point in points], 0.12, 2.0, 1e-6)  # 0.12 J and 0.6 J
    rule = ExitRule(TwoExits(world), TABLE, points, model, 50.0)
    doubtful = [np.array([next(n for n in range(N) if hard(n))], np.int16)]
    assert rule.answer(doubtful, 0, Limits(mean_j=0.5, most_j=0.7), 0.2).point == 1
    assert rule.answer(doubtful, 0, Limits(mean_j=0.5, most_j=0.5), 0.2).point == 0
    rule.took(1, 0.1)
    rule.learnt()
    assert rule.answer(doubtful, 0, Limits(mean_j=0.5, most_j=0.7), 0.05).point == 0  # would be late
    reached = rule.answer(doubtful, 0, Limits(mean_j=0.5, most_j=0.7), 0.2)
    assert (reached.point, reached.confidence_q15) == (1, SURE)


def test_the_price_comes_down_where_energy_is_left_and_up_where_it_lacks(tmp_path: Path) -> None:
    points, _ = points_of_table(TABLE)
    model = PowerModel([point.relative for point in points], 0.12, 2.0, 1e-6)
    rule = ExitRule(TwoExits(World(tmp_path, {})), TABLE, points, model, 50.0)
    easy = [np.array([next(n for n in range(N) if not hard(n))], np.int16)]
    assert rule.answer(easy, 0, Limits(mean_j=0.3, most_j=9.0), 1.0).point == 0
    ends = [rule.answer(easy, 0, Limits(mean_j=0.6, most_j=9.0), 1.0).point for _ in range(200)]
    assert ends[-1] == 1  # even a hundredth of doubt is worth it by now
    ends = [rule.answer(easy, 0, Limits(mean_j=0.13, most_j=9.0), 1.0).point for _ in range(100)]
    assert ends[-1] == 0


def test_there_is_nothing_to_decide_without_accuracies_or_exits() -> None:
    points, _ = points_of_table(TABLE)
    assert can_decide(TABLE, points)
    assert not can_decide(replace(TABLE, accuracy=((0.0, 0.0),)), points)
    assert not can_decide(TABLE, points[:1])
    single = replace(TABLE, exit_names=("last",), steps=(((step(9),), (None,)),), prefixes=((0,),), accuracy=((0.9,),))
    assert not can_decide(single, points_of_table(single)[0])
